//! The ids of a text: one for each of its characters, or one for each byte. Knows no corpus and no file.

/// The different characters that a vocabulary holds at most. A text with more of them is taken as bytes, of which there
/// are as many: characters never make a larger vocabulary than bytes do.
pub const MOST_CHARACTERS: usize = 256;

/// What an id stands for. `id` of a vocabulary of characters is the `id`th of them in the order of code points; of a
/// vocabulary of bytes it is the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(try_from = "Form", into = "Form"))]
pub struct Vocabulary {
    /// In the order of code points, each once; none for bytes.
    characters: Option<Vec<char>>,
}

/// Characters that are not in a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {} not among the {known} characters of the vocabulary: leave {} out",
    list(unknown), if unknown.len() == 1 { "is" } else { "are" }, if unknown.len() == 1 { "it" } else { "them" }
)]
pub struct UnknownCharacters {
    /// Each once, in the order of the text.
    pub unknown: Vec<char>,
    /// Size of the vocabulary.
    pub known: usize,
}

/// The first few of them, quoted.
fn list(characters: &[char]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = characters.iter().take(SHOWN).map(|c| format!("{c:?}")).collect();
    match characters.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Vocabulary {
    /// The 256 bytes.
    pub fn bytes() -> Vocabulary {
        Vocabulary { characters: None }
    }

    /// The characters of a text; the bytes where it has more than [`MOST_CHARACTERS`] different ones.
    pub fn of(text: &str) -> Vocabulary {
        let characters = distinct(text);
        Vocabulary { characters: Some(characters).filter(|all| all.len() <= MOST_CHARACTERS) }
    }

    /// The characters, in the order of their ids; none where ids are bytes.
    pub fn characters(&self) -> Option<&[char]> {
        self.characters.as_deref()
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.characters.as_ref().map_or(256, Vec::len)
    }

    /// Whether there is no id: so for the characters of an empty text alone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `characters` or `bytes`.
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

    /// The bytes that ids stand for, UTF-8 of characters. One id may be a part of a letter where ids are bytes.
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

    /// The text that ids stand for; U+FFFD in place of bytes that are no UTF-8.
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
