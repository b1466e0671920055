//! Networks at rest: the one type that every file format is read into and written from, and the list of what a
//! file holds without loading it. Knows bytes and trits, nothing of the GPU.
//!
//! A format is a file of this folder with two functions over the bytes of a file, `read` and `list`. Both return
//! one clause without the file's name, which [`Model::open`] and [`Listing::open`] put in front; both hold every
//! count against the bytes that are there before they take memory for it.

mod bitnet;
mod exchange;
mod floats;
mod foreign;
mod ggml;
mod gguf;
mod map;
mod npy;
mod npz;
mod packed;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value};

use crate::checkpoint::{self, Checkpoint, FileError, no_json};
use crate::ternary::{Packed, RMSNORM_EPS};

pub use bitnet::WeightScale;
pub use exchange::Exchange;
pub use foreign::{Imported, Loss, Reading, Record};
pub use ggml::Blocks;
pub use gguf::KINDS as GGML_KINDS;
pub use map::Mapped;
pub use packed::Coding;

/// A ternary network at rest: [RMSNorm with gain, ternary matrix, ReLU] per layer, no ReLU after the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// First layer first.
    pub layers: Vec<Layer>,
    /// RMSNorm's epsilon.
    pub eps: f32,
    /// What made it, as far as the file knows: of a trained network what `sterna train` says of the run, else `Null`.
    pub about: Value,
}

/// One layer at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The matrix `[rows, cols]` with its scale.
    pub packed: Packed,
    /// RMSNorm's gain `[cols]`.
    pub gain: Vec<f32>,
}

impl Model {
    /// Reads a network from a file of any known format.
    ///
    /// # Errors
    /// A sentence that names the file, and what was expected and found in it.
    pub fn open(path: &Path) -> Result<Model, FileError> {
        Model::import(path, &Reading::default()).map(|imported| imported.model)
    }

