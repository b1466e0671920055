//! The ids of a text: one for each of its characters, one for each byte, or those of a tokenizer. This module knows no
//! corpus and no file.

/// The largest number of different characters in a vocabulary. A text with more of them is read as bytes. There are 256
/// bytes, so characters never make a larger vocabulary than bytes.
pub const MOST_CHARACTERS: usize = 256;

#[cfg(feature = "files")]
use super::bpe::{Bpe, Kind};
#[cfg(feature = "files")]
use std::sync::Arc;

/// The meaning of each id. In a vocabulary of characters, an id is the index of a character in the order of code
/// points. In a vocabulary of bytes, the id is the byte. In a tokenizer, the id is a token of byte-level BPE.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(try_from = "Form", into = "Form"))]
pub struct Vocabulary {
    units: Units,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Units {
    /// In the order of code points, each one once.
    Characters(Vec<char>),
    Bytes,
    #[cfg(feature = "files")]
    Tokens(Arc<Bpe>),
}

/// An error: a text contains characters that a vocabulary does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {} not among the {known} {unit} of the vocabulary: leave {} out",
    list(unknown), if unknown.len() == 1 { "is" } else { "are" }, if unknown.len() == 1 { "it" } else { "them" }
)]
pub struct UnknownCharacters {
    /// The unknown characters, each one once, in the order of the text.
    pub unknown: Vec<char>,
    /// Size of the vocabulary.
    pub known: usize,
    /// Its unit, as [`Vocabulary::unit`].
    pub unit: &'static str,
}

/// The reason why a text has no ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The vocabulary lacks characters of the text.
    #[error(transparent)]
    Unknown(#[from] UnknownCharacters),

    /// The regular expressions of a tokenizer gave up.
    #[error(
        "the text cannot be split into pieces ({0}); a million spaces or line ends in a row have this effect, so \
         shorten the text there"
    )]
    Unsplit(String),
}

/// The first few of these characters, in quotes.
fn list(characters: &[char]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = characters.iter().take(SHOWN).map(|c| format!("{c:?}")).collect();
    match characters.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Vocabulary {
    /// The vocabulary of the 256 bytes.
    pub fn bytes() -> Vocabulary {
        Vocabulary { units: Units::Bytes }
    }

    /// The vocabulary of the characters of a text. If the text has more than [`MOST_CHARACTERS`] different characters,
    /// it is the vocabulary of bytes.
    pub fn of(text: &str) -> Vocabulary {
        let characters = distinct(text);
        let few = characters.len() <= MOST_CHARACTERS;
        Vocabulary { units: if few { Units::Characters(characters) } else { Units::Bytes } }
    }

    /// The characters in the order of their ids. It is `None` if ids are bytes or tokens.
    pub fn characters(&self) -> Option<&[char]> {
        match &self.units {
            Units::Characters(characters) => Some(characters),
            _ => None,
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        match &self.units {
            Units::Characters(characters) => characters.len(),
            Units::Bytes => 256,
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => bpe.parts.tokens.len(),
        }
    }

    /// Whether there are no ids. This is true only for the characters of an empty text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unit of an id: `characters`, `bytes` or `tokens`.
    pub fn unit(&self) -> &'static str {
        match &self.units {
            Units::Characters(_) => "characters",
            Units::Bytes => "bytes",
            #[cfg(feature = "files")]
            Units::Tokens(_) => "tokens",
        }
    }

    /// The ids of a text. The text of a special token in it becomes this token. [`Vocabulary::bos`] is not added.
    ///
    /// # Errors
    /// The characters that the vocabulary does not have, or a text that a tokenizer cannot split.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        match &self.units {
            Units::Characters(characters) => Ok(indices(characters, text)?),
            Units::Bytes => Ok(text.bytes().map(u32::from).collect()),
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => bpe.encode(text, true),
        }
    }

    /// As [`Vocabulary::encode`], for a text by somebody who must not write special tokens, such as a message in a chat.
    /// The text of a special token in it is text like any other.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        match &self.units {
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => bpe.encode(text, false),
            _ => self.encode(text),
        }
    }

    /// The token that begins every text. It is `None` if texts begin without one.
    pub fn bos(&self) -> Option<u32> {
        match &self.units {
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => bpe.parts.bos.filter(|_| bpe.parts.add_bos),
            _ => None,
        }
    }

    /// The tokens that end a text or a turn in a chat, in the order of ids.
    pub fn stops(&self) -> &[u32] {
        match &self.units {
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => &bpe.stops,
            _ => &[],
        }
    }

    /// The id of a special or added token, such as `<|eot_id|>`.
    pub fn special(&self, token: &str) -> Option<u32> {
        match &self.units {
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => bpe.added(token),
            _ => {
                let _ = token;
                None
            }
        }
    }

    /// Whether an id is a special token, which is no part of what a text says.
    ///
    /// # Panics
    /// If the id is not below [`Vocabulary::len`].
    pub fn is_special(&self, id: u32) -> bool {
        assert!((id as usize) < self.len(), "Vocabulary: the id {id} is not below {}", self.len());
        match &self.units {
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => bpe.parts.tokens[id as usize].1 == Kind::Special,
            _ => false,
        }
    }

    /// The bytes of these ids. A character gives its UTF-8 bytes. If ids are bytes or tokens, one id may be only a part
    /// of a character. A special token gives its text.
    ///
    /// # Panics
    /// If an id is not below [`Vocabulary::len`].
    pub fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        let most = self.len();
        assert!(
            ids.iter().all(|&id| (id as usize) < most),
            "Vocabulary: an id of {ids:?} is not below {most}"
        );
        match &self.units {
            Units::Characters(characters) => {
                let text: String = ids.iter().map(|&id| characters[id as usize]).collect();
                text.into_bytes()
            }
            Units::Bytes => ids.iter().map(|&id| id as u8).collect(),
            #[cfg(feature = "files")]
            Units::Tokens(bpe) => {
                ids.iter().flat_map(|&id| &bpe.parts.tokens[id as usize].0).copied().collect()
            }
        }
    }

    /// The text of these ids. U+FFFD replaces bytes that are not UTF-8.
    ///
    /// # Panics
    /// As [`Vocabulary::decode_bytes`].
    pub fn decode(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.decode_bytes(ids)).into_owned()
    }
}

