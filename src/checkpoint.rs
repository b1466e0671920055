//! A training run's file: float shadow weights, gains and optimizer moments as safetensors, the rest
//! as metadata. Knows files and shapes, nothing of the GPU and nothing of training.
//!
//! The file in four bullets:
//! - `layers.i.weight [rows, cols]` and `layers.i.gain [cols]`, f32, for `i = 0, 1, ...`;
//! - `layers.i.weight.m`, `.v`, `layers.i.gain.m`, `.v`: the optimizer's moments, of the same shapes;
//! - `layers.i.trits [rows, words]`, u32: a ternary network's weights at the end of the last whole epoch, from
//!   which the flips of the next are counted;
//! - metadata, all strings: `format = "sterna"`, `schema`, `sterna_version`, `run`, a JSON object,
//!   `progress`, where in the run it was written, and `sha256` over all of the above.
//!
//! A file with the first bullet alone, from PyTorch say, loads as well.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// Version of every file and JSON object that Sterna writes.
pub const SCHEMA: u32 = 1;

/// What can be wrong with a file; one plain sentence each.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The file is no model.
    #[error("{}: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        what: String,
    },
}

/// AdamW's two moments of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// First moment.
    pub m: Vec<f32>,
    /// Second moment.
    pub v: Vec<f32>,
}

/// One layer as it lies in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// Shadow weights `[rows, cols]`.
    pub weight: Vec<f32>,
    /// RMSNorm's gain `[cols]`.
    pub gain: Vec<f32>,
    /// Moments of the weights and of the gain, where the file has them.
    pub moments: Option<[Moments; 2]>,
    /// Packed trits at the end of the last whole epoch, where the file has them.
    pub trits: Option<Vec<u32>>,
}

impl Layer {
    /// The float tensors by their names in the file.
    fn floats(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        let moments = self.moments.iter().flat_map(|[weight, gain]| {
            [("weight.m", &weight.m), ("weight.v", &weight.v), ("gain.m", &gain.m), ("gain.v", &gain.v)]
        });
        [("weight", &self.weight), ("gain", &self.gain)]
            .into_iter()
            .chain(moments)
            .map(|(name, values)| (name, &values[..]))
    }
}

/// Where in a run a file was written: with the seed, all that is random follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs done.
    pub epoch: usize,
    /// Steps done of the epoch after them.
    pub step: usize,
    /// Loss summed over these steps, as the device holds it.
    pub loss: f32,
    /// Hits counted over these steps.
    pub hits: u32,
    /// Seconds these steps took.
    pub seconds: f64,
}

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// First layer first.
    pub layers: Vec<Layer>,
    /// Where the run stands; without it a file cannot be trained on.
    pub progress: Option<Progress>,
    /// What the run says of itself; `Null` for a foreign file.
    pub run: serde_json::Value,
}

impl Checkpoint {
    /// Inputs, hidden widths, classes.
    pub fn dims(&self) -> Vec<usize> {
        self.layers.first().map(|l| l.cols).into_iter().chain(self.layers.iter().map(|l| l.rows)).collect()
    }

    /// Whether every value is a number; nothing else should be saved, and nothing else is loaded.
    pub fn is_finite(&self) -> bool {
        let sum = self.progress.is_none_or(|progress| progress.loss.is_finite());
        sum && self
            .layers
            .iter()
            .flat_map(Layer::floats)
            .all(|(_, values)| values.iter().all(|x| x.is_finite()))
    }

