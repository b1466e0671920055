//! Writes the tensors of a network one after another. The bytes of a large tensor come in pieces, each time anew, so that
//! memory holds one matrix at a time. This module knows the forms of tensors and the container safetensors, and no names.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::element::Element;
use super::ggml::{Blocks, padded};
use super::i2s::{self, I2sLayout};
use super::packed::Coding;
use super::tensors::hex;
use super::{FileError, Source, bitnet};
use crate::ternary::{Packed, int8_row};

/// Number of values of an embedding that are in memory at a time.
const PIECE: usize = 1 << 20;

/// Where bytes go.
pub(super) type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), FileError> + 's;

/// A tensor of a new file.
pub(super) struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// Its type in safetensors.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The parameter that it is made of.
    pub parameter: usize,
    /// What it holds of the parameter.
    pub part: Part,
}

/// What a tensor holds of a parameter, and in which form.
pub(super) enum Part {
    /// Trits of a packed file.
    Coded(Coding),
    /// Trits of Hugging Face's BitNet.
    Quarters,
    /// Trits of bitnet.cpp, and their scale.
    I2s(I2sLayout),
    /// Trits of ggml, and their scale in every block.
    Blocks(Blocks),
    /// Floats of one of the forms F32, F16 and BF16.
    Floats(Element),
    /// Floats as integers.
    Int8,
    /// The factors of the rows of integers.
    Factors,
    /// These bytes, whatever the parameter.
    Bytes(Vec<u8>),
}

impl Part {
    /// The bytes of a matrix.
    ///
    /// # Panics
    /// If this is no form of trits, or if the form cannot hold the matrix.
    pub fn of_trits(&self, packed: &Packed) -> Vec<u8> {
        match self {
            Part::Coded(coding) => coding.encode(packed),
            Part::Quarters => bitnet::pack(packed),
            Part::I2s(layout) => i2s::pack(packed, *layout),
            Part::Blocks(blocks) => blocks.pack(packed, f16::from_f32(packed.scale)),
            _ => panic!("no form of trits"),
        }
    }

    /// The bytes of whole rows of floats.
    ///
    /// # Panics
    /// If this is no form of floats.
    pub fn of_floats(&self, values: &[f32], cols: usize) -> Vec<u8> {
        match self {
            Part::Floats(element) => element.encode(values),
            Part::Int8 => {
                let codes = values.chunks(cols).flat_map(|row| int8_row(row).1);
                codes.map(|code| code as u8).collect()
            }
            Part::Factors => values.chunks(cols).flat_map(|row| int8_row(row).0.to_le_bytes()).collect(),
            _ => panic!("no form of floats"),
        }
    }
}

impl Element {
    /// The bytes of these values.
    ///
    /// # Panics
    /// If the form is one of quantised blocks.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Element::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Element::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Element::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            _ => panic!("{self:?} is not written"),
        }
    }

    /// Whether this form keeps the value.
    pub fn holds(self, value: f32) -> bool {
        let kept = match self {
            Element::F16 => f16::from_f32(value).to_f32(),
            Element::Bf16 => bf16::from_f32(value).to_f32(),
            _ => value,
        };
        kept.to_bits() == value.to_bits()
    }

    /// Its type in safetensors.
    pub fn dtype(self) -> Dtype {
        match self {
            Element::F16 => Dtype::F16,
            Element::Bf16 => Dtype::BF16,
            _ => Dtype::F32,
        }
    }
}

/// Hands the rows of a parameter that is not ternary on, some at a time.
pub(super) fn each_rows(
    source: &Source,
    i: usize,
    mut each: impl FnMut(&[f32]) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let all = source.rows(i);
    let step = (PIECE / (source.parameters()[i].count() / all)).max(1);
    (0..all).step_by(step).try_for_each(|at| each(&source.floats(i, at..(at + step).min(all))?))
}

impl Tensor {
    /// Hands its bytes on.
    ///
    /// # Errors
    /// If the source cannot be read, or as the sink.
    pub fn write(&self, source: &Source, sink: &mut Sink) -> Result<(), FileError> {
        let i = self.parameter;
        match &self.part {
            Part::Bytes(bytes) => sink(bytes),
            Part::Coded(_) | Part::Quarters | Part::I2s(_) | Part::Blocks(_) => {
                sink(&self.part.of_trits(&source.trits(i)?))
            }
            Part::Floats(_) | Part::Int8 | Part::Factors => {
                let cols = source.parameters()[i].count() / source.rows(i);
                each_rows(source, i, |values| sink(&self.part.of_floats(values, cols)))
            }
        }
    }

    /// Number of its bytes.
    pub fn bytes(&self) -> usize {
        let count = self.shape.iter().product::<usize>();
        match &self.part {
            Part::Bytes(bytes) => bytes.len(),
            Part::I2s(_) => i2s::bytes(count),
            Part::Blocks(blocks) => count / padded(1) * blocks.bytes(),
            _ => count * self.dtype.bitsize() / 8,
        }
    }
}

/// Writes a safetensors file. Its bytes depend only on its content, and are those of
/// [`serialize`](super::tensors::serialize).
///
/// # Errors
/// If the source cannot be read, or as the sink.
pub(super) fn safetensors(
    source: &Source,
    tensors: &[Tensor],
    metadata: &BTreeMap<String, String>,
    sink: &mut Sink,
) -> Result<(), FileError> {
    let mut tensors: Vec<&Tensor> = tensors.iter().collect();
    tensors.sort_by_key(|tensor| (Reverse(tensor.dtype), &tensor.name));
    let (mut header, mut at) = (Map::new(), 0);
    header.insert("__metadata__".into(), json!(metadata));
    for tensor in &tensors {
        let end = at + tensor.bytes();
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end]});
        header.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    sink(&(header.len() as u64).to_le_bytes())?;
    sink(&header)?;
    tensors.iter().try_for_each(|tensor| tensor.write(source, sink))
}

/// The checksum of a file of our own, as [`checksum`](super::checksum).
///
/// # Errors
/// If the source cannot be read.
pub(super) fn checksum(
    source: &Source,
    tensors: &[Tensor],
    metadata: &BTreeMap<String, String>,
) -> Result<String, FileError> {
    let mut tensors: Vec<&Tensor> = tensors.iter().collect();
    tensors.sort_by_key(|tensor| &tensor.name);
    let mut sum = Sha256::new();
    for tensor in tensors {
        sum.update(format!("{} {:?} {:?}\n", tensor.name, tensor.dtype, tensor.shape));
        tensor.write(source, &mut |bytes| {
            sum.update(bytes);
            Ok(())
        })?;
    }
    for (key, value) in metadata {
        sum.update(format!("{key} {} {value}\n", value.len()));
    }
    Ok(hex(&sum.finalize()))
}