    /// Reads a network as told where the file does not say how, and says what was assumed, left out and lost. A
    /// `config.json` beside BitNet's safetensors is read too.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn import(path: &Path, reading: &Reading) -> Result<Imported, FileError> {
        Model::import_mapped(path, &Mapped::open(path)?, reading)
    }

    /// [`Model::import`] of a file that is mapped already.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn import_mapped(path: &Path, bytes: &Mapped, reading: &Reading) -> Result<Imported, FileError> {
        let config = || config_beside(path);
        import(bytes, config, reading).map_err(|what| FileError::Content { path: path.into(), what })
    }

    /// Inputs, hidden widths, classes.
    pub fn dims(&self) -> Vec<usize> {
        let first = self.layers.first().map(|layer| layer.packed.cols);
        first.into_iter().chain(self.layers.iter().map(|layer| layer.packed.rows)).collect()
    }

    /// The ternary network that a checkpoint's shadow weights stand for.
    ///
    /// # Errors
    /// A clause, if it was trained in floats or cannot be run.
    pub fn of(file: &Checkpoint) -> Result<Model, String> {
        if file.run["config"]["precision"] == "f32" {
            return Err("was trained with --precision f32: it holds no ternary network".into());
        }
        let eps = file.run["rmsnorm_eps"].as_f64().unwrap_or(RMSNORM_EPS) as f32;
        let layer = |layer: &checkpoint::Layer| Layer {
            packed: Packed::quantize(&layer.weight, layer.rows, layer.cols),
            gain: layer.gain.clone(),
        };
        Model { layers: file.layers.iter().map(layer).collect(), eps, about: file.run.clone() }.check()
    }

    /// The matrices and the gains, as [`crate::model::Mlp::from_packed`] and [`crate::digest::twin`] take them.
    pub fn parts(&self) -> (Vec<Packed>, Vec<Vec<f32>>) {
        self.layers.iter().map(|layer| (layer.packed.clone(), layer.gain.clone())).unzip()
    }

    /// Where it first differs from another, layer by layer: widths, trits, scale, gains; then eps. What made them
    /// does not count.
    pub fn first_difference(&self, other: &Model) -> Option<Difference> {
        for (i, (a, b)) in self.layers.iter().zip(&other.layers).enumerate() {
            let differs = |of, row, column, values: [f64; 2]| {
                Some(Difference { layer: Some(i), of, row, column, values })
            };
            let ([a, b], gains) = ([&a.packed, &b.packed], [&a.gain, &b.gain]);
            for (of, [a, b]) in [("rows", [a.rows, b.rows]), ("columns", [a.cols, b.cols])] {
                if a != b {
                    return differs(of, None, None, [a as f64, b as f64]);
                }
            }
            if a.words != b.words {
                let at = (0..a.rows * a.cols).map(|at| (at / a.cols, at % a.cols));
                let mut trits = at.map(|(row, col)| (row, col, [a.trit(row, col), b.trit(row, col)]));
                if let Some((row, col, trits)) = trits.find(|(.., [a, b])| a != b) {
                    return differs("trits", Some(row), Some(col), trits.map(f64::from));
                }
            }
            if a.scale.to_bits() != b.scale.to_bits() {
                return differs("scale", None, None, [a.scale, b.scale].map(f64::from));
            }
            let mut pairs = gains[0].iter().zip(gains[1]);
            if let Some(at) = pairs.position(|(a, b)| a.to_bits() != b.to_bits()) {
                return differs("gain", None, Some(at), gains.map(|gain| f64::from(gain[at])));
            }
        }
        let whole = |of, values| Some(Difference { layer: None, of, row: None, column: None, values });
        if self.layers.len() != other.layers.len() {
            return whole("layers", [self, other].map(|model| model.layers.len() as f64));
        }
        let eps = [self, other].map(|model| model.eps);
        if eps[0] != eps[1] { whole("eps", eps.map(f64::from)) } else { None }
    }

    /// Whether it is a network that can be run: every format's `read` ends with this.
    ///
    /// # Errors
    /// A clause that names the layer and what is wrong with it.
    pub fn check(self) -> Result<Model, String> {
        if self.layers.is_empty() {
            return Err("holds no layer of a network".into());
        }
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return Err(format!("its eps is {}, expected a number that is not negative", self.eps));
        }
        let mut inputs = None;
        for (i, Layer { packed, gain }) in self.layers.iter().enumerate() {
            let Packed { rows, cols, scale, .. } = *packed;
            if let Some(outputs) = inputs.replace(rows).filter(|outputs| *outputs != cols) {
                return Err(format!(
                    "layer {i} has {cols} inputs, but the layer before has {outputs} outputs"
                ));
            }
            packed.check().map_err(|what| format!("layer {i}: {what}"))?;
            if !(scale > 0.0 && scale.is_finite()) {
                return Err(format!("layer {i}: its scale is {scale}, expected a positive number"));
            }
            if gain.len() != cols {
                return Err(format!("layer {i} has {} gains for {cols} inputs", gain.len()));
            }
            if let Some(at) = gain.iter().position(|gain| !gain.is_finite()) {
                return Err(format!("layer {i}: the gain of input {at} is {}", gain[at]));
            }
            // The next RMSNorm squares what this layer gives: past f32 it would make zeros of it, and nobody see it.
            let largest = gain.iter().fold(0f32, |largest, gain| largest.max(gain.abs()));
            let [most, bound] =
                [f64::from(scale) * f64::from(largest) * cols as f64, f64::from(f32::MAX).sqrt()];
            if i + 1 < self.layers.len() && most > bound {
                return Err(format!(
                    "layer {i}: its scale {scale:e}, gains of up to {largest:e} and {cols} inputs come to {most:.1e}, \
                     expected at most {bound:.1e}, whose square f32 holds"
                ));
            }
        }
        Ok(self)
    }
}

