//! Texts on the CPU. A corpus is a text as ids of a vocabulary, in a training split and a validation split. The program
//! contains nine plays of Shakespeare. Any other text comes from a file or a folder.
//!
//! Text goes in, and ids come out. This module knows no GPU, no network and no training.
//! [`Corpus`] and [`Vocabulary`] exist in every build. Reading files and the plays need the feature `text`. Tokenizers
//! need the feature `files`.

#[cfg(feature = "files")]
mod bpe;
pub mod chat;
#[cfg(feature = "files")]
mod tokenizer_gguf;
#[cfg(feature = "files")]
mod tokenizer_json;
mod vocabulary;

use std::io;
use std::path::PathBuf;

use crate::reason::unread;
#[cfg(feature = "files")]
pub use tokenizer_gguf::GgufTokenizer;
pub use vocabulary::{EncodeError, MOST_CHARACTERS, UnknownCharacters, Vocabulary};

/// The label of a row that counts in no loss and in no gradient. A token without a next token has this label.
pub const IGNORE: u32 = u32::MAX;

/// A text as ids, in two splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The name in reports: the name of the file without its ending, or the name of the folder.
    pub name: String,
    /// The meaning of the ids in both splits.
    pub vocabulary: Vocabulary,
    /// The first nine tenths of the text, for training.
    pub train: Vec<u32>,
    /// The last tenth of the text, for validation.
    pub validation: Vec<u32>,
    /// The files of the text, in the order in which they were joined.
    pub files: Vec<PathBuf>,
    /// The reason why ids are bytes, if they are. It is a clause about this corpus, to be printed after its name.
    pub note: Option<String>,
}

/// The reason why there is no corpus, or none that is long enough for a context. Each message is one sentence that says
/// what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the fields are what the sentences name
pub enum TextError {
    /// The operating system refused to list the folder or to read the file.
    #[error("{}: expected a text file, or a folder with text files, that can be read, found: {}", path.display(), unread(reason))]
    Unreadable { path: PathBuf, reason: io::Error },

    /// The folder contains no text.
    #[error(
        "{}: expected files whose names end in .txt or .md, found {}; put the text there or name a file",
        dir.display(), there(others)
    )]
    NoText { dir: PathBuf, others: Vec<String> },

    /// The file is not a text.
    #[error("{}: {what}", file.display())]
    NotText { file: PathBuf, what: String },

    /// The text is empty.
    #[error("{name}: expected a text, found nothing in it; give one that is not empty")]
    Empty { name: String },

    /// The text has nothing to predict.
    #[error(
        "{name}: all its {count} characters are {character:?}, so there is nothing to learn; give another text"
    )]
    OneCharacter { name: String, count: usize, character: char },

    /// A split is shorter than one context and the token after it.
    #[error(
        "{name}: its last tenth, which validates, has {count} {unit}, and a context of {context} takes {}; give a text \
         of {} {unit} or more{}",
        context + 1, 10 * context + 1, shorter(*count)
    )]
    Short { name: String, count: usize, unit: &'static str, context: usize },
}

/// A clause that lists the other contents of a folder.
fn there(others: &[String]) -> String {
    const SHOWN: usize = 4;
    match others.len() {
        0 => "none, and no other files".into(),
        count if count > SHOWN => format!("{} and {} more", others[..SHOWN].join(", "), count - SHOWN),
        _ => others.join(", "),
    }
}

/// A clause with the longest context that fits.
fn shorter(count: usize) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        most => format!(", or a context of at most {most}"),
    }
}

impl Corpus {
    /// Makes a corpus from a text in memory. If the text is UTF-8 and has at most [`MOST_CHARACTERS`] different
    /// characters, the ids are characters. Otherwise the ids are bytes, and [`Corpus::note`] gives the reason.
    ///
    /// # Errors
    /// If the text is empty, or repeats one single character.
    pub fn new(name: &str, text: &[u8]) -> Result<Corpus, TextError> {
        let name = name.to_string();
        let (vocabulary, ids, note) = match std::str::from_utf8(text) {
            Ok(text) => {
                let vocabulary = Vocabulary::of(text);
                let ids = vocabulary.encode(text).expect("its characters are those of the text");
                let note = vocabulary.characters().is_none().then(|| {
                    let different = vocabulary::distinct(text).len();
                    format!("has {different} different characters, more than {MOST_CHARACTERS}, so its ids are bytes")
                });
                (vocabulary, ids, note)
            }
            Err(error) => {
                let note = format!("is not UTF-8 at byte {}, so its ids are bytes", error.valid_up_to());
                (Vocabulary::bytes(), text.iter().map(|&byte| u32::from(byte)).collect(), Some(note))
            }
        };
        let Some(&first) = ids.first() else { return Err(TextError::Empty { name }) };
        if ids.iter().all(|&id| id == first) {
            let character = vocabulary.characters().map_or(first as u8 as char, |all| all[0]);
            return Err(TextError::OneCharacter { name, count: ids.len(), character });
        }
        // Other programs split tinyshakespeare in the same way.
        let (train, validation) = ids.split_at((ids.len() as u64 * 9 / 10) as usize);
        let (train, validation) = (train.to_vec(), validation.to_vec());
        Ok(Corpus { name, vocabulary, train, validation, files: Vec::new(), note })
    }

