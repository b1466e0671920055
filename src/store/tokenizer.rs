//! The tokenizer in the metadata of a GGUF file. (GGUF specification, "Tokenizer".)

use super::gguf::{Entry, Gguf};
use crate::text::GgufTokenizer;

/// The tokenizer of a GGUF file. It is `None` if the file has none.
///
/// # Errors
/// A text with the field, and with the expected and the actual content.
pub fn gguf_tokenizer(file: &[u8]) -> Result<Option<GgufTokenizer>, String> {
    Gguf::parse(file)?.tokenizer()
}

impl Gguf<'_> {
    /// As [`gguf_tokenizer`].
    pub(super) fn tokenizer(&self) -> Result<Option<GgufTokenizer>, String> {
        let of = |key: &str| format!("tokenizer.ggml.{key}");
        let entry = |key: &str| self.metadata.iter().find(|pair| pair.0 == of(key)).map(|pair| pair.1);
        let wrong = |key: &str, expected: &str, found: Entry| {
            format!("has {} {found:?}, expected {expected}", of(key))
        };
        let text = |key: &str| match entry(key) {
            None => Ok(None),
            Some(Entry::Text(text)) => Ok(Some(text.to_string())),
            Some(found) => Err(wrong(key, "a text", found)),
        };
        let id = |key: &str| match entry(key) {
            None => Ok(None),
            Some(Entry::Integer(n)) if (0..1 << 32).contains(&n) => Ok(Some(n as u32)),
            Some(found) => Err(wrong(key, "the id of a token", found)),
        };
        let flag = |key: &str| match entry(key) {
            None => Ok(None),
            Some(Entry::Bool(bit)) => Ok(Some(bit)),
            Some(found) => Err(wrong(key, "true or false", found)),
        };
        let texts = |key: &str| -> Result<Vec<String>, String> {
            Ok(self.strings(&of(key))?.into_iter().map(String::from).collect())
        };
        let Some(model) = text("model")? else { return Ok(None) };
        let types = match entry("token_type") {
            None => Vec::new(),
            Some(_) => self.integers(&of("token_type"))?,
        };
        // A number out of range is no known type either.
        let types = types.into_iter().map(|kind| i32::try_from(kind).unwrap_or(i32::MAX)).collect();
        // Tokenizers of other models have no merges. Their model is named in the error of whoever reads them.
        let merges = if entry("merges").is_some() { texts("merges")? } else { Vec::new() };
        Ok(Some(GgufTokenizer {
            model,
            pre: text("pre")?,
            tokens: texts("tokens")?,
            merges,
            types,
            bos: id("bos_token_id")?,
            eos: id("eos_token_id")?,
            add_bos: flag("add_bos_token")?,
        }))
    }
}