/// Where two networks, or two runs of one, first differ.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// The layer, counted from 0; none of what the layers share.
    pub layer: Option<usize>,
    /// What differs: `trits`, `scale`, `gain`, `codes`, `accumulators`, ...
    pub of: &'static str,
    /// Row of the matrix; of codes and accumulators the image.
    pub row: Option<usize>,
    /// Column of the matrix; of gains and codes the input, of accumulators the output.
    pub column: Option<usize>,
    /// The one value and the other.
    pub values: [f64; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(f, "layer {layer}, ")?;
        }
        write!(f, "{}", self.of)?;
        for (what, at) in [("row", self.row), ("column", self.column)] {
            if let Some(at) = at {
                write!(f, ", {what} {at}")?;
            }
        }
        // All of them are f32 or integers that f32 holds.
        write!(f, ": {} and {}", self.values[0] as f32, self.values[1] as f32)
    }
}

/// A file format, told by the first bytes and the names inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What `sterna pack` writes.
    Packed,
    /// What `sterna train` writes: float shadow weights and moments.
    Checkpoint,
    /// GGUF.
    Gguf,
    /// Safetensors of `uint8` weights with a `weight_scale` each.
    HfBitnet,
    /// Safetensors of anything else.
    Safetensors,
    /// One array of NumPy's, or an archive of them.
    Npy,
}

impl Format {
    /// The format of a file's bytes.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn of(bytes: &[u8]) -> Result<Format, String> {
        if bytes.starts_with(&gguf::MAGIC) {
            return Ok(Format::Gguf);
        }
        if bytes.starts_with(&npy::MAGIC) || bytes.starts_with(&npz::MAGIC) {
            return Ok(Format::Npy);
        }
        let (_, header) = checkpoint::deserialize(bytes).map_err(|what| {
            let pictures = [(&b"\x89PNG"[..], "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"BM", "BMP")];
            match pictures.iter().find(|(magic, _)| bytes.starts_with(magic)) {
                Some((_, kind)) => {
                    format!("is no safetensors file but a picture, {kind}: expected a network")
                }
                None => format!("{what}, and neither GGUF nor npy"),
            }
        })?;
        let kind = header.metadata().as_ref().and_then(|metadata| metadata.get("format"));
        let has = |name: &str| header.info(name).is_some();
        Ok(match kind.map(String::as_str) {
            Some(packed::FORMAT) => Format::Packed,
            Some(crate::checkpoint::FORMAT) => Format::Checkpoint,
            _ if has("layers.0.weight") && has("layers.0.gain") => Format::Checkpoint,
            _ if header.tensors().keys().any(|name| has(&format!("{name}_scale"))) => Format::HfBitnet,
            _ => Format::Safetensors,
        })
    }

    /// Its name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Format::Packed => "packed safetensors",
            Format::Checkpoint => "a checkpoint",
            Format::Gguf => "GGUF",
            Format::HfBitnet => "BitNet safetensors",
            Format::Safetensors => "safetensors",
            Format::Npy => "npy",
        }
    }
}

/// A network from a file's bytes.
///
/// # Errors
/// A clause that says what was expected and what was found.
pub fn read(bytes: &[u8]) -> Result<Model, String> {
    import(bytes, || Ok(None), &Reading::default()).map(|imported| imported.model)
}

/// [`Model::import`] of a file's bytes, without what lies beside it.
///
/// # Errors
/// As [`read`].
pub fn read_as(bytes: &[u8], reading: &Reading) -> Result<Imported, String> {
    import(bytes, || Ok(None), reading)
}

fn import(
    bytes: &[u8],
    config: impl Fn() -> Result<Option<Value>, String>,
    reading: &Reading,
) -> Result<Imported, String> {
    let mut imported = import_raw(bytes, config, reading).map_err(|what| plain(&what))?;
    imported.notes.iter_mut().for_each(|note| *note = plain(note));
    imported.lost.iter_mut().for_each(|loss| loss.tensor = plain(&loss.tensor));
    Ok(imported)
}