    /// Writes the file beside its place, syncs it and renames it: a reader sees the old or the new one.
    ///
    /// # Errors
    /// If the folder cannot be written or the disk is full; the old file is then untouched.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let mut tensors: Vec<(String, Dtype, Vec<usize>, &[u8])> = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            for (name, values) in layer.floats() {
                let shape =
                    if name.starts_with("weight") { vec![layer.rows, layer.cols] } else { vec![layer.cols] };
                let name = format!("layers.{i}.{name}");
                tensors.push((name, Dtype::F32, shape, bytemuck::cast_slice(values)));
            }
            if let Some(words) = &layer.trits {
                let shape = vec![layer.rows, words.len() / layer.rows];
                tensors.push((format!("layers.{i}.trits"), Dtype::U32, shape, bytemuck::cast_slice(words)));
            }
        }
        let mut metadata = BTreeMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("schema".into(), SCHEMA.to_string()),
            ("sterna_version".into(), env!("CARGO_PKG_VERSION").into()),
            ("run".into(), self.run.to_string()),
        ]);
        if let Some(progress) = &self.progress {
            let json = serde_json::to_string(progress).expect("numbers have a JSON form");
            metadata.insert("progress".into(), json);
        }
        let views: BTreeMap<String, TensorView> = tensors
            .into_iter()
            .map(|(name, dtype, shape, bytes)| {
                let view = TensorView::new(dtype, shape, bytes);
                (name, view.expect("shape and length agree by construction"))
            })
            .collect();
        metadata.insert("sha256".into(), checksum(&views, &metadata));
        replace(path, &serialize(&views, &metadata))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is unreadable, no safetensors, lacks a tensor, or its shapes do not chain.
    pub fn load(path: &Path) -> Result<Checkpoint, FileError> {
        let bytes = std::fs::read(path).map_err(|reason| FileError::Read { path: path.into(), reason })?;
        Checkpoint::from_bytes(&bytes).map_err(|what| FileError::Content { path: path.into(), what })
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// As [`Checkpoint::load`], without the file's name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, String> {
        let (file, header) = deserialize(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        current(&file, &metadata)?;
        let view = |name: &str, dtype: Dtype, shape: &[usize]| {
            let view = file.tensor(name).map_err(|_| format!("has no tensor {name}"))?;
            if view.dtype() != dtype || view.shape() != shape {
                let (found, at) = (view.dtype(), view.shape());
                return Err(format!("{name} is {found:?} {at:?}, expected {dtype:?} {shape:?}"));
            }
            Ok(view)
        };
        let floats = |name: &str, shape: &[usize]| -> Result<Vec<f32>, String> {
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(view(name, Dtype::F32, shape)?.data());
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(values),
                Some(i) => Err(format!(
                    "{name} holds {} at index {i}: the run that wrote it had diverged",
                    values[i]
                )),
            }
        };
        let mut layers: Vec<Layer> = Vec::new();
        for i in 0.. {
            let [weight, gain, trits] = ["weight", "gain", "trits"].map(|what| format!("layers.{i}.{what}"));
            let Ok(matrix) = file.tensor(&weight) else { break };
            let &[rows, cols] = matrix.shape() else {
                return Err(format!("{weight} has shape {:?}, expected a matrix", matrix.shape()));
            };
            if rows == 0 || cols == 0 {
                return Err(format!("{weight} has shape [{rows}, {cols}], expected at least [1, 1]"));
            }
            if let Some(before) = layers.last().filter(|before: &&Layer| before.rows != cols) {
                return Err(format!(
                    "{weight} has {cols} inputs, but the layer before has {} outputs",
                    before.rows
                ));
            }
            let moments = |name: &str, shape: &[usize]| {
                Ok::<_, String>(Moments {
                    m: floats(&format!("{name}.m"), shape)?,
                    v: floats(&format!("{name}.v"), shape)?,
                })
            };
            let trained = file.tensor(&format!("{weight}.m")).is_ok();
            layers.push(Layer {
                rows,
                cols,
                moments: if trained {
                    Some([moments(&weight, &[rows, cols])?, moments(&gain, &[cols])?])
                } else {
                    None
                },
                trits: match file.tensor(&trits) {
                    Ok(_) => {
                        let words = view(&trits, Dtype::U32, &[rows, cols.div_ceil(16)])?;
                        Some(bytemuck::pod_collect_to_vec(words.data()))
                    }
                    Err(_) => None,
                },
                weight: floats(&weight, &[rows, cols])?,
                gain: floats(&gain, &[cols])?,
            });
        }
        if layers.is_empty() {
            return Err("has no tensor layers.0.weight: expected a model that `sterna train` wrote".into());
        }
        let number = |name: &str| name.strip_prefix("layers.")?.split('.').next()?.parse::<usize>().ok();
        if let Some(name) =
            file.names().into_iter().find(|name| number(name).is_some_and(|i| i >= layers.len()))
        {
            return Err(format!("has {name}, but no layers.{}.weight before it", layers.len()));
        }
        let json = |key: &str| metadata.get(key).map(String::as_str).unwrap_or("null");
        let misread = |key: &str, error| {
            format!("its metadata `{key}` is no {}", no_json("JSON of a run", json(key).as_bytes(), &error))
        };
        let run = serde_json::from_str(json("run")).map_err(|error| misread("run", error))?;
        let progress = serde_json::from_str(json("progress")).map_err(|error| misread("progress", error))?;
        Ok(Checkpoint { layers, progress, run })
    }
}