    /// Number of ids in both splits.
    pub fn len(&self) -> usize {
        self.train.len() + self.validation.len()
    }

    /// Whether there are no ids. It is always false for a corpus from [`Corpus::new`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that both splits contain a sequence of `context` tokens and the token after it.
    ///
    /// # Errors
    /// If they do not. The error gives the length of the validation split, which is never the longer one, and a context
    /// that fits.
    pub fn fits(&self, context: usize) -> Result<(), TextError> {
        let (name, count, unit) = (self.name.clone(), self.validation.len(), self.vocabulary.unit());
        match count > context {
            true => Ok(()),
            false => Err(TextError::Short { name, count, unit, context }),
        }
    }
}

#[cfg(feature = "text")]
mod read {
    use super::{Corpus, TextError};
    use crate::content;
    use std::fs;
    use std::io::{self, Read};
    use std::path::{Path, PathBuf};

    impl Corpus {
        /// Nine plays of Shakespeare, 1,132,134 characters. They are part of the program: no file is read, and nothing
        /// is downloaded.
        pub fn embedded() -> Corpus {
            let gzip = &include_bytes!("../../assets/text/shakespeare.txt.gz")[..];
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(gzip)
                .read_to_end(&mut text)
                .and_then(|_| Corpus::new("shakespeare", &text).map_err(io::Error::other))
                .expect("the embedded file is fixed and tests/text.rs reads it")
        }

        /// Reads a file, or the files of a folder whose names end in `.txt` or `.md`, in the order of their names.
        /// Folders inside it and hidden files are ignored. A line end is inserted between two files if the first one
        /// does not end in a line end. The mark U+FEFF at the beginning of a file is dropped. Line ends do not change.
        ///
        /// # Errors
        /// If a file cannot be read or is not a text, and as [`Corpus::new`].
        pub fn load(path: &Path) -> Result<Corpus, TextError> {
            let unreadable = |path: &Path| {
                let path = path.to_path_buf();
                |reason| TextError::Unreadable { path, reason }
            };
            let is_folder = fs::metadata(path).map_err(unreadable(path))?.is_dir();
            let files = match is_folder {
                true => texts(path)?,
                false => vec![path.to_path_buf()],
            };
            let (mut text, mut note) = (Vec::new(), None);
            for file in &files {
                let bytes = fs::read(file).map_err(unreadable(file))?;
                if let Some(what) = content::refusal_as_text(&bytes) {
                    return Err(TextError::NotText { file: file.clone(), what });
                }
                if let Err(error) = std::str::from_utf8(&bytes) {
                    let at = error.valid_up_to();
                    note.get_or_insert(format!(
                        "is not UTF-8 at byte {at} of {}, so its ids are bytes",
                        file.display()
                    ));
                }
                let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
                if !bytes.is_empty() && !text.is_empty() && !text.ends_with(b"\n") {
                    text.push(b'\n');
                }
                text.extend(bytes);
            }
            let corpus = Corpus::new(&named(path, is_folder), &text)?;
            // The note about a file is more precise than the note about all bytes together.
            Ok(Corpus { files, note: note.or(corpus.note), ..corpus })
        }

        /// CRC-32 of the vocabulary and of all ids. Equal corpora have equal values.
        pub fn fingerprint(&self) -> u32 {
            let mut crc = flate2::Crc::new();
            let characters: String = self.vocabulary.characters().unwrap_or_default().iter().collect();
            crc.update(characters.as_bytes());
            for id in self.train.iter().chain(&self.validation) {
                crc.update(&id.to_le_bytes());
            }
            crc.sum()
        }
    }

    /// The text files of a folder, in the order of their names.
    fn texts(dir: &Path) -> Result<Vec<PathBuf>, TextError> {
        let listed =
            || -> io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
        let all = listed().map_err(|reason| TextError::Unreadable { path: dir.into(), reason })?;
        let visible =
            |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
        let mut all: Vec<PathBuf> = all.into_iter().filter(visible).collect();
        all.sort();
        let is_text = |path: &PathBuf| {
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            path.is_file() && ending.is_some_and(|ending| ["txt", "md"].contains(&ending.as_str()))
        };
        let (texts, others): (Vec<PathBuf>, Vec<PathBuf>) = all.into_iter().partition(is_text);
        if texts.is_empty() {
            let name = |path: PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(TextError::NoText {
                dir: dir.into(),
                others: others.into_iter().map(name).collect(),
            });
        }
        Ok(texts)
    }

    /// The name of a corpus. The paths `.` and `..` have no name until they are resolved.
    fn named(path: &Path, is_folder: bool) -> String {
        let name = |path: &Path| {
            let name = if is_folder { path.file_name() } else { path.file_stem() };
            name.map(|name| name.to_string_lossy().into_owned())
        };
        let resolved = || name(&fs::canonicalize(path).ok()?);
        name(path).or_else(resolved).unwrap_or("text".into())
    }
}
