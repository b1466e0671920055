//! The ids of a text: one for each of its characters, or one for each byte. This module knows no corpus and no file.

/// The largest number of different characters in a vocabulary. A text with more of them is read as bytes. There are 256
/// bytes, so characters never make a larger vocabulary than bytes.
pub const MOST_CHARACTERS: usize = 256;

/// The meaning of each id. In a vocabulary of characters, an id is the index of a character in the order of code
/// points. In a vocabulary of bytes, the id is the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(try_from = "Form", into = "Form"))]
pub struct Vocabulary {
    /// The characters in the order of code points, each one once. It is `None` for bytes.
    characters: Option<Vec<char>>,
}

/// An error: a text contains characters that a vocabulary does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {} not among the {known} characters of the vocabulary: leave {} out",
    list(unknown), if unknown.len() == 1 { "is" } else { "are" }, if unknown.len() == 1 { "it" } else { "them" }
)]
pub struct UnknownCharacters {
    /// The unknown characters, each one once, in the order of the text.
    pub unknown: Vec<char>,
    /// Size of the vocabulary.
    pub known: usize,
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
        Vocabulary { characters: None }
    }

    /// The vocabulary of the characters of a text. If the text has more than [`MOST_CHARACTERS`] different characters,
    /// it is the vocabulary of bytes.
    pub fn of(text: &str) -> Vocabulary {
        let characters = distinct(text);
        Vocabulary { characters: Some(characters).filter(|all| all.len() <= MOST_CHARACTERS) }
    }

    /// The characters in the order of their ids. It is `None` if ids are bytes.
    pub fn characters(&self) -> Option<&[char]> {
        self.characters.as_deref()
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.characters.as_ref().map_or(256, Vec::len)
    }

    /// Whether there are no ids. This is true only for the characters of an empty text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The unit of an id: `characters` or `bytes`.
    pub fn unit(&self) -> &'static str {
        if self.characters.is_some() { "characters" } else { "bytes" }
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// The characters that the vocabulary does not have.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownCharacters> {
        let Some(characters) = &self.characters else {
            return Ok(text.bytes().map(u32::from).collect());
        };
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
            false => Err(UnknownCharacters { unknown, known: characters.len() }),
        }
    }

    /// The bytes of these ids. A character gives its UTF-8 bytes. If ids are bytes, one id may be only a part of a
    /// character.
    ///
    /// # Panics
    /// If an id is not below [`Vocabulary::len`].
    pub fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        let most = self.len();
        assert!(
            ids.iter().all(|&id| (id as usize) < most),
            "Vocabulary: an id of {ids:?} is not below {most}"
        );
        match &self.characters {
            Some(characters) => {
                let text: String = ids.iter().map(|&id| characters[id as usize]).collect();
                text.into_bytes()
            }
            None => ids.iter().map(|&id| id as u8).collect(),
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

/// The different characters of a text, in the order of code points.
pub(super) fn distinct(text: &str) -> Vec<char> {
    text.chars().collect::<std::collections::BTreeSet<char>>().into_iter().collect()
}

/// A vocabulary in JSON: `{"characters": "\n !abc"}` or `"bytes"`.
#[cfg(feature = "files")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Characters(String),
    Bytes,
}

#[cfg(feature = "files")]
impl From<Vocabulary> for Form {
    fn from(vocabulary: Vocabulary) -> Form {
        vocabulary
            .characters
            .map_or(Form::Bytes, |characters| Form::Characters(characters.into_iter().collect()))
    }
}

#[cfg(feature = "files")]
impl TryFrom<Form> for Vocabulary {
    type Error = String;

    fn try_from(form: Form) -> Result<Vocabulary, String> {
        let Form::Characters(text) = form else { return Ok(Vocabulary::bytes()) };
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
        Ok(Vocabulary { characters: Some(characters) })
    }
}
