//! A tokenizer in Hugging Face's files: `tokenizer.json`, and `tokenizer_config.json` for what the first one does not
//! say. (Crate `tokenizers`, the serialization of `Tokenizer`.)
//!
//! A field that would change ids and that this program does not follow is an error with its name.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Vocabulary;
use super::bpe::{Alphabet, Bpe, DIGIT, GPT2, Kind, Parts};

/// The part of the file that says what the rest is. Reading it first keeps a large file of another model out of memory.
#[derive(Deserialize)]
struct Head {
    model: HeadOfModel,
}

#[derive(Deserialize)]
struct HeadOfModel {
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    ignore_merges: bool,
    byte_fallback: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// Two tokens with a space between them, or a pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

/// Of `tokenizer_config.json`. A token is its text, or an object with the text as `content`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token: Value,
    eos_token: Value,
    add_bos_token: Option<bool>,
}

impl Vocabulary {
    /// A tokenizer from the bytes of `tokenizer.json` and, if there is one, of `tokenizer_config.json`. The second file
    /// says which tokens begin and end a text. Without it, the tokens are those of the first file.
    ///
    /// # Errors
    /// A sentence about what is wrong in the file, or what this program does not follow.
    pub fn from_tokenizer_json(json: &[u8], config: Option<&[u8]>) -> Result<Vocabulary, String> {
        let misread = |file: &str| {
            let file = file.to_string();
            move |error| format!("{file} is no file of a tokenizer: {error}")
        };
        let head: Head = serde_json::from_slice(json).map_err(misread("tokenizer.json"))?;
        if let Some(other) = head.model.r#type.filter(|kind| kind != "BPE") {
            return Err(format!("the tokenizer is a model {other}, expected BPE"));
        }
        let file: File = serde_json::from_slice(json).map_err(misread("tokenizer.json"))?;
        let config =
            config.map(serde_json::from_slice).transpose().map_err(misread("tokenizer_config.json"))?;
        Ok(Bpe::new(parts(file, config.unwrap_or_default())?)?.into())
    }

    /// The tokenizer as `tokenizer.json`. It is `None` for characters and bytes.
    pub fn to_tokenizer_json(&self) -> Option<Vec<u8>> {
        let parts = &self.bpe()?.parts;
        let alphabet = Alphabet::new();
        let ordinary = parts.tokens.iter().rposition(|(_, kind)| *kind == Kind::Ordinary);
        let (mut vocab, mut added_tokens) = (Map::new(), Vec::new());
        for (id, (bytes, kind)) in parts.tokens.iter().enumerate() {
            let text = match kind {
                Kind::Ordinary => alphabet.text(bytes),
                Kind::Added | Kind::Special => String::from_utf8_lossy(bytes).into_owned(),
            };
            // A token that is in `added_tokens` alone gets the next id after those of the vocabulary.
            if ordinary.is_some_and(|last| id < last) || *kind == Kind::Ordinary {
                vocab.insert(text.clone(), json!(id));
            }
            if *kind != Kind::Ordinary {
                added_tokens.push(json!({
                    "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == Kind::Special,
                }));
            }
        }
        let mut splits: Vec<Value> = parts.patterns.iter().map(|pattern| splitter(pattern)).collect();
        splits.push(json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
        }));
        let post_processor = parts.bos.filter(|_| parts.add_bos).map(|bos| {
            let text = String::from_utf8_lossy(&parts.tokens[bos as usize].0);
            let [token, a, b] = [
                json!({"SpecialToken": {"id": text, "type_id": 0}}),
                json!({"Sequence": {"id": "A", "type_id": 0}}),
                json!({"Sequence": {"id": "B", "type_id": 1}}),
            ];
            json!({
                "type": "TemplateProcessing", "single": [token, a], "pair": [token, a, token, b],
                "special_tokens": {&*text: {"id": text, "ids": [bos], "tokens": [text]}},
            })
        });
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens,
            "normalizer": null, "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
            "post_processor": post_processor,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": parts.ignore_merges, "vocab": vocab, "merges": alphabet.merges(parts),
            },
        });
        Some(file.to_string().into_bytes())
    }

    /// What `tokenizer.json` does not say, as `tokenizer_config.json`. It is `None` for characters and bytes.
    pub fn to_tokenizer_config_json(&self) -> Option<Vec<u8>> {
        let parts = &self.bpe()?.parts;
        let text =
            |id: Option<u32>| id.map(|id| String::from_utf8_lossy(&parts.tokens[id as usize].0).into_owned());
        let file = json!({
            "add_bos_token": parts.add_bos, "bos_token": text(parts.bos), "eos_token": text(parts.eos),
            "clean_up_tokenization_spaces": false, "tokenizer_class": "PreTrainedTokenizerFast",
        });
        Some(file.to_string().into_bytes())
    }
}

