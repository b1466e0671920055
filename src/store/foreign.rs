//! Reads networks from files of other programs. It finds matrices, scales and gains by their names. This module knows
//! the names and the meaning of tensors. Other modules read the containers.
//!
//! With BASE for the name of a matrix without `.weight`:
//! - all matrices are layers, ordered by name, where `2` comes before `10`. A matrix consists of blocks of ggml, of
//!   bytes of Hugging Face's BitNet with a scale, of trits as integers, or of floats. Floats of the form `s {-1, 0,
//!   1}` keep their trits and `s`. Other floats are quantised by absmean. Other types are refused;
//! - matrices called `kernel` are `[inputs, outputs]`, as in Keras and JAX;
//! - the scale of a matrix is in its blocks, in `BASE.weight_scale` or in `BASE.scale`. If a matrix has two scales,
//!   they are multiplied;
//! - the gain is `BASE.gain`, `BASE_norm.weight`, `BASE.rms_norm.weight` or `BASE.norm.weight`. Without any of them
//!   it is 1;
//! - a remaining tensor that changes the network's results, such as a bias, is refused;
//! - `sterna.model` in the metadata is a [`Record`]: everything that the tensors cannot hold.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::bitnet::{self, WeightScale};
use super::ggml::{self, Blocks};
use super::i2s::I2sLayout;
use super::tensors::{damaged, hex};
use super::{
    Arch, Contents, Matrix, Model, NETWORK_SCHEMA, Scale, Stored, Values, Weights, chain, checked, exchange,
    schema,
};
use crate::content;
use crate::parameter::{Parameter, Role};
use crate::ternary::{LEAST, Packed, RMSNORM_EPS};

/// The key of the [`Record`] in a file's metadata.
pub const RECORD: &str = "sterna.model";

/// Everything that an exchange format cannot store. With it a network comes back with equal bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Schema version of the record.
    pub schema: u32,
    /// Version of Sterna that wrote it.
    pub sterna_version: String,
    /// Which network it is.
    pub arch: Arch,
    /// Its parameters in order. The file's matrices may be padded, so the shapes are needed.
    pub parameters: Vec<Parameter>,
    /// The scale of every ternary matrix. Formats may round scales.
    pub scales: Vec<f32>,
    /// [`Model::about`].
    pub about: Value,
    /// SHA-256 of the settings and of all values, because GGUF and safetensors have no checksums. The first files of
    /// version 1 lack it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A record of version 1. It always describes an MLP.
#[derive(Deserialize)]
struct FirstRecord {
    sterna_version: String,
    eps: f32,
    dims: Vec<usize>,
    scales: Vec<f32>,
    about: Value,
    sha256: Option<String>,
}

impl Record {
    /// The record of a network.
    pub fn of(model: &Model) -> Record {
        Record {
            schema: NETWORK_SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
            arch: model.arch.clone(),
            parameters: model.parameters.iter().map(|weights| weights.parameter.clone()).collect(),
            scales: model.matrices().map(|packed| packed.scale).collect(),
            about: model.about.clone(),
            sha256: Some(digest(model)),
        }
    }

    /// Reads a record from a file's metadata.
    pub(super) fn read(value: &Value) -> Result<Record, String> {
        let misread = |error| format!("its metadata `{RECORD}` is no record of a network ({error})");
        let version = value["schema"].as_u64();
        let mut record = if version == Some(1) {
            let first: FirstRecord = serde_json::from_value(value.clone()).map_err(misread)?;
            let FirstRecord { sterna_version, eps, dims, scales, about, sha256 } = first;
            if dims.len() != scales.len() + 1 {
                let [dims, scales] = [dims.len(), scales.len()];
                return Err(format!(
                    "its metadata `{RECORD}` has {dims} dims and {scales} scales, expected one more dim"
                ));
            }
            let (arch, parameters) =
                (chain::mlp(&dims, eps, "ternary"), chain::parameters(&dims, Role::Ternary));
            Record { schema: 1, sterna_version, arch, parameters, scales, about, sha256 }
        } else {
            schema(version.map(|version| version.to_string()).as_deref())?;
            serde_json::from_value(value.clone()).map_err(misread)?
        };
        record.parameters = checked(record.parameters)?;
        let [matrices, scales] = [record.matrices().count(), record.scales.len()];
        if matrices != scales {
            return Err(format!("its metadata `{RECORD}` has {matrices} matrices and {scales} scales"));
        }
        Ok(record)
    }

    /// Whether the head of a transformer is the embedding. A head of its own may have the embedding's bytes, so only the
    /// record tells.
    pub(super) fn ties(&self) -> Result<bool, String> {
        Ok(self.arch.setting::<Option<bool>>("tied")?.unwrap_or(true))
    }

    /// Rows and columns of each ternary matrix.
    fn matrices(&self) -> impl Iterator<Item = [usize; 2]> {
        self.parameters.iter().filter(|parameter| parameter.role == Role::Ternary).map(Parameter::matrix)
    }
}

/// The [`Record::sha256`] of a network.
pub(super) fn digest(model: &Model) -> String {
    let mut sum = Sum::new(&model.arch);
    for Weights { values, .. } in &model.parameters {
        match values {
            Values::Trits(packed) => sum.trits(packed),
            Values::Floats(floats) => sum.floats(floats),
        }
    }
    sum.finish()
}

