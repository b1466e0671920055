//! Reads and writes safetensors files. Every refusal contains numbers, equal content gives equal bytes, and our own
//! files have a checksum. This module knows tensors and texts, nothing of networks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::tensor::{TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use sha2::{Digest, Sha256};

use super::{Arch, NETWORK_SCHEMA};
use crate::content;
use crate::parameter::Parameter;

/// A tensor for a new file: name, element type, shape, bytes.
pub type Named<'a> = (String, Dtype, Vec<usize>, Cow<'a, [u8]>);

/// A file of our own under construction.
pub struct Sealed<'a> {
    tensors: Vec<Named<'a>>,
    metadata: BTreeMap<String, String>,
}

/// The metadata that every file of our own has: the format, versions, and the network with its parameters.
pub fn stated<'p>(
    format: &str,
    arch: &Arch,
    parameters: impl Iterator<Item = &'p Parameter>,
) -> BTreeMap<String, String> {
    let parameters: Vec<&Parameter> = parameters.collect();
    let texts = [
        ("format", format.into()),
        ("schema", NETWORK_SCHEMA.to_string()),
        ("sterna_version", env!("CARGO_PKG_VERSION").into()),
        ("arch", serde_json::to_string(arch).expect("settings are JSON")),
        ("parameters", serde_json::to_string(&parameters).expect("names and shapes have a JSON form")),
    ];
    texts.map(|(key, text)| (key.into(), text)).into()
}

impl<'a> Sealed<'a> {
    /// A file of this format for a network. It has no tensors yet.
    pub fn new<'p>(format: &str, arch: &Arch, parameters: impl Iterator<Item = &'p Parameter>) -> Sealed<'a> {
        Sealed { tensors: Vec::new(), metadata: stated(format, arch, parameters) }
    }

    /// Adds an entry to the metadata.
    pub fn text(&mut self, key: &str, text: String) {
        self.metadata.insert(key.into(), text);
    }

    /// Adds a tensor.
    pub fn tensor(&mut self, name: String, dtype: Dtype, shape: &[usize], bytes: impl Into<Cow<'a, [u8]>>) {
        self.tensors.push((name, dtype, shape.to_vec(), bytes.into()));
    }

    /// The bytes of the whole file, with its checksum.
    pub fn finish(mut self) -> Vec<u8> {
        let views = views(&self.tensors);
        self.metadata.insert("sha256".into(), checksum(&views, &self.metadata));
        serialize(&views, &self.metadata)
    }
}

/// Tensors by name, as [`serialize`] takes them.
pub fn views<'a>(tensors: &'a [Named]) -> BTreeMap<String, TensorView<'a>> {
    let view = |(name, dtype, shape, bytes): &'a Named| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name.clone(), view.expect("shape and length agree by construction"))
    };
    tensors.iter().map(view).collect()
}

/// The bytes of a safetensors file. They depend only on the content, while the crate would write the metadata in the
/// order of a hash map.
pub fn serialize(tensors: &BTreeMap<String, TensorView>, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let unordered = metadata.clone().into_iter().collect();
    let bytes = safetensors::serialize(tensors, Some(unordered)).expect("names are distinct and sizes agree");
    let length = bytes.first_chunk().map_or(0, |&length| u64::from_le_bytes(length)) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let mut header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).expect("a header is a JSON object");
    header.insert("__metadata__".into(), serde_json::json!(metadata));
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), &header[..], data].concat()
}

/// SHA-256 over all tensors and all other metadata entries, both ordered by name.
pub fn checksum(tensors: &BTreeMap<String, TensorView>, metadata: &BTreeMap<String, String>) -> String {
    let mut sum = Sha256::new();
    for (name, view) in tensors {
        sum.update(format!("{name} {:?} {:?}\n", view.dtype(), view.shape()));
        sum.update(view.data());
    }
    for (key, value) in metadata.iter().filter(|(key, _)| *key != "sha256") {
        sum.update(format!("{key} {} {value}\n", value.len()));
    }
    hex(&sum.finalize())
}

/// Checks that a file's checksum fits its content.
///
/// # Errors
/// If it does not fit, or if the file has none.
pub fn intact(file: &SafeTensors, metadata: &BTreeMap<String, String>) -> Result<(), String> {
    let found = checksum(&file.tensors().into_iter().collect(), metadata);
    match metadata.get("sha256") {
        Some(stated) if *stated == found => Ok(()),
        Some(stated) => Err(damaged("its checksum `sha256`", stated, &found)),
        None => Err("is damaged: its metadata has no checksum `sha256`; use an older copy".into()),
    }
}

