//! Transformers in GGUF, with the keys and the tensor names of llama.cpp. This module reads and names the architectures
//! of BitNet, and LLaMA as a float network. It knows no bytes of tensors and no files on a disk.
//!
//! - `bitnet-b1.58`, `bitnet-25` and `bitnet` are three names of one architecture. No key states its activation: it is
//!   that of BitNet b1.58 2B4T, relu2.
//! - `llama` has the rows of q and k in another order, because its rotary positions turn neighbouring values. Reading
//!   restores the order of Hugging Face.
//! - The head is the embedding if there is no `output.weight`, or if it has the embedding's bytes.

use std::collections::HashMap;

use serde_json::Value;

use super::foreign::{RECORD, Reading, Record};
use super::gguf::{Entry, Gguf};
use super::layout::{Layout, Rules, Tensors};
use super::transformer::{Settings, gguf_name};
use super::{Contents, Stored};
use crate::text::GgufTokenizer;

/// The names of BitNet's architecture.
const BITNET: [&str; 3] = ["bitnet-b1.58", "bitnet-25", "bitnet"];

const LLAMA: &str = "llama";

const EMBEDDING: &str = "token_embd.weight";

/// Whether a file holds a transformer: it says that it is a BitNet, or it has an embedding of tokens.
pub(super) fn is_transformer((tensors, metadata): &Contents) -> bool {
    let stated = metadata.get("general.architecture").and_then(Value::as_str);
    let embeds = || tensors.iter().any(|tensor| tensor.name == EMBEDDING);
    stated.is_some_and(|stated| BITNET.contains(&stated) || embeds())
}

/// The keys of one file.
struct Keys<'a> {
    file: &'a Gguf<'a>,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    fn of(file: &'a Gguf<'a>) -> Result<Keys<'a>, String> {
        let stated = |(key, entry): &(&str, Entry<'a>)| match entry {
            Entry::Text(text) if *key == "general.architecture" => Some(*text),
            _ => None,
        };
        let architecture = file.metadata.iter().find_map(stated).ok_or("has no general.architecture")?;
        Ok(Keys { file, architecture })
    }

    fn entry(&self, key: &str) -> Option<Entry<'a>> {
        self.file.metadata.iter().find(|(name, _)| *name == key).map(|(_, entry)| *entry)
    }

    /// The name of a key of this architecture.
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A size, if the key is there.
    fn size(&self, key: &str) -> Result<Option<usize>, String> {
        let key = self.key(key);
        match self.entry(&key) {
            None => Ok(None),
            Some(Entry::Integer(size)) if size >= 0 => Ok(usize::try_from(size).ok()),
            Some(_) => Err(format!("has a {key} that is no size")),
        }
    }

    fn needed(&self, key: &str) -> Result<usize, String> {
        self.size(key)?.ok_or_else(|| format!("has no {}", self.key(key)))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, String> {
        let key = self.key(key);
        match self.entry(&key) {
            None => Ok(None),
            Some(Entry::Float(value)) => Ok(Some(value)),
            Some(_) => Err(format!("has a {key} that is no float")),
        }
    }
}

/// The name in GGUF of a parameter.
fn name(name: &str) -> String {
    gguf_name(name).expect("a transformer has no other parameters")
}

/// Where the parameters lie in a file with these tensors.
///
/// # Errors
/// A clause with what is missing, of another kind, or unknown.
pub(super) fn layout(
    bytes: &[u8],
    (tensors, metadata): Contents,
    reading: &Reading,
) -> Result<Layout, String> {
    let file = Gguf::parse(bytes)?;
    let keys = Keys::of(&file)?;
    let (mut settings, mut notes) = settings(&keys, &tensors)?;
    let record = metadata.get(RECORD).map(Record::read).transpose()?;
    if record.is_some() {
        // The record states all that the keys leave open.
        notes.clear();
    }
    let rules = Rules {
        name,
        scale: |name| name.strip_suffix(".weight").map_or(String::new(), |base| format!("{base}.scale")),
        convention: Err("has packed bytes of Hugging Face's BitNet in GGUF".into()),
        masters: false,
        paired: (keys.architecture == LLAMA).then(|| settings.head()),
        i2s: reading.i2s.unwrap_or_default(),
        ignored: |_| false,
        record,
        reading,
    };
    let by_name: HashMap<_, _> =
        tensors.into_iter().map(|tensor| (tensor.name.clone(), (0, tensor))).collect();
    let files = [bytes];
    let tensors = Tensors { files: &files, by_name };
    settings.tied = match &rules.record {
        Some(record) => record.ties()?,
        None => !tensors.has_own_head(name),
    };
    settings.fits(tensors.by_name.len())?;
    let layout = tensors.layout(settings.arch(), settings.parameters(), &rules)?;
    Ok(Layout { notes: [notes, layout.notes].concat(), ..layout })
}