/// A [`digest`] of parameters that come one after another.
pub(super) struct Sum(Sha256);

impl Sum {
    pub fn new(arch: &Arch) -> Sum {
        let mut sum = Sha256::new();
        if arch.network == chain::MLP {
            sum.update(chain::eps(arch).to_le_bytes());
        } else {
            sum.update(serde_json::to_string(arch).expect("settings are JSON"));
        }
        Sum(sum)
    }

    pub fn trits(&mut self, packed: &Packed) {
        self.0.update(format!("{} {}\n", packed.rows, packed.cols));
        packed.words.iter().for_each(|word| self.0.update(word.to_le_bytes()));
        self.0.update(packed.scale.to_le_bytes());
    }

    /// The floats of a parameter, or the next part of them.
    pub fn floats(&mut self, floats: &[f32]) {
        floats.iter().for_each(|value| self.0.update(value.to_le_bytes()));
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Instructions for a file that leaves something open. A field that fits nothing in the file is an error.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The meaning of `weight_scale`. It overrides the file.
    pub weight_scale: Option<WeightScale>,
    /// The names of the matrices to take, first layer first. If the list is empty, the rules of this module choose
    /// them.
    pub tensors: Vec<String>,
    /// Whether floats may be quantised by absmean.
    pub floats: bool,
    /// Whether blocks of ggml are treated as floats. The blocks of one matrix may then have different scales.
    pub absmean: bool,
    /// Whether all matrices are `[inputs, outputs]`, whatever their names.
    pub transposed: bool,
    /// The order of the weights in I2_S, which no file states. Without it, it is that of x86.
    pub i2s: Option<I2sLayout>,
    /// Whether to leave out tensors that have no place in a network here, even if they change its results.
    pub drop: bool,
}

impl Reading {
    /// The name of the first field that is set.
    pub(super) fn said(&self) -> Option<&'static str> {
        let given = [
            ("weight_scale", self.weight_scale.is_some()),
            ("tensors", !self.tensors.is_empty()),
            ("absmean", self.absmean),
            ("transposed", self.transposed),
            ("i2s", self.i2s.is_some()),
            ("drop", self.drop),
        ];
        given.into_iter().find_map(|(field, given)| given.then_some(field))
    }
}

/// The loss of one conversion, for a tensor or for `eps`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// The layer, or the name of the tensor.
    pub tensor: String,
    /// The conversion in words.
    pub what: String,
    /// The largest change of a value. For a changed scale it is the largest change of a weight.
    pub largest: f64,
    /// The mean change over all values, including unchanged ones.
    pub mean: f64,
}

impl Loss {
    /// The loss over all values of a tensor, or `None` if all changes are 0.
    pub fn of(tensor: &str, what: String, changes: impl Iterator<Item = f64>) -> Option<Loss> {
        let (mut largest, mut sum, mut count) = (0.0f64, 0.0, 0u64);
        for change in changes.map(f64::abs) {
            (largest, sum, count) = (largest.max(change), sum + change, count + 1);
        }
        (largest > 0.0).then(|| Loss { tensor: tensor.into(), what, largest, mean: sum / count as f64 })
    }

    /// The loss of quantisation, over all float weights of a matrix.
    fn by_weight(
        tensor: &str,
        what: &str,
        weight: impl Iterator<Item = f64>,
        packed: &Packed,
    ) -> Option<Loss> {
        let changes = weight.zip(packed.unpack());
        let changes = changes.map(|(w, t)| w - f64::from(packed.scale * f32::from(t)));
        Loss::of(tensor, what.into(), changes)
    }

    /// The loss over all weights of a matrix whose scale changes by `change`. A weight of 0 stays 0.
    pub(super) fn by_scale(tensor: &str, what: String, change: f64, packed: &Packed) -> Option<Loss> {
        Loss::of(tensor, what, packed.unpack().into_iter().map(|trit| change * f64::from(trit)))
    }
}

/// A network from a file, with a report on the conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network.
    pub model: Model,
    /// The losses in the weights of the file.
    pub lost: Vec<Loss>,
    /// Assumptions, and tensors that were left out, in one clause each.
    pub notes: Vec<String>,
    /// Reasons why the result is another network than that of the file, in one clause each.
    pub warnings: Vec<String>,
}

/// A function that reads a ternary matrix `[rows, cols]`.
pub(super) type Read = fn(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String>;

/// The layout of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    Blocks(Blocks),
    /// BitNet's bytes, with four trits each.
    Quarters,
    /// Trits as integers with this number of bytes.
    Trits(usize),
}

impl Kind {
    /// The kind of a tensor by the type names of all containers. Bytes with a scale are those of BitNet.
    fn of(tensor: &Stored, scaled: bool) -> Option<Kind> {
        Some(match &tensor.dtype[..] {
            "F64" | "<f8" => Kind::F64,
            "F32" | "<f4" => Kind::F32,
            "F16" | "<f2" => Kind::F16,
            "BF16" => Kind::Bf16,
            "I8" | "|i1" => Kind::Trits(1),
            "I16" | "<i2" => Kind::Trits(2),
            "I32" | "<i4" => Kind::Trits(4),
            "I64" | "<i8" => Kind::Trits(8),
            "U8" if scaled => Kind::Quarters,
            "TQ1_0" => Kind::Blocks(Blocks::Tq1_0),
            "TQ2_0" => Kind::Blocks(Blocks::Tq2_0),
            _ => return None,
        })
    }