/// The pre-tokenizer of a pattern.
fn splitter(pattern: &str) -> Value {
    match pattern {
        DIGIT => json!({"type": "Digits", "individual_digits": true}),
        _ => json!({
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
        }),
    }
}

fn parts(file: File, config: Config) -> Result<Parts, String> {
    let File { added_tokens, normalizer, pre_tokenizer, post_processor, model } = file;
    if !normalizer.is_null() {
        return Err(format!("the tokenizer has the normalizer {}, expected none", kind(&normalizer)));
    }
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if model.byte_fallback || affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err("the tokenizer marks parts of words (byte_fallback, continuing_subword_prefix or \
                    end_of_word_suffix), expected byte-level BPE"
            .into());
    }
    let tokens = tokens(model.vocab, added_tokens)?;
    let merges = model
        .merges
        .iter()
        .map(|merge| match merge {
            Merge::Pair(a, b) => Ok((&a[..], &b[..])),
            Merge::Text(text) => text
                .split_once(' ')
                .ok_or(format!("the tokenizer has the merge {text:?}, expected two tokens")),
        })
        .collect::<Result<Vec<_>, String>>()?;
    let merges = Alphabet::new().pairs(&tokens, merges.into_iter())?;
    let mut patterns = Vec::new();
    if !patterns_of(&pre_tokenizer, &mut patterns)? {
        return Err("the tokenizer has no pre-tokenizer ByteLevel, expected byte-level BPE".into());
    }
    let id = |text: &str| {
        let found = tokens.iter().position(|(bytes, _)| bytes == text.as_bytes());
        found
            .map(|id| id as u32)
            .ok_or(format!("the tokenizer begins or ends a text with {text:?}, which is no token"))
    };
    let named = |token: &Value| token.as_str().or(token["content"].as_str()).map(id).transpose();
    let before = first(&post_processor)?.as_deref().map(id).transpose()?;
    let ends = ["<|end_of_text|>", "<|endoftext|>"];
    Ok(Parts {
        bos: named(&config.bos_token)?.or(before),
        eos: named(&config.eos_token)?.or_else(|| ends.iter().find_map(|end| id(end).ok())),
        add_bos: config.add_bos_token.unwrap_or(before.is_some()),
        ignore_merges: model.ignore_merges,
        tokens,
        merges,
        patterns,
    })
}

