//! What a file holds, tensor by tensor, without loading it. Knows which tensors stand for ternary matrices.

use std::ops::Range;
use std::path::Path;

use safetensors::tensor::TensorView;
use serde_json::{Map, Value};

use super::format::{config_beside, plain};
use super::tensors::deserialize;
use super::{FileError, Format, Mapped, checkpoint, foreign, gguf, npy, packed};
use crate::parameter::{Parameter, Role};
use crate::ternary::Packed;

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
    /// So many times that, as another tensor says; trits alone are worth 1.
    Said(f32),
    /// Nobody knows: the file does not say what BitNet's `weight_scale` does, or has a scale for each row.
    Unsaid,
}

impl Scale {
    /// For a matrix whose own scale is this.
    pub(super) fn times(self, own: f32) -> f32 {
        match self {
            Scale::Said(scale) => scale * own,
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
        Format::Checkpoint => return shadows(bytes),
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
            Ok(Packed { scale: scale.times(packed.scale), ..packed })
        })
    }
}

/// The tensors of a checkpoint: its float matrices stand for the ternary ones that absmean makes of them.
fn shadows(bytes: &[u8]) -> Result<Contents, String> {
    let (file, metadata) = deserialize(bytes)?;
    checkpoint::current(&file, &metadata)?;
    // Where a network has ternary matrices, its other matrices are none: an embedding, for instance.
    let parameters = super::header(&metadata)?.map_or(Vec::new(), |(_, parameters)| parameters);
    let ternary = |parameter: &Parameter| parameter.role == Role::Ternary;
    let stays_float = |name: &str| {
        parameters.iter().any(ternary)
            && parameters.iter().any(|parameter| parameter.name == name && !ternary(parameter))
    };
    let (mut tensors, metadata) = safetensors(bytes)?;
    for tensor in &mut tensors {
        if let (&[rows, cols], "F32") = (&tensor.shape[..], &tensor.dtype[..]) {
            let moment = tensor.name.ends_with(".m") || tensor.name.ends_with(".v");
            let none = moment || stays_float(&tensor.name);
            let matrix = Matrix { rows, cols, scale: Scale::Own, read: foreign::shadows };
            tensor.matrix = (!none && rows * cols > 0).then_some(matrix);
        }
    }
    Ok((tensors, metadata))
}

/// The tensors of a safetensors file, none of them a matrix yet.
pub(super) fn safetensors(bytes: &[u8]) -> Result<Contents, String> {
    let (file, metadata) = deserialize(bytes)?;
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
pub(super) fn parsed(text: String) -> Value {
    match text.starts_with('{') {
        true => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        false => Value::String(text),
    }
}