/// How the names of files begin that are not finished.
pub const TEMPORARY: &str = ".sterna-";

/// What tells our own files from others in safetensors form.
pub const FORMAT: &str = "sterna";

/// The bytes of a safetensors file, a function of its content alone: the crate would write the metadata in the order
/// of a hash map.
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

/// SHA-256 over every tensor and every other entry of the metadata, both in the order of their names.
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

/// Whether a file is of this version and as it was written; nothing is asked of one that says neither.
///
/// # Errors
/// If it is not.
pub fn current(file: &SafeTensors, metadata: &BTreeMap<String, String>) -> Result<(), String> {
    if let Some(schema) = metadata.get("schema").filter(|schema| **schema != SCHEMA.to_string()) {
        return Err(format!(
            "has schema {schema}, this version reads {SCHEMA}: use the version that wrote it"
        ));
    }
    match metadata.get("format").is_some_and(|format| format == FORMAT) || metadata.contains_key("sha256") {
        true => intact(file, metadata),
        false => Ok(()),
    }
}

/// Whether a file's checksum is that of its content.
///
/// # Errors
/// If it is not, or if there is none.
pub fn intact(file: &SafeTensors, metadata: &BTreeMap<String, String>) -> Result<(), String> {
    let found = checksum(&file.tensors().into_iter().collect(), metadata);
    match metadata.get("sha256") {
        Some(stated) if *stated == found => Ok(()),
        Some(stated) => Err(damaged("its checksum `sha256`", stated, &found)),
        None => Err("is damaged: its metadata has no checksum `sha256`; use an older copy".into()),
    }
}

/// The clause of a file whose checksum is another one.
pub(crate) fn damaged(what: &str, stated: &str, found: &str) -> String {
    let first = |sum: &str| sum.chars().take(16).collect::<String>();
    let [stated, found] = [stated, found].map(first);
    format!("is damaged: {what} begins with {stated}, that of its content with {found}; use an older copy")
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Replaces a file by a synced rename; of a link the file that it leads to.
///
/// # Errors
/// If the folder cannot be written or the disk is full, if a folder, a device or a pipe has this name, or if it is a
/// link that leads nowhere.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let target = target(path)?;
    write(&target, bytes, |file| file.persist(&target).map_err(|error| error.error))
}

/// The file that [`replace`] replaces.
///
/// # Errors
/// If a folder, a device or a pipe has this name, or if it is a link that leads nowhere.
pub(crate) fn target(path: &Path) -> Result<PathBuf, FileError> {
    let refused = |reason| FileError::Write { path: path.into(), reason };
    let target = if path.is_symlink() { path.canonicalize().map_err(refused)? } else { path.into() };
    // A rename would take a device out of its folder.
    match std::fs::metadata(&target).ok().filter(|there| !there.is_file()) {
        None => Ok(target),
        Some(there) => {
            let what = if there.is_dir() { "it is a folder" } else { "it is no regular file" };
            Err(refused(std::io::Error::new(std::io::ErrorKind::InvalidInput, what)))
        }
    }
}

/// Writes a file that must not be there yet, by a synced rename.
///
/// # Errors
/// If it is there, with [`ErrorKind::AlreadyExists`](std::io::ErrorKind::AlreadyExists); or as [`replace`].
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, |file| file.persist_noclobber(path).map_err(|error| error.error))
}