/// A clause that a terminal takes for nothing else, whatever names a file brings into it.
fn plain(clause: &str) -> String {
    const MOST: usize = 1000;
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    let shown: String = clause.chars().take(MOST).map(escaped).collect();
    match clause.chars().count() {
        count if count > MOST => format!("{shown}... ({count} characters)"),
        _ => shown,
    }
}

/// [`import`], names as the file has them.
fn import_raw(
    bytes: &[u8],
    config: impl Fn() -> Result<Option<Value>, String>,
    reading: &Reading,
) -> Result<Imported, String> {
    let alone = |model| Imported { model, lost: Vec::new(), notes: Vec::new() };
    let format = Format::of(bytes)?;
    if let (Format::Packed | Format::Checkpoint, Some(flag)) = (format, reading.flag()) {
        return Err(format!("is {}, which says itself what its layers are: leave {flag} out", format.name()));
    }
    Ok(match format {
        Format::Packed => alone(packed::read(bytes)?),
        Format::Checkpoint => {
            let file = Checkpoint::from_bytes(bytes)?;
            let model = Model::of(&file)?;
            let loss = |(i, (layer, floats)): (usize, (&Layer, &checkpoint::Layer))| {
                let weight = floats.weight.iter().map(|&weight| f64::from(weight));
                Loss::by_absmean(&format!("layers.{i}.weight"), "shadow weights", weight, &layer.packed)
            };
            let lost = model.layers.iter().zip(&file.layers).enumerate().filter_map(loss).collect();
            let trained = file.layers.iter().any(|layer| layer.moments.is_some());
            let notes = trained.then(|| "the optimizer's moments are left out".to_string());
            Imported { lost, notes: notes.into_iter().collect(), ..alone(model) }
        }
        Format::Gguf => foreign::read(bytes, &gguf::list(bytes)?, None, reading)?,
        Format::Npy => foreign::read(bytes, &npy::list(bytes)?, None, reading)?,
        Format::HfBitnet => foreign::read(bytes, &safetensors(bytes)?, config()?.as_ref(), reading)?,
        Format::Safetensors => foreign::read(bytes, &safetensors(bytes)?, None, reading)?,
    })
}

/// The `config.json` in a file's folder, where there is one.
fn config_beside(path: &Path) -> Result<Option<Value>, String> {
    const MOST: usize = 1 << 20;
    let text = match Mapped::open(&path.with_file_name("config.json")) {
        Ok(text) => text,
        Err(FileError::Read { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(FileError::Read { reason, .. }) => {
            return Err(format!("the config.json beside it cannot be read: {reason}"));
        }
        Err(other) => return Err(other.to_string()),
    };
    if text.len() > MOST {
        let found = text.len();
        return Err(format!("the config.json beside it has {found} bytes, expected at most {MOST}"));
    }
    let config = serde_json::from_slice(&text).map(Some);
    config.map_err(|error| format!("the config.json beside it is no {}", no_json("JSON", &text, &error)))
}

/// What a file holds, tensor by tensor, without loading it: its bytes are mapped.
#[derive(Debug)]
pub struct Listing {
    /// What it is.
    pub format: Format,
    /// In the order of the file.
    pub tensors: Vec<Stored>,
    /// What the file says of itself; text that is JSON is parsed.
    pub metadata: Map<String, Value>,
    bytes: Mapped,
}

/// One tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its name in the file.
    pub name: String,
    /// Its element type in the file's own words.
    pub dtype: String,
    /// Its shape in the file's own order.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub at: Range<usize>,
    /// The ternary matrix that it stands for, if any.
    pub matrix: Option<Matrix>,
}

/// The ternary matrix that a tensor stands for, and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// What one trit is worth.
    pub scale: Scale,
    /// The matrix `[rows, cols]` from the tensor's bytes.
    pub read: fn(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String>,
}

/// What one trit of a [`Matrix`] is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// What [`Matrix::read`] finds.
    Own,
    /// What another tensor says.
    Said(f32),
    /// Nobody knows: the file does not say what BitNet's `weight_scale` does.
    Unsaid,
}