/// The index of each character of a text.
fn indices(characters: &[char], text: &str) -> Result<Vec<u32>, UnknownCharacters> {
    let (mut ids, mut unknown) = (Vec::with_capacity(text.len()), Vec::new());
    for c in text.chars() {
        match characters.binary_search(&c) {
            Ok(id) => ids.push(id as u32),
            Err(_) if unknown.contains(&c) => {}
            Err(_) => unknown.push(c),
        }
    }
    match unknown.is_empty() {
        true => Ok(ids),
        false => Err(UnknownCharacters { unknown, known: characters.len(), unit: "characters" }),
    }
}

/// The different characters of a text, in the order of code points.
pub(super) fn distinct(text: &str) -> Vec<char> {
    text.chars().collect::<std::collections::BTreeSet<char>>().into_iter().collect()
}

/// A vocabulary in JSON: `{"characters": "\n !abc"}`, `"bytes"`, or `"tokenizer.json"` for a tokenizer, which is in a
/// file or tensor of this name.
#[cfg(feature = "files")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Characters(String),
    Bytes,
    #[serde(rename = "tokenizer.json")]
    Tokens,
}

#[cfg(feature = "files")]
impl From<Vocabulary> for Form {
    fn from(vocabulary: Vocabulary) -> Form {
        match vocabulary.units {
            Units::Characters(characters) => Form::Characters(characters.into_iter().collect()),
            Units::Bytes => Form::Bytes,
            Units::Tokens(_) => Form::Tokens,
        }
    }
}

#[cfg(feature = "files")]
impl TryFrom<Form> for Vocabulary {
    type Error = String;

    fn try_from(form: Form) -> Result<Vocabulary, String> {
        let text = match form {
            Form::Characters(text) => text,
            Form::Bytes => return Ok(Vocabulary::bytes()),
            Form::Tokens => {
                return Err("the vocabulary is a tokenizer, which is in tokenizer.json and not here".into());
            }
        };
        let characters: Vec<char> = text.chars().collect();
        if !characters.is_sorted_by(|a, b| a < b) {
            return Err(format!(
                "the {} characters of the vocabulary are not each once and in the order of code points",
                characters.len()
            ));
        }
        if !(1..=MOST_CHARACTERS).contains(&characters.len()) {
            return Err(format!(
                "the vocabulary has {} characters, expected 1 to {MOST_CHARACTERS}",
                characters.len()
            ));
        }
        Ok(Vocabulary { units: Units::Characters(characters) })
    }
}

#[cfg(feature = "files")]
impl From<Bpe> for Vocabulary {
    fn from(bpe: Bpe) -> Vocabulary {
        Vocabulary { units: Units::Tokens(Arc::new(bpe)) }
    }
}

#[cfg(feature = "files")]
impl Vocabulary {
    /// The tokenizer, if the vocabulary is one.
    pub(super) fn bpe(&self) -> Option<&Bpe> {
        match &self.units {
            Units::Tokens(bpe) => Some(bpe),
            _ => None,
        }
    }
}