/// The error text for a file with a wrong checksum.
pub(crate) fn damaged(what: &str, stated: &str, found: &str) -> String {
    let first = |sum: &str| sum.chars().take(16).collect::<String>();
    let [stated, found] = [stated, found].map(first);
    format!("is damaged: {what} begins with {stated}, that of its content with {found}; use an older copy")
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a tensor within its file.
pub fn range(file: &[u8], view: &TensorView) -> Range<usize> {
    let start = view.data().as_ptr() as usize - file.as_ptr() as usize;
    start..start + view.data().len()
}

/// Parses a safetensors file.
///
/// # Errors
/// A text with the promised and the actual sizes. The crate's own errors contain no numbers.
pub fn deserialize(bytes: &[u8]) -> Result<(SafeTensors<'_>, BTreeMap<String, String>), String> {
    let no_file = |what: String| match content::kind(bytes) {
        None => format!("is no safetensors file: {what}, and neither GGUF nor npy"),
        Some(content::SAFETENSORS) => format!("is no safetensors file: {what}"),
        Some(_) => content::refusal(bytes, "a network in safetensors, GGUF, npy or npz").unwrap_or(what),
    };
    let Some(&length) = bytes.first_chunk() else {
        return Err(match bytes.len() {
            0 => "is empty: it has 0 bytes, expected a network; get the file again".into(),
            few => no_file(format!("it has {few} bytes, expected at least 8")),
        });
    };
    let (length, left) = (u64::from_le_bytes(length), bytes.len() as u64 - 8);
    if length > left {
        let cut = match content::kind(bytes) {
            Some(content::SAFETENSORS) => "; the file is cut off: get it again",
            _ => "",
        };
        let promised = format!("its first 8 bytes promise a header of {length} bytes, found {left}");
        return Err(no_file(promised) + cut);
    }
    if length > MOST_HEADER {
        return Err(no_file(format!("its header has {length} bytes, expected at most {MOST_HEADER}")));
    }
    let (header, data) = bytes[8..].split_at(length as usize);
    let read = SafeTensors::read_metadata(bytes);
    let (_, metadata) = read.map_err(|error| {
        no_file(misfit(header, data.len()).unwrap_or_else(|| match error {
            SafeTensorError::InvalidHeaderDeserialization(error) => {
                format!("its header is no {}", no_json("JSON of tensors", header, &error))
            }
            other => format!("its header of {length} bytes is not understood ({other})"),
        }))
    })?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| no_file(error.to_string()))?;
    Ok((file, metadata.metadata().clone().unwrap_or_default().into_iter().collect()))
}

/// The largest header in bytes. The crate reads no larger one.
const MOST_HEADER: u64 = 100_000_000;

/// The fault of a header, in numbers, which the crate does not give. It reports a header that is no JSON, a first
/// tensor whose bytes do not follow the earlier ones or do not fit its shape and type, or `data` bytes that are not
/// those of all tensors.
fn misfit(header: &[u8], data: usize) -> Option<String> {
    if let Err(error) = std::str::from_utf8(header) {
        let [at, all] = [error.valid_up_to(), header.len()];
        return Some(format!("its header is no UTF-8 at byte {at} of {all}"));
    }
    let entries: BTreeMap<String, serde_json::Value> = match serde_json::from_slice(header) {
        Ok(entries) => entries,
        Err(error) => return Some(format!("its header is no {}", no_json("JSON object", header, &error))),
    };
    let mut tensors = Vec::new();
    for (name, entry) in entries {
        if name == "__metadata__" {
            let text =
                entry.as_object().is_some_and(|entries| entries.values().all(serde_json::Value::is_string));
            if !text && !entry.is_null() {
                return Some("its header's __metadata__ is no JSON object of texts".into());
            }
            continue;
        }
        match serde_json::from_value::<TensorInfo>(entry) {
            Ok(info) => tensors.push((info.data_offsets, name, info)),
            Err(error) => return Some(format!("its header's entry {name} is no tensor ({error})")),
        }
    }
    tensors.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut free = 0;
    for ((from, to), name, TensorInfo { dtype, shape, .. }) in tensors {
        if from != free || to < from {
            return Some(format!(
                "its header puts {name} at bytes {from} to {to} of the data, expected it to begin at byte {free}"
            ));
        }
        free = to;
        let found = (to - from) as u128;
        let bits = shape.iter().try_fold(dtype.bitsize() as u128, |all, &n| all.checked_mul(n as u128));
        if bits != Some(8 * found) {
            let bytes = bits.map_or("more bytes than can be counted".into(), |bits| match bits % 8 {
                0 => format!("{} bytes", bits / 8),
                _ => format!("{bits} bits"),
            });
            return Some(format!("{name} is {dtype:?} {shape:?}, {bytes}, where its offsets hold {found}"));
        }
    }
    (free != data).then(|| {
        format!(
            "its header promises {free} bytes of tensors, found {data}{}",
            if free > data { "; the file is cut off: get it again" } else { "" }
        )
    })
}

/// The position where a text stops being valid, with the reason in brackets.
pub(crate) fn no_json(what: &str, text: &[u8], error: &serde_json::Error) -> String {
    let before = text.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let at = (before.map(<[u8]>::len).sum::<usize>() + error.column()).min(text.len());
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = error.to_string().replace(&place, "");
    format!("{what} at byte {at} of {} ({reason})", text.len())
}
