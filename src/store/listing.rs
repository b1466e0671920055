//! Lists the tensors of a file without loading it. This module knows which tensors are ternary matrices.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::TensorView;
use serde_json::{Map, Value};

use super::format::{config_beside, plain};
use super::tensors::{deserialize, range};
use super::{FileError, Format, Mapped, Reading, checkpoint, foreign, gguf, hugging, npy, packed, source};
use crate::parameter::{Parameter, Role};
use crate::ternary::Packed;

/// The tensors and metadata of a file, or of the shards in a folder of Hugging Face. The files are mapped, not loaded.
#[derive(Debug)]
pub struct Listing {
    /// The format of the files.
    pub format: Format,
    /// The tensors, in the order of the files.
    pub tensors: Vec<Stored>,
    /// The metadata. Texts with JSON in them are parsed. Of several files with the same key, the first one counts.
    pub metadata: Map<String, Value>,
    /// Name and bytes of each file.
    files: Vec<(String, Mapped)>,
    /// Index of the file of each tensor. No name occurs in two files.
    file_of: HashMap<String, usize>,
}

/// One tensor as it is stored in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its name in the file.
    pub name: String,
    /// Its element type, as the file names it.
    pub dtype: String,
    /// Its shape, in the file's own order.
    pub shape: Vec<usize>,
    /// The range of its bytes in the file.
    pub at: Range<usize>,
    /// The ternary matrix in this tensor, if it is one.
    pub matrix: Option<Matrix>,
}

/// The shape and scale of a ternary matrix in a file, and the function that reads it.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Number of outputs.
    pub rows: usize,
    /// Number of inputs.
    pub cols: usize,
    /// The value of one trit.
    pub scale: Scale,
    /// Reads the matrix `[rows, cols]` from the tensor's bytes.
    pub read: fn(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String>,
}

/// The value of one trit of a [`Matrix`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// The scale that [`Matrix::read`] finds.
    Own,
    /// A factor from another tensor. It multiplies the scale that [`Matrix::read`] finds, which is 1 for bare trits.
    Said(f32),
    /// Unknown: the file does not state the meaning of BitNet's `weight_scale`, or it has a scale for each row.
    Unsaid,
}

impl Scale {
    /// The value of one trit of a matrix whose own scale is `own`.
    pub(super) fn times(self, own: f32) -> f32 {
        match self {
            Scale::Said(scale) => scale * own,
            Scale::Own | Scale::Unsaid => own,
        }
    }
}

impl PartialEq for Matrix {
    /// Whether shapes and scales are equal. The reading functions are not compared.
    fn eq(&self, other: &Matrix) -> bool {
        (self.rows, self.cols, self.scale) == (other.rows, other.cols, other.scale)
    }
}

/// Tensors and metadata: the result of [`list`].
pub type Contents = (Vec<Stored>, Map<String, Value>);

/// The tensors of a file's bytes.
///
/// # Errors
/// A text with the expected and the actual content. It does not name the file.
pub fn list(bytes: &[u8]) -> Result<Contents, String> {
    list_beside(bytes, || Ok(None)).map_err(|what| plain(&what))
}

/// [`list`] with a `config.json` from the file's folder.
fn list_beside(bytes: &[u8], config: impl Fn() -> Result<Option<Value>, String>) -> Result<Contents, String> {
    let format = Format::of(bytes)?;
    let (mut contents, config) = match format {
        Format::Packed => return packed::list(bytes),
        Format::Checkpoint => return shadows(bytes),
        Format::Gguf => (gguf::list(bytes)?, None),
        Format::HfBitnet => (safetensors(bytes)?, config()?),
        Format::Safetensors => (safetensors(bytes)?, config().ok().flatten()),
        Format::Npy => (npy::list(bytes)?, None),
    };
    // A transformer whose parameters are found says itself which tensors are its matrices.
    let reading = Reading::default();
    match source::transformer(bytes, format, || Ok(config.clone()), &reading) {
        Ok(Some(layout)) => layout.mark(&mut contents.0),
        _ => foreign::mark(bytes, &mut contents, config.as_ref())?,
    }
    Ok(contents)
}