    fn is_float(self) -> bool {
        matches!(self, Kind::F64 | Kind::F32 | Kind::F16 | Kind::Bf16)
    }

    /// Whether every value has its own place. Only then can the matrix be transposed.
    fn lies_flat(self) -> bool {
        self.is_float() || matches!(self, Kind::Trits(_))
    }

    /// The values of a float tensor or of blocks, as f64 because f32 may not hold them. Values past column `cols`,
    /// which are padding of blocks, are left out.
    fn values(self, bytes: &[u8], cols: usize) -> Box<dyn Iterator<Item = f64> + '_> {
        fn each<const N: usize>(
            bytes: &[u8],
            value: fn([u8; N]) -> f64,
        ) -> Box<dyn Iterator<Item = f64> + '_> {
            Box::new(bytes.as_chunks().0.iter().map(move |&bytes| value(bytes)))
        }
        match self {
            Kind::F64 => each(bytes, f64::from_le_bytes),
            Kind::F32 => each(bytes, |x| f32::from_le_bytes(x).into()),
            Kind::F16 => each(bytes, |x| f16::from_le_bytes(x).into()),
            Kind::Bf16 => each(bytes, |x| bf16::from_le_bytes(x).into()),
            Kind::Blocks(blocks) => {
                let rows = bytes.chunks_exact(ggml::padded(cols) / ggml::BLOCK * blocks.bytes());
                Box::new(
                    rows.flat_map(move |row| blocks.dequantize(row).into_iter().take(cols).map(f64::from)),
                )
            }
            Kind::Quarters | Kind::Trits(_) => Box::new(std::iter::empty()),
        }
    }

    /// The function that reads a matrix of this kind. The matrix has the scale 1 if another tensor has the scale.
    fn read(self) -> Read {
        match self {
            Kind::F64 => |bytes, rows, cols| quantized(Kind::F64, bytes, rows, cols),
            Kind::F32 => |bytes, rows, cols| quantized(Kind::F32, bytes, rows, cols),
            Kind::F16 => |bytes, rows, cols| quantized(Kind::F16, bytes, rows, cols),
            Kind::Bf16 => |bytes, rows, cols| quantized(Kind::Bf16, bytes, rows, cols),
            Kind::Blocks(Blocks::Tq1_0) => |bytes, rows, cols| Blocks::Tq1_0.unpack(bytes, rows, cols),
            Kind::Blocks(Blocks::Tq2_0) => |bytes, rows, cols| Blocks::Tq2_0.unpack(bytes, rows, cols),
            Kind::Quarters => bitnet::unpack,
            Kind::Trits(1) => trits::<1>,
            Kind::Trits(2) => trits::<2>,
            Kind::Trits(4) => trits::<4>,
            Kind::Trits(_) => trits::<8>,
        }
    }

    /// The scale that remains after a file of this kind has stored it.
    fn stores(self, scale: f32, weight_scale: Option<WeightScale>) -> f32 {
        match (self, weight_scale) {
            (Kind::Blocks(_), _) => f16::from_f32(scale).to_f32(),
            (Kind::Quarters, Some(convention)) => convention.turn(convention.turn(scale)),
            _ => scale,
        }
    }
}

/// A matrix of floats. It is quantised by absmean unless the floats are `s {-1, 0, 1}`.
fn quantized(kind: Kind, bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
    if let Some(scale) = ternary_already(kind.values(bytes, cols)) {
        let trits: Vec<i8> = kind.values(bytes, cols).map(|value| (value / scale) as i8).collect();
        return Ok(Packed::pack(&trits, rows, cols, scale as f32));
    }
    absmean(kind, bytes, rows, cols)
}

/// The function that reads a ternary matrix in this tensor without another tensor's help. Floats of the form `s {-1, 0,
/// 1}` keep their trits and `s`.
pub(super) fn reader(tensor: &Stored) -> Option<Read> {
    Kind::of(tensor, false).map(Kind::read)
}

/// The function that reads a matrix of master weights of this type: floats that the network quantises by absmean in
/// every pass.
pub(super) fn master(dtype: &str) -> Option<Read> {
    Some(match dtype {
        "F32" => shadows,
        "F16" => |bytes, rows, cols| absmean(Kind::F16, bytes, rows, cols),
        "BF16" => |bytes, rows, cols| absmean(Kind::Bf16, bytes, rows, cols),
        _ => return None,
    })
}

/// A matrix of shadow weights, quantised as in training.
pub(super) fn shadows(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
    absmean(Kind::F32, bytes, rows, cols)
}

/// The common absolute value of all values that are not 0, if there is one and f32 holds it.
fn ternary_already(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sizes = values.map(f64::abs).filter(|size| *size != 0.0);
    let scale = sizes.next().filter(|&scale| scale as f32 > 0.0 && (scale as f32).is_finite())?;
    sizes.all(|size| size == scale).then_some(scale)
}

