//! Texts on the CPU: a corpus as ids of its vocabulary, in a split to train on and a split to validate with; nine plays
//! of Shakespeare, embedded in the program; any other text from a file or a folder.
//!
//! Boundary: text in, ids out. Nothing here knows of a GPU, of a network or of a training.
//! [`Corpus`] and [`Vocabulary`] exist in every build; reading files and the plays need the feature `text`.

mod vocabulary;

use std::io;
use std::path::PathBuf;

use crate::reason::unread;
pub use vocabulary::{MOST_CHARACTERS, UnknownCharacters, Vocabulary};

/// The label of a row that does not count, neither in a loss nor in a gradient: so where a token has no next one.
pub const IGNORE: u32 = u32::MAX;

/// A text as ids, in two splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// What to call it in reports: the name of the file without its ending, or of the folder.
    pub name: String,
    /// What the ids stand for, of both splits.
    pub vocabulary: Vocabulary,
    /// The first nine tenths, to train on.
    pub train: Vec<u32>,
    /// The last tenth, to validate with.
    pub validation: Vec<u32>,
    /// The files that it was read from, in the order in which they were joined.
    pub files: Vec<PathBuf>,
    /// Why ids are bytes, where they are: a clause about this corpus, to be printed behind its name.
    pub note: Option<String>,
}

/// Why there is no corpus, or none for a context. Each message is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the fields are what the sentences name
pub enum TextError {
    /// The operating system would not list the folder or give the file's bytes.
    #[error("{}: expected a text file, or a folder with text files, that can be read, found: {}", path.display(), unread(reason))]
    Unreadable { path: PathBuf, reason: io::Error },

    /// The folder has no text.
    #[error(
        "{}: expected files whose names end in .txt or .md, found {}; put the text there or name a file",
        dir.display(), there(others)
    )]
    NoText { dir: PathBuf, others: Vec<String> },

    /// The file is something else.
    #[error("{}: {what}", file.display())]
    NotText { file: PathBuf, what: String },

    /// There is not one character.
    #[error("{name}: expected a text, found nothing in it; give one that is not empty")]
    Empty { name: String },

    /// There is nothing to predict.
    #[error(
        "{name}: all its {count} characters are {character:?}, so there is nothing to learn; give another text"
    )]
    OneCharacter { name: String, count: usize, character: char },

    /// A split is shorter than a context and the token after it.
    #[error(
        "{name}: its last tenth, which validates, has {count} {unit}, and a context of {context} takes {}; give a text \
         of {} {unit} or more{}",
        context + 1, 10 * context + 1, shorter(*count)
    )]
    Short { name: String, count: usize, unit: &'static str, context: usize },
}

/// What lies in a folder instead.
fn there(others: &[String]) -> String {
    const SHOWN: usize = 4;
    match others.len() {
        0 => "none, and no other files".into(),
        count if count > SHOWN => format!("{} and {} more", others[..SHOWN].join(", "), count - SHOWN),
        _ => others.join(", "),
    }
}

/// What helps where a context may be shorter.
fn shorter(count: usize) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        most => format!(", or a context of at most {most}"),
    }
}

impl Corpus {
    /// A corpus of a text in memory. Where it is UTF-8 and has at most [`MOST_CHARACTERS`] different characters, its ids
    /// are characters; else they are bytes, and [`Corpus::note`] says why.
    ///
    /// # Errors
    /// If the text is empty, or one single character throughout.
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
        // As those do who train on tinyshakespeare.
        let (train, validation) = ids.split_at((ids.len() as u64 * 9 / 10) as usize);
        let (train, validation) = (train.to_vec(), validation.to_vec());
        Ok(Corpus { name, vocabulary, train, validation, files: Vec::new(), note })
    }

    /// Number of ids in both splits.
    pub fn len(&self) -> usize {
        self.train.len() + self.validation.len()
    }

    /// Whether there is no id at all. Never so for a corpus of [`Corpus::new`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both splits hold a sequence of so many tokens, and the token after it.
    ///
    /// # Errors
    /// If they do not: the length of the validation split, which is never the longer one, and what is enough.
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
        /// Nine plays of Shakespeare, 1,132,134 characters, unpacked from the program itself: no file is read and nothing
        /// is downloaded.
        pub fn embedded() -> Corpus {
            let gzip = &include_bytes!("../../assets/text/shakespeare.txt.gz")[..];
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(gzip)
                .read_to_end(&mut text)
                .and_then(|_| Corpus::new("shakespeare", &text).map_err(io::Error::other))
                .expect("the embedded file is fixed and tests/text.rs reads it")
        }

        /// Reads a file, or the files of a folder whose names end in `.txt` or `.md`, in the order of names; folders in it
        /// and hidden files are left alone. Joined files are parted by a line end where one does not end in it. The mark
        /// U+FEFF at the beginning of a file is dropped; line ends stay as they are.
        ///
        /// # Errors
        /// If a file cannot be read or is no text; and as [`Corpus::new`].
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
            // The file says more than the byte of all that was joined.
            Ok(Corpus { files, note: note.or(corpus.note), ..corpus })
        }

        /// CRC-32 of the vocabulary and of all ids: tells whether two corpora are the same.
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

    /// The texts of a folder, in the order of names.
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

    /// What a corpus is called. `.` and `..` have no name until they are resolved.
    fn named(path: &Path, is_folder: bool) -> String {
        let name = |path: &Path| {
            let name = if is_folder { path.file_name() } else { path.file_stem() };
            name.map(|name| name.to_string_lossy().into_owned())
        };
        let resolved = || name(&fs::canonicalize(path).ok()?);
        name(path).or_else(resolved).unwrap_or("text".into())
    }
}