/// The tokens by id. An added token may be in the vocabulary too.
fn tokens(vocab: HashMap<String, u32>, added: Vec<Added>) -> Result<Vec<(Vec<u8>, Kind)>, String> {
    let alphabet = Alphabet::new();
    let mut tokens: Vec<Option<(Vec<u8>, Kind)>> = vec![None; vocab.len() + added.len()];
    let outside = |id: u32, text: &str, count: usize| {
        format!("the tokenizer has {count} tokens at most, but {text:?} is the token {id}")
    };
    let count = tokens.len();
    for Added { id, content, single_word, lstrip, rstrip, special } in added {
        if single_word || lstrip || rstrip {
            return Err(format!(
                "the tokenizer finds {content:?} only beside certain characters (single_word, lstrip or rstrip), which \
                 this program does not do"
            ));
        }
        if vocab.get(&content).is_some_and(|&other| other != id) {
            return Err(format!("the tokenizer has {content:?} twice, as the token {id} and as another"));
        }
        let kind = if special { Kind::Special } else { Kind::Added };
        let slot = tokens.get_mut(id as usize).ok_or_else(|| outside(id, &content, count))?;
        if slot.replace((content.into_bytes(), kind)).is_some() {
            return Err(format!("the tokenizer has two tokens {id}"));
        }
    }
    for (text, id) in vocab {
        let slot = tokens.get_mut(id as usize).ok_or_else(|| outside(id, &text, count))?;
        match slot {
            None => *slot = Some((alphabet.token(id as usize, &text)?, Kind::Ordinary)),
            Some((bytes, kind)) if *kind != Kind::Ordinary && *bytes == text.as_bytes() => {}
            Some(_) => return Err(format!("the tokenizer has two tokens {id}")),
        }
    }
    let given = tokens.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    tokens.truncate(given);
    let missing = |id| format!("the tokenizer has tokens up to {}, but no token {id}", given - 1);
    tokens.into_iter().enumerate().map(|(id, token)| token.ok_or_else(|| missing(id))).collect()
}

/// The type of a part of the file.
fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or("without a type")
}

/// Appends the patterns of a pre-tokenizer. Returns whether bytes become characters after them.
fn patterns_of(part: &Value, patterns: &mut Vec<String>) -> Result<bool, String> {
    let wrong = |what: &str| Err(format!("the tokenizer has the pre-tokenizer {} with {what}", kind(part)));
    match kind(part) {
        "Sequence" => {
            let mut bytes = false;
            for part in part["pretokenizers"].as_array().into_iter().flatten() {
                if bytes {
                    return wrong("a part after ByteLevel, expected none");
                }
                bytes = patterns_of(part, patterns)?;
            }
            Ok(bytes)
        }
        "Digits" => {
            let one = part["individual_digits"].as_bool().unwrap_or(false);
            patterns.push(if one { DIGIT.into() } else { format!("{DIGIT}+") });
            Ok(false)
        }
        "Split" => {
            if part["behavior"] != "Isolated" || part["invert"] == true {
                return wrong("another behavior than Isolated, which this program does not do");
            }
            let pattern = &part["pattern"];
            match (pattern["Regex"].as_str(), pattern["String"].as_str()) {
                (Some(regex), _) => patterns.push(regex.into()),
                (_, Some(text)) => patterns.push(fancy_regex::escape(text).into_owned()),
                _ => return wrong("no pattern"),
            }
            Ok(false)
        }
        "ByteLevel" => {
            if part["add_prefix_space"] == true {
                return wrong("add_prefix_space, which this program does not do");
            }
            if part["use_regex"] != false {
                patterns.push(GPT2.into());
            }
            Ok(true)
        }
        other if part.is_null() => {
            Err(format!("the tokenizer has no pre-tokenizer ({other}), expected ByteLevel"))
        }
        other => Err(format!(
            "the tokenizer has the pre-tokenizer {other}, expected Sequence, Split, Digits or ByteLevel"
        )),
    }
}

/// The token that a post-processor puts before a text.
fn first(part: &Value) -> Result<Option<String>, String> {
    if part.is_null() {
        return Ok(None);
    }
    match kind(part) {
        "ByteLevel" => Ok(None),
        "Sequence" => {
            let mut found = None;
            for part in part["processors"].as_array().into_iter().flatten() {
                found = found.or(first(part)?);
            }
            Ok(found)
        }
        "TemplateProcessing" => {
            let single = part["single"].as_array().map(Vec::as_slice).unwrap_or_default();
            match single {
                [text] if text["Sequence"].is_object() => Ok(None),
                [token, text] if text["Sequence"].is_object() && token["SpecialToken"]["id"].is_string() => {
                    Ok(token["SpecialToken"]["id"].as_str().map(String::from))
                }
                _ => Err("the tokenizer puts tokens around a text (post_processor), expected one before it at most".into()),
            }
        }
        other => Err(format!(
            "the tokenizer has the post-processor {other}, expected Sequence, ByteLevel or TemplateProcessing"
        )),
    }
}