impl Listing {
    /// Lists a file of any known format, or the files of tensors in a folder of Hugging Face.
    ///
    /// # Errors
    /// A sentence with the name of the file, and with the expected and the actual content.
    pub fn open(path: &Path) -> Result<Listing, FileError> {
        let paths = match path.is_dir() {
            true => source::shards(path)?.into_iter().map(|name| path.join(name)).collect(),
            false => vec![path.to_path_buf()],
        };
        let mut all: Option<Listing> = None;
        for path in paths {
            let bytes = Mapped::open(&path)?;
            let content = |what: String| FileError::Content { path: path.clone(), what: plain(&what) };
            let format = Format::of(&bytes).map_err(content)?;
            let (tensors, metadata) = list_beside(&bytes, || config_beside(&path)).map_err(content)?;
            let all = all.get_or_insert_with(|| Listing {
                format,
                tensors: Vec::new(),
                metadata: Map::new(),
                files: Vec::new(),
                file_of: HashMap::new(),
            });
            let file = all.files.len();
            if let Some(twice) = tensors.iter().find(|tensor| all.file_of.contains_key(&tensor.name)) {
                return Err(content(format!(
                    "has the tensor {}, as another file of its folder has",
                    twice.name
                )));
            }
            all.file_of.extend(tensors.iter().map(|tensor| (tensor.name.clone(), file)));
            all.tensors.extend(tensors);
            for (key, value) in metadata {
                all.metadata.entry(key).or_insert(value);
            }
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            all.files.push((name, bytes));
        }
        let mut all = all.expect("a folder has a file, or it was refused");
        if all.files.len() > 1 {
            all.mark(path).map_err(|what| FileError::Content { path: path.into(), what: plain(&what) })?;
        }
        Ok(all)
    }

    /// Finds the matrices of a network in several files. The scale of a matrix may lie in another file. Tensors that are no
    /// transformer stay as their own file shows them.
    fn mark(&mut self, folder: &Path) -> Result<(), String> {
        let Some(config) = config_beside(&folder.join("config.json"))?.filter(hugging::is_config) else {
            return Ok(());
        };
        let bytes: Vec<&[u8]> = self.files.iter().map(|(_, bytes)| &bytes[..]).collect();
        let contents = bytes.iter().map(|bytes| safetensors(bytes)).collect::<Result<Vec<_>, String>>()?;
        if let Ok(layout) = hugging::layout(&config, &bytes, contents, &Reading::default()) {
            layout.mark(&mut self.tensors);
        }
        Ok(())
    }

    /// Size of the files in bytes.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The name of a tensor's file, if there are several files.
    pub fn file(&self, tensor: &Stored) -> Option<&str> {
        let (name, _) = &self.files[*self.file_of.get(&tensor.name)?];
        (self.files.len() > 1).then_some(name)
    }

    /// Reads the matrix in a tensor. It is `None` for a tensor that is no ternary matrix.
    ///
    /// # Errors
    /// A text that names the tensor.
    pub fn matrix(&self, tensor: &Stored) -> Option<Result<Packed, String>> {
        tensor.matrix.map(|Matrix { rows, cols, scale, read }| {
            let (_, bytes) = &self.files[self.file_of[&tensor.name]];
            let packed = read(&bytes[tensor.at.clone()], rows, cols);
            let packed = packed.map_err(|what| plain(&format!("{}: {what}", tensor.name)))?;
            Ok(Packed { scale: scale.times(packed.scale), ..packed })
        })
    }
}

/// Lists the tensors of a checkpoint. Each float matrix of a ternary parameter counts as the ternary matrix that
/// absmean makes from it.
fn shadows(bytes: &[u8]) -> Result<Contents, String> {
    let (file, metadata) = deserialize(bytes)?;
    checkpoint::current(&file, &metadata)?;
    // If a network has ternary matrices, its other matrices, such as an embedding, are not ternary.
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

/// Lists the tensors of a safetensors file. None of them is marked as a matrix yet.
pub(super) fn safetensors(bytes: &[u8]) -> Result<Contents, String> {
    let (file, metadata) = deserialize(bytes)?;
    let stored = |(name, view): (String, TensorView)| {
        let at = range(bytes, &view);
        Stored { name, dtype: view.dtype().to_string(), shape: view.shape().to_vec(), at, matrix: None }
    };
    let mut tensors: Vec<Stored> = file.tensors().into_iter().map(stored).collect();
    tensors.sort_by(|a, b| (a.at.start, &a.name).cmp(&(b.at.start, &b.name)));
    Ok((tensors, metadata.into_iter().map(|(key, text)| (key, parsed(text))).collect()))
}

/// A text of the metadata as a JSON value. A JSON object is parsed. The digits of a checksum stay text.
pub(super) fn parsed(text: String) -> Value {
    match text.starts_with('{') {
        true => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        false => Value::String(text),
    }
}