/// A matrix of floats, quantised by absmean.
fn absmean(kind: Kind, bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
    let weight: Vec<f32> = kind.values(bytes, cols).map(|value| value as f32).collect();
    let Some(at) = weight.iter().position(|weight| !weight.is_finite()) else {
        return Ok(Packed::quantize(&weight, rows, cols));
    };
    let value = kind.values(bytes, cols).nth(at).unwrap_or(f64::NAN);
    let none = weight.iter().filter(|weight| !weight.is_finite()).count();
    let (row, col, most) = (at / cols, at % cols, f32::MAX);
    Err(format!(
        "row {row}, column {col} is {value:?}, the first of {none} that are no weights, expected numbers up to {most:e}"
    ))
}

/// The values of a tensor rounded to f32, and the loss of the rounding.
fn rounded(tensor: &Stored, values: &[f64]) -> Result<(Vec<f32>, Option<Loss>), String> {
    let Stored { name, dtype, .. } = tensor;
    let floats: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    if let Some(at) = floats.iter().position(|value| !value.is_finite()) {
        let (value, most) = (values[at], f32::MAX);
        return Err(format!("{name} holds {value:?} at index {at}, expected a number up to {most:e}"));
    }
    let changes = values.iter().zip(&floats).map(|(value, &float)| value - f64::from(float));
    let loss = Loss::of(name, format!("{dtype} taken as f32"), changes);
    Ok((floats, loss))
}

/// A matrix of trits as integers of `N` bytes.
fn trits<const N: usize>(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
    let number = |bytes: &[u8; N]| {
        let bits = bytes.iter().rev().fold(0i64, |bits, &byte| bits << 8 | i64::from(byte));
        bits << (64 - 8 * N) >> (64 - 8 * N)
    };
    let numbers = || bytes.as_chunks().0.iter().map(number);
    match numbers().enumerate().find(|(_, number)| !(-1..=1).contains(number)) {
        Some((at, number)) => {
            Err(format!("row {}, column {} is {number}, expected -1, 0 or 1", at / cols, at % cols))
        }
        None => Ok(Packed::pack(&numbers().map(|number| number as i8).collect::<Vec<_>>(), rows, cols, 1.0)),
    }
}

/// A file with its tensors by name.
struct File<'a> {
    bytes: &'a [u8],
    metadata: &'a Map<String, Value>,
    tensors: HashMap<&'a str, &'a Stored>,
    record: Option<Record>,
}

/// The parts of a layer, before they are read.
struct Found<'a> {
    tensor: &'a Stored,
    kind: Kind,
    rows: usize,
    cols: usize,
    /// Whether the tensor is stored as `[cols, rows]`.
    transposed: bool,
    scale: Option<&'a Stored>,
    gain: Option<&'a Stored>,
}

/// The possible names of the scale and of the gain that belong to `BASE.weight`.
const SCALES: [&str; 3] = ["BASE.weight_scale", "BASE_scale", "BASE.scale"];
const GAINS: [&str; 4] = ["BASE.gain", "BASE_norm.weight", "BASE.rms_norm.weight", "BASE.norm.weight"];

/// The name of a tensor that belongs to a matrix. `BASE` stands for the matrix's own name.
fn called(matrix: &Stored, name: &str) -> String {
    name.replace("BASE", matrix.name.strip_suffix(".weight").unwrap_or(&matrix.name))
}