/// The settings in the keys of a file with these tensors, and notes on what they do not state.
fn settings(keys: &Keys, tensors: &[Stored]) -> Result<(Settings, Vec<String>), String> {
    let mut notes = Vec::new();
    let architecture = keys.architecture;
    let is_bitnet = BITNET.contains(&architecture);
    if !is_bitnet && architecture != LLAMA {
        let stranger = tensors.iter().map(|tensor| &tensor.name).find(|name| !is_known(name));
        return Err(format!(
            "is of the architecture {architecture}, expected {}, or {LLAMA}: {}",
            BITNET.join(", "),
            match stranger {
                Some(name) => format!("a network here has no {name}"),
                None => "this program does not know its layers".into(),
            }
        ));
    }
    let scaling = keys.key("rope.scaling.type");
    if let Some(Entry::Text(kind)) = keys.entry(&scaling).filter(|kind| *kind != Entry::Text("none")) {
        return Err(format!("has the {scaling} {kind}, expected none"));
    }
    if let Some(experts) = keys.size("expert_count")?.filter(|count| *count > 0) {
        return Err(format!("has {experts} experts, expected none"));
    }
    let heads = keys.needed("attention.head_count")?;
    let theta = match keys.float("rope.freq_base")? {
        Some(theta) => theta,
        None => {
            notes.push(format!(
                "it has no {}: theta is taken as 10000, as llama.cpp does",
                keys.key("rope.freq_base")
            ));
            10_000.0
        }
    };
    let eps = keys.float("attention.layer_norm_rms_epsilon")?;
    let eps = eps.ok_or_else(|| format!("has no {}", keys.key("attention.layer_norm_rms_epsilon")))?;
    let rows = tensors.iter().find(|tensor| tensor.name == EMBEDDING).and_then(|tensor| tensor.shape.first());
    let vocabulary = match (keys.size("vocab_size")?, rows) {
        (Some(stated), Some(rows)) if stated != *rows => {
            return Err(format!("has the vocab_size {stated}, but {rows} rows in token_embd.weight"));
        }
        (Some(stated), _) => stated,
        (None, Some(rows)) => *rows,
        (None, None) => return Err("has no tensor token_embd.weight".into()),
    };
    // A LLaMA whose matrices are trits was trained as BitNet.
    let is_trits = |tensor: &Stored| tensor.dtype.starts_with("TQ") || tensor.dtype == super::i2s::NAME;
    let ternary = is_bitnet || tensors.iter().any(is_trits);
    if is_bitnet {
        notes.push(
            "a GGUF does not state the activation of BitNet: it is taken as relu2, that of BitNet b1.58 2B4T"
                .into(),
        );
    }
    let text = |key: &str| match keys.entry(key) {
        Some(Entry::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    if text("tokenizer.ggml.model").is_some() {
        let tokenizer = GgufTokenizer { pre: text("tokenizer.ggml.pre"), ..GgufTokenizer::default() };
        notes.extend(tokenizer.note());
    }
    let settings = Settings {
        layers: keys.needed("block_count")?,
        width: keys.needed("embedding_length")?,
        heads,
        kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(heads),
        ffn: keys.needed("feed_forward_length")?,
        vocabulary,
        context: keys.needed("context_length")?,
        theta,
        eps: eps as f32,
        ternary,
        activation: if is_bitnet { "relu2" } else { "silu" }.into(),
        sub_norms: is_bitnet,
        tied: true,
    };
    settings.check()?;
    for key in ["rope.dimension_count", "attention.key_length", "attention.value_length"] {
        if let Some(found) = keys.size(key)?.filter(|found| *found != settings.head()) {
            let (key, head) = (keys.key(key), settings.head());
            return Err(format!("has the {key} {found}, expected {head}, the width of a head"));
        }
    }
    Ok((settings, notes))
}

/// Whether a network here can have a tensor of this name.
fn is_known(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["token_embd" | "output_norm" | "output", "weight"] => true,
        ["blk", _, what, "weight" | "scale"] => super::transformer::is_gguf(what),
        _ => false,
    }
}