impl Scale {
    /// For a matrix whose own scale is this.
    fn or(self, own: f32) -> f32 {
        match self {
            Scale::Said(scale) => scale,
            Scale::Own | Scale::Unsaid => own,
        }
    }
}

impl PartialEq for Matrix {
    /// Whether shape and scale agree; how they are read does not count.
    fn eq(&self, other: &Matrix) -> bool {
        (self.rows, self.cols, self.scale) == (other.rows, other.cols, other.scale)
    }
}

/// Tensors and metadata: what [`list`] finds.
pub type Contents = (Vec<Stored>, Map<String, Value>);

/// The tensors of a file's bytes.
///
/// # Errors
/// A clause that says what was expected and what was found.
pub fn list(bytes: &[u8]) -> Result<Contents, String> {
    list_beside(bytes, || Ok(None)).map_err(|what| plain(&what))
}

/// [`list`] of a file with what lies beside it.
fn list_beside(bytes: &[u8], config: impl Fn() -> Result<Option<Value>, String>) -> Result<Contents, String> {
    let (mut contents, config) = match Format::of(bytes)? {
        Format::Packed => return packed::list(bytes),
        Format::Checkpoint => return floats::list(bytes),
        Format::Gguf => (gguf::list(bytes)?, None),
        Format::HfBitnet => (safetensors(bytes)?, config()?),
        Format::Safetensors => (safetensors(bytes)?, None),
        Format::Npy => (npy::list(bytes)?, None),
    };
    foreign::mark(bytes, &mut contents, config.as_ref())?;
    Ok(contents)
}

impl Listing {
    /// Lists a file of any known format.
    ///
    /// # Errors
    /// A sentence that names the file, and what was expected and found in it.
    pub fn open(path: &Path) -> Result<Listing, FileError> {
        let bytes = Mapped::open(path)?;
        let content = |what: String| FileError::Content { path: path.into(), what: plain(&what) };
        let format = Format::of(&bytes).map_err(content)?;
        let (tensors, metadata) = list_beside(&bytes, || config_beside(path)).map_err(content)?;
        Ok(Listing { format, tensors, metadata, bytes })
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Reads the one matrix that a tensor stands for; none of a tensor that is no matrix.
    ///
    /// # Errors
    /// A clause that names the tensor.
    pub fn matrix(&self, tensor: &Stored) -> Option<Result<Packed, String>> {
        tensor.matrix.map(|Matrix { rows, cols, scale, read }| {
            let packed = read(&self.bytes[tensor.at.clone()], rows, cols);
            let packed = packed.map_err(|what| plain(&format!("{}: {what}", tensor.name)))?;
            Ok(Packed { scale: scale.or(packed.scale), ..packed })
        })
    }
}

/// A safetensors file and what it says of itself.
fn header(bytes: &[u8]) -> Result<(SafeTensors<'_>, BTreeMap<String, String>), String> {
    let (file, header) = checkpoint::deserialize(bytes)?;
    Ok((file, header.metadata().clone().unwrap_or_default().into_iter().collect()))
}

/// The tensors of a safetensors file, none of them a matrix yet.
fn safetensors(bytes: &[u8]) -> Result<Contents, String> {
    let (file, metadata) = header(bytes)?;
    let stored = |(name, view): (String, TensorView)| {
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let at = start..start + view.data().len();
        Stored { name, dtype: view.dtype().to_string(), shape: view.shape().to_vec(), at, matrix: None }
    };
    let mut tensors: Vec<Stored> = file.tensors().into_iter().map(stored).collect();
    tensors.sort_by(|a, b| (a.at.start, &a.name).cmp(&(b.at.start, &b.name)));
    Ok((tensors, metadata.into_iter().map(|(key, text)| (key, parsed(text))).collect()))
}

/// Text of the metadata; of an object in JSON what it says. The digits of a checksum are no number.
fn parsed(text: String) -> Value {
    match text.starts_with('{') {
        true => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        false => Value::String(text),
    }
}