impl<'a> File<'a> {
    fn new(
        bytes: &'a [u8],
        tensors: &'a [Stored],
        metadata: &'a Map<String, Value>,
    ) -> Result<File<'a>, String> {
        let record = metadata.get(RECORD).map(Record::read).transpose()?;
        let tensors = tensors.iter().map(|tensor| (&tensor.name[..], tensor)).collect();
        Ok(File { bytes, metadata, tensors, record })
    }

    fn kind(&self, tensor: &Stored) -> Option<Kind> {
        Kind::of(tensor, self.tensors.contains_key(&format!("{}_scale", tensor.name)[..]))
    }

    /// The values of a float tensor, which must have `length` values.
    fn values(&self, tensor: &Stored, length: usize) -> Result<Vec<f64>, String> {
        let kind = self
            .kind(tensor)
            .filter(|kind| kind.is_float() && tensor.shape.iter().product::<usize>() == length);
        let Some(kind) = kind else {
            let Stored { name, dtype, shape, .. } = tensor;
            return Err(format!("{name} is {dtype} {shape:?}, expected {length} floats"));
        };
        Ok(kind.values(&self.bytes[tensor.at.clone()], length).collect())
    }

    /// The value of one trit, from the tensor of the scale.
    fn scale(&self, tensor: &Stored, convention: WeightScale) -> Result<f64, String> {
        let said = self.values(tensor, 1)?[0];
        let scale = convention.turn(said);
        match scale as f32 {
            float if float > 0.0 && float.is_finite() => Ok(scale),
            float => Err(format!(
                "{} holds {said:?}, by which a trit is worth {float:?}, expected a positive number up to {:e}",
                tensor.name,
                f32::MAX
            )),
        }
    }

    /// The tensor that belongs to a matrix, under the first of these names that exists. `BASE` stands for the
    /// matrix's own name.
    fn beside(&self, matrix: &Stored, names: &[&str]) -> Option<&'a Stored> {
        names.iter().find_map(|name| self.tensors.get(&called(matrix, name)[..]).copied())
    }

    /// The tensor of a parameter in a file that Sterna wrote.
    fn of(&self, parameter: &Parameter) -> Result<&'a Stored, String> {
        let names = exchange::names(parameter);
        let found = names.iter().find_map(|name| self.tensors.get(&name[..]).copied());
        found.ok_or_else(|| format!("has no tensor {}", parameter.name))
    }

    /// The parameters of a network that is not an MLP. Only a record has them.
    fn recorded(&self) -> Option<&[Parameter]> {
        let record = self.record.as_ref().filter(|record| record.arch.network != chain::MLP)?;
        Some(&record.parameters)
    }

    /// The matrices of the network: those of the record, or else all tensors with two dimensions or more that are
    /// neither scale nor gain of another tensor.
    fn matrices(&self) -> Vec<&'a Stored> {
        if let Some(parameters) = self.recorded() {
            let ternary = parameters.iter().filter(|parameter| parameter.role == Role::Ternary);
            return ternary.filter_map(|parameter| self.of(parameter).ok()).collect();
        }
        let mut all: Vec<&Stored> =
            self.tensors.values().copied().filter(|tensor| tensor.shape.len() > 1).collect();
        let names = |matrix| SCALES.iter().chain(&GAINS).map(move |name| called(matrix, name));
        let beside: HashSet<String> = all.iter().flat_map(|matrix| names(matrix)).collect();
        all.retain(|tensor| !beside.contains(&tensor.name));
        all.sort_by(|a, b| natural(&a.name, &b.name));
        all
    }

    /// The parts of each layer. If the shape of a tensor is ambiguous, the record, the gain or a neighbouring layer
    /// decides.
    fn found(&self, matrices: &[&'a Stored], transposed: bool) -> Result<Vec<Found<'a>>, String> {
        if let Some(Record { scales, .. }) =
            self.record.as_ref().filter(|record| record.scales.len() != matrices.len())
        {
            let found = matrices.len();
            return Err(format!(
                "its metadata `{RECORD}` speaks of {} layers, found {found} matrices",
                scales.len()
            ));
        }
        let mut all: Vec<Found> = Vec::new();
        for (i, &tensor) in matrices.iter().enumerate() {
            let Stored { name, dtype, shape, .. } = tensor;
            let Some(kind) = self.kind(tensor) else {
                return Err(format!(
                    "{name} is {dtype}, expected floats, integers, TQ1_0, TQ2_0 or BitNet's uint8 with a scale; \
                     `tensors` chooses what to take"
                ));
            };
            let &[rows, cols] = &shape[..] else {
                return Err(format!(
                    "{name} has shape {shape:?}, expected a matrix; `tensors` chooses what to take"
                ));
            };
            if rows == 0 || cols == 0 {
                return Err(format!("{name} has shape {shape:?}, expected at least [1, 1]"));
            }
            let gain = self.beside(tensor, &GAINS);
            let recorded = self.record.as_ref().and_then(|record| record.matrices().nth(i));
            let transposed = (transposed || is_kernel(name)) && kind.lies_flat();
            let (rows, cols) = if transposed { (cols, rows) } else { (rows, cols) };
            let (rows, cols) = match kind {
                Kind::Blocks(_) => {
                    let gains = gain.map(|gain| gain.shape.iter().product());
                    let before = all.last().map(|before| before.rows);
                    let known = [recorded.map(|[_, cols]| cols), gains, before].into_iter().flatten();
                    let fits = |cols_known: &usize| *cols_known <= cols && ggml::padded(*cols_known) == cols;
                    (rows, known.into_iter().find(fits).unwrap_or(cols))
                }
                Kind::Quarters => {
                    let after = matrices.get(i + 1).and_then(|after| after.shape.get(1).copied());
                    let known = [recorded.map(|[rows, _]| rows), after].into_iter().flatten();
                    (known.into_iter().find(|&known| bitnet::chunk(known) == rows).unwrap_or(4 * rows), cols)
                }
                _ => (rows, cols),
            };
            let scale = self.beside(tensor, &SCALES);
            all.push(Found { tensor, kind, rows, cols, transposed, scale, gain });
        }
        Ok(all)
    }

    /// Whether a tensor cannot change the network's results: it is empty, all zero, a counter of batches, or text.
    fn adds_nothing(&self, tensor: &Stored) -> bool {
        let bytes = &self.bytes[tensor.at.clone()];
        match self.kind(tensor).filter(|kind| kind.is_float()) {
            _ if tensor.name.ends_with("num_batches_tracked") => true,
            Some(kind) => kind.values(bytes, 1).all(|value| value == 0.0),
            None => {
                let letters = ["U8", "|u1"].contains(&&tensor.dtype[..]) && content::is_text(bytes);
                let texts = ["<U", ">U", "|S"].iter().any(|text| tensor.dtype.starts_with(text));
                letters || texts || bytes.iter().all(|&byte| byte == 0)
            }
        }
    }

    /// The epsilon of RMSNorm, if the file has one.
    fn eps(&self, config: Option<&Value>) -> Option<f64> {
        let said = |values: &Map<String, Value>| {
            let names = ["layer_norm_rms_epsilon", "rms_norm_eps"];
            let mut eps = values.iter().filter(|(key, _)| names.iter().any(|name| key.ends_with(name)));
            eps.find_map(|(_, eps)| eps.as_f64())
        };
        let quantization = quantization(self.metadata, config);
        let places =
            [Some(self.metadata), quantization.and_then(Value::as_object), config.and_then(Value::as_object)];
        places.into_iter().flatten().find_map(said)
    }
}

/// Whether a matrix is `[inputs, outputs]`, by the name that Keras and JAX use.
fn is_kernel(name: &str) -> bool {
    let name = name.strip_suffix(":0").unwrap_or(name);
    name.rsplit(['/', '.']).next() == Some("kernel")
}

/// Whether a tensor is the bias of a matrix: `fc1.bias` of `fc1.weight`.
fn is_bias(tensor: &Stored, matrix: &Stored) -> bool {
    let name = matrix.name.strip_suffix(":0").unwrap_or(&matrix.name);
    let stem = name.strip_suffix("weight").or(name.strip_suffix("kernel"));
    stem.and_then(|stem| tensor.name.strip_prefix(stem)).is_some_and(|rest| rest.starts_with("bias"))
}

/// Whether a tensor holds the running mean or variance of a BatchNorm.
fn is_statistic(tensor: &Stored) -> bool {
    ["running_", "moving_"].iter().any(|word| tensor.name.contains(word))
}

/// The `quantization_config` of the file, or of the `config.json` beside it.
fn quantization<'a>(metadata: &'a Map<String, Value>, config: Option<&'a Value>) -> Option<&'a Value> {
    metadata.get("quantization_config").or(config.map(|config| &config["quantization_config"]))
}

/// The network in a file with these tensors. `config` is the `config.json` of its folder.
///
/// # Errors
/// A text with the tensor's name, and with the expected and the actual content. It does not name the file.
pub(super) fn read(
    bytes: &[u8],
    (tensors, metadata): &Contents,
    config: Option<&Value>,
    reading: &Reading,
) -> Result<Imported, String> {
    let mut file = File::new(bytes, tensors, metadata)?;
    let mut matrices = file.matrices();
    if !reading.tensors.is_empty() {
        // The record describes all layers. It does not fit a selection of them.
        file.record = None;
        let named = |name: &String| {
            let tensor = file.tensors.get(&name[..]).copied();
            tensor.ok_or_else(|| format!("has no tensor {name}: its matrices are {}", names(&matrices)))
        };
        matrices = reading.tensors.iter().map(named).collect::<Result<_, _>>()?;
    }
    if matrices.is_empty() {
        let first = tensors.first().map(|Stored { name, dtype, shape, .. }| {
            format!(", of which the first is {name}, {dtype} {shape:?}")
        });
        return Err(format!(
            "holds no matrix of floats, integers, TQ1_0, TQ2_0 or BitNet's uint8 among its {} tensors{}",
            tensors.len(),
            first.unwrap_or_default()
        ));
    }
    let all = file.found(&matrices, reading.transposed)?;
    let needless = |field: &str, what: &str| {
        let names = names(&matrices);
        Err(format!("`{field}` is for a matrix of {what}, and none of {names} is one: leave it out"))
    };
    let some = |fits: fn(Kind) -> bool| all.iter().any(|found| fits(found.kind));
    if reading.weight_scale.is_some() && !some(|kind| kind == Kind::Quarters) {
        return needless("weight_scale", "BitNet's uint8 beside a scale");
    }
    if reading.absmean && !some(|kind| kind.is_float() || matches!(kind, Kind::Blocks(_))) {
        return needless("absmean", "ggml's blocks or of floats");
    }
    if reading.transposed && !some(Kind::lies_flat) {
        return needless("transposed", "floats or of integers");
    }
    let quantization = quantization(metadata, config);
    let (mut layers, mut lost, mut notes, mut warnings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    if all.len() > 1 && file.record.is_none() {
        notes.push(format!("its layers are {}, in this order", names(&matrices)));
    }
    for (i, Found { tensor, kind, rows, cols, transposed, scale, gain }) in all.iter().enumerate() {
        let name = &tensor.name;
        let data = &bytes[tensor.at.clone()];
        let values = || kind.values(data, *cols);
        let afresh = kind.is_float() || reading.absmean && matches!(kind, Kind::Blocks(_));
        let ternary = afresh && ternary_already(values()).is_some();
        if kind.is_float() && !ternary && !reading.floats {
            return Err(format!("holds floats in {name}: a reading of `floats` quantises them"));
        }
        let [down, across] = if *transposed { [*cols, *rows] } else { [*rows, *cols] };
        let packed = match afresh {
            true => quantized(*kind, data, down, across),
            false => kind.read()(data, down, across),
        };
        let mut packed = packed.map_err(|what| format!("{name}: {what}"))?;
        if afresh && packed.is_dead() && values().any(|value| value != 0.0) {
            return Err(format!(
                "{name}: absmean makes 0 of all its weights, of which the largest is {:e}: multiply the matrix",
                values().fold(0.0, |most, value| f64::max(most, value.abs())) as f32
            ));
        }
        if packed.scale == 0.0 {
            // Only a matrix of ggml's blocks of zeros has the scale 0.
            packed.scale = LEAST;
        }
        let (mut convention, mut worth) = (None, None);
        let own = f64::from(packed.scale);
        match (kind, scale) {
            (Kind::Quarters, Some(scale)) => {
                let said = match reading.weight_scale {
                    Some(said) => said,
                    None => WeightScale::of(quantization.unwrap_or(&Value::Null))?,
                };
                worth = Some(file.scale(scale, said)?);
                convention = Some(said);
            }
            (_, Some(scale)) => worth = Some(own * file.scale(scale, WeightScale::Multiply)?),
            (Kind::Trits(_), None) => notes.push(format!("{name} has no scale: a trit of it is worth 1")),
            _ => {}
        }
        packed.scale = worth.map_or(packed.scale, |worth| worth as f32);
        if afresh {
            // The checksum of the record belongs to other trits.
            file.record.iter_mut().for_each(|record| record.sha256 = None);
            let what = if ternary { "its scale taken as f32" } else { "floats quantised by absmean" };
            let factor = worth.map_or(1.0, |worth| worth / own);
            lost.extend(Loss::by_weight(name, what, values().map(|value| value * factor), &packed));
        } else if let Some(record) = &file.record {
            let (exact, zeros) = (record.scales[i], packed.is_dead());
            let stored = kind.stores(exact, convention);
            // The scale of a matrix of zero blocks is not known.
            if stored.to_bits() != packed.scale.to_bits() && !(zeros && matches!(kind, Kind::Blocks(_))) {
                let told = reading.weight_scale.is_some() && *kind == Kind::Quarters;
                let found = packed.scale;
                let why = if told {
                    "leave `weight_scale` out, the file knows it"
                } else {
                    "one of them was changed"
                };
                return Err(format!("{name} has the scale {found}, but `{RECORD}` says {exact}: {why}"));
            }
            packed.scale = exact;
        } else if let Some(worth) = worth {
            let what = format!("scale {worth} taken as f32: {}", packed.scale);
            lost.extend(Loss::by_scale(name, what, worth - f64::from(packed.scale), &packed));
        }
        if *transposed {
            notes.push(format!("{name} is taken as [inputs, outputs]"));
            packed = packed.transposed();
        }
        let gain = match gain {
            _ if file.recorded().is_some() => Vec::new(),
            Some(gain) => {
                let (floats, loss) = rounded(gain, &file.values(gain, *cols)?)?;
                lost.extend(loss);
                floats
            }
            None => {
                notes.push(format!("{name} has no gain: it is taken as 1"));
                vec![1.0; *cols]
            }
        };
        layers.push((packed, gain));
    }
    let mut used: HashSet<&str> = all
        .iter()
        .flat_map(|found| [Some(found.tensor), found.scale, found.gain])
        .flatten()
        .map(|tensor| &tensor.name[..])
        .collect();
    // A network that is not an MLP also has parameters that are not ternary matrices.
    let mut parameters = Vec::new();
    let mut trits = layers.iter().map(|(packed, _)| packed.clone());
    for parameter in file.recorded().unwrap_or_default() {
        let values = match parameter.role {
            Role::Ternary => Values::Trits(trits.next().expect("as many as the record says")),
            Role::Gain | Role::Float => {
                let tensor = file.of(parameter)?;
                used.insert(&tensor.name);
                let (floats, loss) = rounded(tensor, &file.values(tensor, parameter.count())?)?;
                lost.extend(loss);
                Values::Floats(floats)
            }
        };
        parameters.push(Weights { parameter: parameter.clone(), values });
    }
    let eps = match (&file.record, file.eps(config)) {
        (Some(record), _) => record.arch.setting("eps").unwrap_or(RMSNORM_EPS as f32),
        (None, Some(said)) => {
            let eps = said as f32;
            if !eps.is_finite() {
                return Err(format!("its eps is {said:?}, expected a number up to {:e}", f32::MAX));
            }
            // The comparison uses decimal digits, because 1e-5 is exact in neither f32 nor f64.
            if eps.to_string().parse() != Ok(said) {
                let change = std::iter::once(said - f64::from(eps));
                lost.extend(Loss::of("eps", format!("{said} taken as f32: {eps}"), change));
            }
            eps
        }
        (None, None) => {
            notes.push(format!("no epsilon of RMSNorm is said: it is taken as {RMSNORM_EPS}"));
            RMSNORM_EPS as f32
        }
    };
    let mut left: Vec<&Stored> = tensors.iter().filter(|tensor| !used.contains(&tensor.name[..])).collect();
    left.sort_by(|a, b| natural(&a.name, &b.name));
    let concerns = |tensor: &&Stored| {
        let size = tensor.shape.iter().product::<usize>();
        let near = |Found { tensor: matrix, rows, cols, .. }: &Found| {
            is_bias(tensor, matrix) || is_statistic(tensor) && [rows, cols].contains(&&size)
        };
        file.record.is_none()
            && (reading.tensors.is_empty() || all.iter().any(near))
            && !file.adds_nothing(tensor)
    };
    let mut dropped: Vec<&Stored> = left.iter().copied().filter(concerns).collect();
    // The running statistics name a BatchNorm more clearly than its bias does.
    dropped.sort_by_key(|tensor| !is_statistic(tensor));
    match dropped.first() {
        Some(first) if !reading.drop => {
            let Stored { name, dtype, shape, .. } = first;
            let what = if is_statistic(first) { "a statistic of a BatchNorm, " } else { "" };
            return Err(format!(
                "{name}, {what}{dtype} {shape:?}, has no place in a network here, which would compute something else \
                 without it: `drop` leaves such tensors out all the same"
            ));
        }
        Some(_) => {
            warnings.push(format!("left out, although that changes what is computed: {}", names(&dropped)));
        }
        None if reading.drop => {
            return Err("has no tensor that a network here has no place for: leave `drop` out".into());
        }
        None => {}
    }
    if !left.is_empty() {
        let bytes: usize = left.iter().map(|tensor| tensor.at.len()).sum();
        notes.push(format!("{bytes} bytes are left out: {}", names(&left)));
    }
    if file.record.is_none() && !metadata.is_empty() {
        notes.push(format!("its metadata of {} entries is not kept", metadata.len()));
    }
    let chosen = file.recorded().is_some();
    let (about, stated, arch) = match file.record {
        Some(record) => (record.about, record.sha256, Some(record.arch).filter(|_| chosen)),
        None => (Value::Null, None, None),
    };
    let swapped = all.windows(2).all(|pair| pair[1].rows == pair[0].cols);
    let hint = |what: String| match all.len() {
        1 => what,
        _ if swapped && !reading.transposed => format!(
            "{what} (layers are {}; `tensors` chooses others, and if they are [inputs, outputs], as Keras, JAX and Burn \
             have them, `transposed` turns them)",
            names(&matrices)
        ),
        _ => format!("{what} (layers are {}; `tensors` chooses others)", names(&matrices)),
    };
    let model = match arch {
        Some(arch) => Model { arch, parameters, about },
        None => Model::mlp(layers, eps, about),
    };
    let model = model.check().map_err(hint)?;
    let found = digest(&model);
    match stated.filter(|stated| *stated != found) {
        Some(stated) => Err(damaged(&format!("the `sha256` in its metadata `{RECORD}`"), &stated, &found)),
        None => Ok(Imported { model, lost, notes, warnings }),
    }
}

/// Notes for each readable matrix of a file how to read it. Blocks with different scales are read as trits.
pub(super) fn mark(
    bytes: &[u8],
    (tensors, metadata): &mut Contents,
    config: Option<&Value>,
) -> Result<(), String> {
    let file = File::new(bytes, tensors, metadata)?;
    let convention = quantization(metadata, config).and_then(|config| WeightScale::of(config).ok());
    let mut matrices = HashMap::new();
    let readable = |matrix: &&Stored| {
        matrix.shape.len() == 2 && !matrix.shape.contains(&0) && file.kind(matrix).is_some()
    };
    let some: Vec<&Stored> = file.matrices().into_iter().filter(readable).collect();
    for Found { tensor, kind, rows, cols, transposed, scale, .. } in file.found(&some, false)? {
        let [rows, cols] = if transposed { [cols, rows] } else { [rows, cols] };
        // The listing shows a matrix with one scale per row, although no matrix here can have several scales.
        let said = |scale, how: WeightScale| {
            let values = file.values(scale, 1);
            values.map_or(Scale::Unsaid, |values| Scale::Said(how.turn(values[0]) as f32))
        };
        let scale = match (kind, scale, convention) {
            (Kind::Quarters, Some(scale), Some(convention)) => said(scale, convention),
            (Kind::Quarters, ..) => Scale::Unsaid,
            (_, Some(scale), _) => said(scale, WeightScale::Multiply),
            _ => Scale::Own,
        };
        let read = match kind {
            Kind::Blocks(Blocks::Tq1_0) => |bytes: &_, rows, cols| Blocks::Tq1_0.trits(bytes, rows, cols),
            Kind::Blocks(Blocks::Tq2_0) => |bytes: &_, rows, cols| Blocks::Tq2_0.trits(bytes, rows, cols),
            kind => kind.read(),
        };
        matrices.insert(tensor.name.clone(), Matrix { rows, cols, scale, read });
    }
    for tensor in tensors {
        tensor.matrix = matrices.remove(&tensor.name);
    }
    Ok(())
}

/// The first names, and the number of further names.
fn names(tensors: &[&Stored]) -> String {
    const SHOWN: usize = 6;
    let shown: Vec<&str> = tensors.iter().take(SHOWN).map(|tensor| &tensor.name[..]).collect();
    match tensors.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Compares names. Digits in them compare as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (mut left, mut right) = (a, b);
    loop {
        let [n, m] = [digits(left), digits(right)];
        if n > 0 && m > 0 {
            let ([x, rest_left], [y, rest_right]) = (split(left, n), split(right, m));
            let [x, y] = [x, y].map(|number| number.trim_start_matches('0'));
            match x.len().cmp(&y.len()).then(x.cmp(y)) {
                Ordering::Equal => (left, right) = (rest_left, rest_right),
                order => return order,
            }
        } else {
            match (left.chars().next(), right.chars().next()) {
                (Some(x), Some(y)) if x == y => {
                    (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
                }
                // Names that differ only in leading zeros compare as text.
                (None, None) => return a.cmp(b),
                (x, y) => return x.cmp(&y),
            }
        }
    }
}

fn split(text: &str, at: usize) -> [&str; 2] {
    let (first, rest) = text.split_at(at);
    [first, rest]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["b", "blk.10.w", "blk.2.w", "blk.2.v", "blk.02.w", "a", "blk.1", "blk"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "b", "blk", "blk.1", "blk.2.v", "blk.02.w", "blk.2.w", "blk.10.w"]);
    }
}
