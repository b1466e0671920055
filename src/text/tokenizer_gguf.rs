//! A tokenizer in the metadata of a GGUF file, as keys `tokenizer.ggml.*`. (GGUF specification, "Tokenizer"; the splits
//! and their names are those of llama.cpp.)

use super::Vocabulary;
use super::bpe::{Alphabet, BEGINS, Bpe, ENDS, Kind, Parts, SPLITS};

/// The split of a file that names none. BitNet b1.58 2B4T's official file is one.
const DEFAULT: &str = SPLITS[0].0;

/// The numbers of `tokenizer.ggml.token_type`.
mod kinds {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
}

/// The values of the metadata `tokenizer.ggml.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GgufTokenizer {
    /// `model`: `gpt2` for byte-level BPE.
    pub model: String,
    /// `pre`: the name of the split.
    pub pre: Option<String>,
    /// `tokens`: the texts of the tokens, by id.
    pub tokens: Vec<String>,
    /// `merges`: two tokens with a space between them, the lowest rank first.
    pub merges: Vec<String>,
    /// `token_type`: the type of each token. If it is empty, all tokens are normal.
    pub types: Vec<i32>,
    /// `bos_token_id`: the token before a text.
    pub bos: Option<u32>,
    /// `eos_token_id`: the token after a text.
    pub eos: Option<u32>,
    /// `add_bos_token`: whether a text begins with `bos`.
    pub add_bos: Option<bool>,
}

impl GgufTokenizer {
    /// A sentence about what the file does not say and this program assumes.
    pub fn note(&self) -> Option<String> {
        self.pre.is_none().then(|| {
            format!("the file does not say how to split a text (tokenizer.ggml.pre), so it is split as by {DEFAULT}")
        })
    }
}

impl Vocabulary {
    /// A tokenizer from the metadata of a GGUF file. [`GgufTokenizer::note`] says what it assumes.
    ///
    /// # Errors
    /// A sentence about what is wrong in the metadata, or what this program does not know.
    pub fn from_gguf(file: &GgufTokenizer) -> Result<Vocabulary, String> {
        let GgufTokenizer { model, pre, tokens, merges, types, bos, eos, add_bos } = file;
        if model != "gpt2" {
            return Err(format!("the tokenizer is a model {model} (tokenizer.ggml.model), expected gpt2"));
        }
        let name = pre.as_deref().unwrap_or(DEFAULT);
        let Some((_, patterns, ignore_merges, begins)) = SPLITS.iter().find(|split| split.0 == name) else {
            return Err(format!(
                "the tokenizer splits a text as by {name} (tokenizer.ggml.pre), expected {}",
                SPLITS.map(|split| split.0).join(", ")
            ));
        };
        if !types.is_empty() && types.len() != tokens.len() {
            return Err(format!("the tokenizer has {} tokens, but {} types", tokens.len(), types.len()));
        }
        let alphabet = Alphabet::new();
        let one = |(id, text): (usize, &String)| {
            // Some files call all tokens normal, even those that mean something to the network.
            let means = BEGINS.iter().chain(&ENDS).any(|mark| mark == text);
            let kind = match types.get(id).copied().unwrap_or(kinds::NORMAL) {
                kinds::NORMAL if !means => return Ok((alphabet.token(id, text)?, Kind::Ordinary)),
                kinds::USER_DEFINED if !means => Kind::Added,
                kinds::NORMAL | kinds::UNKNOWN | kinds::CONTROL | kinds::USER_DEFINED | kinds::UNUSED => {
                    Kind::Special
                }
                other => {
                    return Err(format!(
                        "the token {id} of the tokenizer has the type {other}, expected 1 to 5"
                    ));
                }
            };
            Ok((text.clone().into_bytes(), kind))
        };
        let tokens = tokens.iter().enumerate().map(one).collect::<Result<Vec<_>, String>>()?;
        let pair = |text: &'_ String| -> Result<(String, String), String> {
            let two = text.split_once(' ').map(|(a, b)| (a.into(), b.into()));
            two.ok_or(format!("the tokenizer has the merge {text:?}, expected two tokens"))
        };
        let merges = merges.iter().map(pair).collect::<Result<Vec<_>, String>>()?;
        let merges = alphabet.pairs(&tokens, merges.iter().map(|(a, b)| (&a[..], &b[..])))?;
        let bpe = Bpe::new(Parts {
            tokens,
            merges,
            patterns: patterns.iter().map(|&pattern| pattern.into()).collect(),
            ignore_merges: *ignore_merges,
            bos: *bos,
            eos: *eos,
            add_bos: add_bos.unwrap_or(*begins && bos.is_some()),
        })?;
        Ok(bpe.into())
    }

    /// The tokenizer as metadata of a GGUF file. It is `None` if GGUF has no name for the split, and for characters and
    /// bytes.
    pub fn to_gguf(&self) -> Option<GgufTokenizer> {
        let parts = &self.bpe()?.parts;
        let (pre, ..) = SPLITS.iter().find(|(_, patterns, ignore_merges, _)| {
            parts.patterns == *patterns && parts.ignore_merges == *ignore_merges
        })?;
        let alphabet = Alphabet::new();
        let one = |(bytes, kind): &(Vec<u8>, Kind)| match kind {
            Kind::Ordinary => (alphabet.text(bytes), kinds::NORMAL),
            Kind::Added => (String::from_utf8_lossy(bytes).into_owned(), kinds::USER_DEFINED),
            Kind::Special => (String::from_utf8_lossy(bytes).into_owned(), kinds::CONTROL),
        };
        let (tokens, types) = parts.tokens.iter().map(one).unzip();
        Some(GgufTokenizer {
            model: "gpt2".into(),
            pre: Some(pre.to_string()),
            tokens,
            types,
            merges: alphabet.merges(parts),
            bos: parts.bos,
            eos: parts.eos,
            add_bos: Some(parts.add_bos),
        })
    }
}