/// The folder of a file: of a bare name the one that this process is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write(
    path: &Path,
    bytes: &[u8],
    persist: impl FnOnce(NamedTempFile) -> std::io::Result<std::fs::File>,
) -> Result<(), FileError> {
    let write = || {
        let folder = folder(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        // Temporary files are private; a model is as readable as the user's umask lets files be.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // A folder that is not there is said in the system's words, anything else by its kind: the crate would name the
        // temporary file.
        std::fs::metadata(folder)?;
        let mut file = builder.tempfile_in(folder).map_err(|error| error.kind())?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        persist(file)?;
        // The new name itself must survive a power cut; only Unix lets a folder be synced.
        if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
    };
    write().map_err(|reason| FileError::Write { path: path.into(), reason })
}

/// A safetensors file, taken apart.
///
/// # Errors
/// A clause that says what is promised and what is there: the crate has no numbers.
pub fn deserialize(bytes: &[u8]) -> Result<(SafeTensors<'_>, Metadata), String> {
    let no_file = |what: String| format!("is no safetensors file: {what}");
    let Some(&length) = bytes.first_chunk() else {
        return Err(no_file(format!("it has {} bytes, expected at least 8", bytes.len())));
    };
    let (length, left) = (u64::from_le_bytes(length), bytes.len() as u64 - 8);
    if length > left {
        return Err(no_file(format!("its first 8 bytes promise a header of {length} bytes, found {left}")));
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
    Ok((file, metadata))
}

/// Bytes of a header at most; the crate reads no more.
const MOST_HEADER: u64 = 100_000_000;

/// What is wrong with a header, in numbers, which the crate does not have: where it is no JSON, or the first tensor
/// whose bytes do not follow those before or are not as many as its shape and type say, or where the `data` bytes
/// after it are not those of all tensors.
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
    (free != data).then(|| format!("its header promises {free} bytes of tensors, found {data}"))
}

/// Where a text is not what it should be, with the reason in brackets.
pub(crate) fn no_json(what: &str, text: &[u8], error: &serde_json::Error) -> String {
    let before = text.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let at = (before.map(<[u8]>::len).sum::<usize>() + error.column()).min(text.len());
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = error.to_string().replace(&place, "");
    format!("{what} at byte {at} of {} ({reason})", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Checkpoint {
        let layer = |rows: usize, cols: usize| Layer {
            rows,
            cols,
            weight: (0..rows * cols).map(|i| i as f32 - 2.5).collect(),
            gain: vec![1.5; cols],
            moments: Some([
                Moments { m: vec![0.25; rows * cols], v: vec![0.5; rows * cols] },
                Moments { m: vec![0.0; cols], v: vec![1.0; cols] },
            ]),
            trits: Some(vec![0x5555_5555; rows]),
        };
        let progress = Progress { epoch: 1, step: 7, loss: 0.1, hits: 3, seconds: 0.7 };
        let layers = vec![layer(3, 5), layer(2, 3)];
        Checkpoint { layers, progress: Some(progress), run: serde_json::json!({"seed": 7}) }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.safetensors");
        small().save(&path).expect("saved");
        assert_eq!(Checkpoint::load(&path).expect("loaded"), small());
        assert_eq!(small().dims(), [5, 3, 2]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1, "no temporary file is left");
    }

    #[test]
    fn every_cut_of_a_file_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.safetensors");
        small().save(&path).expect("saved");
        let bytes = std::fs::read(&path).expect("read");
        for end in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_flip_of_any_bit_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.safetensors");
        small().save(&path).expect("saved");
        let bytes = std::fs::read(&path).expect("read");
        for at in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(Checkpoint::from_bytes(&flipped).is_err(), "bit {} of byte {}", at % 8, at / 8);
        }
    }

    #[test]
    fn a_layer_that_is_missing_between_others_is_noticed() {
        let layer = small().layers[0].clone();
        let mut values =
            vec![("layers.0.weight", vec![3, 5], &layer.weight), ("layers.0.gain", vec![5], &layer.gain)];
        values.push(("layers.2.gain", vec![5], &layer.gain));
        let views = values.iter().map(|(name, shape, values)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            (*name, view.expect("shapes and lengths agree"))
        });
        let bytes = safetensors::serialize(views, None).expect("names are distinct");
        assert_eq!(
            Checkpoint::from_bytes(&bytes),
            Err("has layers.2.gain, but no layers.1.weight before it".into())
        );
    }

    #[test]
    fn shapes_that_do_not_chain_are_refused() {
        let mut broken = small();
        broken.layers[1] = Layer {
            moments: None,
            trits: None,
            cols: 4,
            weight: vec![0.0; 8],
            gain: vec![1.0; 4],
            ..small().layers[1].clone()
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.safetensors");
        broken.save(&path).expect("saved");
        let sentence = Checkpoint::load(&path).expect_err("refused").to_string();
        assert!(
            sentence.ends_with("layers.1.weight has 4 inputs, but the layer before has 3 outputs"),
            "{sentence}"
        );
    }
}
