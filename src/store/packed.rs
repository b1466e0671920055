//! The deployable file: a ternary network without training data, as safetensors. This module knows the bytes of this
//! one format.
//!
//! The layout, with NAME for a parameter's name and BASE for the name without `.weight`:
//! - a ternary parameter has `BASE.packed` or `BASE.base3`, and `BASE.beta`. `BASE.packed` is u32 `[rows, words]`,
//!   see [`crate::ternary`]. `BASE.base3` is u8 `[rows, ceil(cols / 5)]` with five trits of a row per byte, see
//!   [`Base3`](crate::ternary::Base3); the last byte of a row is filled with zeros. `BASE.beta` is f32 `[1]`, the
//!   value of one trit;
//! - any other parameter has `NAME`, f32, in its shape. A parameter of the role float, for example an embedding, may
//!   have `NAME` as f16, or as int8 with `BASE.scale`, f32 `[rows]`, the value of one step in each row;
//! - metadata, all strings: `format = "sterna-packed"`, `version` (the version of this layout), `arch` and
//!   `parameters` (see [`super`]), `about` (a JSON object), `schema`, `sterna_version`, and `sha256` over everything
//!   above.
//!
//! Version 1, which can be read too, has `eps` instead of `arch` and `parameters`, and holds an MLP.

use std::collections::BTreeMap;

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::element::Element;
use super::layout::{Form, Layout, Place};
use super::listing::safetensors;
use super::stream::{Part, Tensor};
use super::tensors::{Sealed, deserialize, intact, no_json, range};
use super::{Arch, Contents, Loss, Matrix, Model, Scale, Values, Weights, chain, header};
use crate::parameter::{Parameter, Role};
use crate::ternary::{self, Packed, int8_row};

/// The value of `format` that distinguishes this format from other safetensors files.
pub(super) const FORMAT: &str = "sterna-packed";

/// Version of the layout above.
const VERSION: &str = "2";

/// The layout of trits in a packed file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Coding {
    /// Sixteen trits per word, the layout of the kernels.
    #[default]
    #[cfg_attr(feature = "cli", value(name = "2bit"))]
    TwoBit,
    /// Five trits per byte. The file is a fifth smaller and is unpacked on loading.
    Base3,
}

impl Coding {
    /// Both layouts.
    pub const ALL: [Coding; 2] = [Coding::TwoBit, Coding::Base3];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Coding::TwoBit => "2bit",
            Coding::Base3 => "base3",
        }
    }

    /// The suffix of its tensors' names, and their element type.
    pub(super) fn tensor(self) -> (&'static str, Dtype) {
        match self {
            Coding::TwoBit => ("packed", Dtype::U32),
            Coding::Base3 => ("base3", Dtype::U8),
        }
    }

    /// Number of elements in a row of its tensors.
    pub(super) fn width(self, cols: usize) -> usize {
        match self {
            Coding::TwoBit => ternary::words(cols),
            Coding::Base3 => ternary::base3_bytes(cols),
        }
    }

    pub(super) fn encode(self, packed: &Packed) -> Vec<u8> {
        match self {
            Coding::TwoBit => packed.words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            Coding::Base3 => packed.to_base3_rows(),
        }
    }

    /// The function that reads a matrix from a tensor's bytes. The value of one trit is in another tensor.
    fn decode(self) -> fn(&[u8], usize, usize) -> Result<Packed, String> {
        match self {
            Coding::TwoBit => |bytes, rows, cols| {
                let words = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
                let packed = Packed { rows, cols, scale: 1.0, words };
                packed.check().map(|()| packed)
            },
            Coding::Base3 => Packed::from_base3_rows,
        }
    }
}

/// The storage of the values of parameters with the role [`Role::Float`] in a packed file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Floats {
    /// As f32, without change.
    #[default]
    F32,
    /// Rounded to f16.
    F16,
    /// As int8. Each row has integers from -127 to 127 and an f32 factor: its largest magnitude divided by 127.
    Int8,
}

impl Floats {
    /// All forms.
    pub const ALL: [Floats; 3] = [Floats::F32, Floats::F16, Floats::Int8];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Floats::F32 => "f32",
            Floats::F16 => "f16",
            Floats::Int8 => "int8",
        }
    }

    /// Number of bytes of a value, without the factor of a row.
    pub fn bytes(self) -> usize {
        match self {
            Floats::F32 => 4,
            Floats::F16 => 2,
            Floats::Int8 => 1,
        }
    }

    /// The values after rounding to this form and back, for rows of `cols` values.
    pub fn round(self, values: &[f32], cols: usize) -> Vec<f32> {
        match self {
            Floats::F32 => values.to_vec(),
            Floats::F16 => values.iter().map(|&x| f16::from_f32(x).to_f32()).collect(),
            Floats::Int8 => {
                let row = |row: &[f32]| {
                    let (scale, codes) = int8_row(row);
                    codes.into_iter().map(move |code| scale * f32::from(code))
                };
                values.chunks(cols).flat_map(row).collect()
            }
        }
    }
}

impl Model {
    /// The network with the parameters of the role [`Role::Float`] rounded as in a packed file, and the losses of this
    /// rounding.
    ///
    /// # Errors
    /// A clause, if a value is too large for f16.
    pub fn rounded(&self, to: Floats) -> Result<(Model, Vec<Loss>), String> {
        let (mut model, mut lost) = (self.clone(), Vec::new());
        for Weights { parameter, values } in &mut model.parameters {
            let Values::Floats(floats) = values else { continue };
            if parameter.role != Role::Float {
                continue;
            }
            let rounded = to.round(floats, parameter.shape.last().copied().unwrap_or(1));
            if let Some(at) = rounded.iter().position(|x| !x.is_finite()) {
                let (name, value) = (&parameter.name, floats[at]);
                return Err(format!(
                    "{name} has the value {value} at index {at}, which f16 cannot hold: pack it as int8"
                ));
            }
            let changes = rounded.iter().zip(&*floats).map(|(a, b)| f64::from(*a) - f64::from(*b));
            lost.extend(Loss::of(parameter.base(), format!("stored as {}", to.name()), changes));
            *floats = rounded;
        }
        Ok((model, lost))
    }

    /// The bytes of a packed file. All floats are stored as f32.
    pub fn to_packed(&self, coding: Coding) -> Vec<u8> {
        self.to_packed_as(coding, Floats::F32)
    }

    /// The bytes of a packed file with this coding and these floats. The file holds the network of [`Model::rounded`].
    pub fn to_packed_as(&self, coding: Coding, floats: Floats) -> Vec<u8> {
        let parameters = || self.parameters.iter().map(|weights| &weights.parameter);
        let mut file = Sealed::new(FORMAT, &self.arch, parameters());
        for (key, text) in texts(&self.about) {
            file.text(key, text);
        }
        let scales: Vec<f32> = self.matrices().map(|packed| packed.scale).collect();
        for Tensor { name, dtype, shape, parameter, part } in tensors(parameters(), &scales, coding, floats) {
            let bytes = match (part, &self.parameters[parameter].values) {
                (Part::Bytes(bytes), _) => bytes,
                (part, Values::Trits(packed)) => part.of_trits(packed),
                (part, Values::Floats(values)) => {
                    part.of_floats(values, columns(&self.parameters[parameter].parameter.shape))
                }
            };
            file.tensor(name, dtype, &shape, bytes);
        }
        file.finish()
    }
}

/// The metadata of a file, beside those of all files of our own.
pub(super) fn texts(about: &Value) -> [(&'static str, String); 2] {
    [("version", VERSION.into()), ("about", about.to_string())]
}

/// The tensors of a file. `scales` are those of the ternary parameters.
pub(super) fn tensors<'a>(
    parameters: impl Iterator<Item = &'a Parameter>,
    scales: &[f32],
    coding: Coding,
    floats: Floats,
) -> Vec<Tensor> {
    let (mut all, mut scales) = (Vec::new(), scales.iter());
    for (parameter, Parameter { name, shape, role }) in parameters.enumerate() {
        let base = name.strip_suffix(".weight").unwrap_or(name);
        let mut add = |name: String, dtype: Dtype, shape: &[usize], part: Part| {
            all.push(Tensor { name, dtype, shape: shape.to_vec(), parameter, part });
        };
        match (role, floats) {
            (Role::Ternary, _) => {
                let ((kind, dtype), scale) = (coding.tensor(), scales.next().expect("one of each matrix"));
                add(
                    format!("{base}.{kind}"),
                    dtype,
                    &[shape[0], coding.width(shape[1])],
                    Part::Coded(coding),
                );
                add(format!("{base}.beta"), Dtype::F32, &[1], Part::Bytes(scale.to_le_bytes().to_vec()));
            }
            (Role::Float, Floats::F16) => add(name.clone(), Dtype::F16, shape, Part::Floats(Element::F16)),
            (Role::Float, Floats::Int8) => {
                let rows = shape.iter().product::<usize>() / columns(shape);
                add(name.clone(), Dtype::I8, shape, Part::Int8);
                add(format!("{base}.scale"), Dtype::F32, &[rows], Part::Factors);
            }
            _ => add(name.clone(), Dtype::F32, shape, Part::Floats(Element::F32)),
        }
    }
    all
}

impl Packed {
    /// One ternary matrix from the bytes of a packed file, counted from 0. For an MLP it is the matrix of that layer.
    ///
    /// # Errors
    /// If the file is damaged, has another version, or has no such layer. The text does not name the file.
    pub fn from_safetensors(bytes: &[u8], layer: usize) -> Result<Packed, String> {
        let model = read(bytes)?;
        let (count, found) = (model.matrices().count(), model.matrices().nth(layer).cloned());
        found.ok_or_else(|| format!("has {count} layers, counted from 0: there is no layers.{layer}"))
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Model, String> {
    layout(bytes)?.model(&[bytes])
}

/// Where the parameters lie in a file.
pub(super) fn layout(bytes: &[u8]) -> Result<Layout, String> {
    let file = File::open(bytes)?;
    let place = |parameter: &Parameter| {
        let Parameter { name, shape, role } = parameter;
        let (name, form) = match role {
            Role::Ternary => {
                let (name, matrix) = file.matrix(parameter)?;
                (name, Form::Trits(matrix))
            }
            Role::Gain => (name.clone(), Form::Floats(file.element(name, shape, &[Element::F32])?)),
            Role::Float if file.tensor(name)?.dtype() == Dtype::I8 => {
                let (rows, scales) =
                    (parameter.count() / columns(shape), format!("{}.scale", parameter.base()));
                file.element(&scales, &[rows], &[Element::F32])?;
                let found = file.tensor(name)?;
                if found.shape() != shape {
                    return Err(format!("{name} is I8 {:?}, expected I8 {shape:?}", found.shape()));
                }
                (name.clone(), Form::Int8(range(bytes, &file.tensor(&scales)?)))
            }
            Role::Float => {
                (name.clone(), Form::Floats(file.element(name, shape, &[Element::F32, Element::F16])?))
            }
        };
        Ok(Place::new(&name, 0, range(bytes, &file.tensor(&name)?), form))
    };
    let places = file.parameters.iter().map(place).collect::<Result<Vec<_>, String>>()?;
    let about = file.metadata.get("about").map(String::as_str).unwrap_or("null");
    let about = serde_json::from_str(about).map_err(|error| {
        format!("its metadata `about` is no {}", no_json("JSON", about.as_bytes(), &error))
    })?;
    let File { arch, parameters, .. } = file;
    Ok(Layout { about, ..Layout::new(arch, parameters, places) })
}

/// Number of values in a row.
fn columns(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

pub(super) fn list(bytes: &[u8]) -> Result<Contents, String> {
    let file = File::open(bytes)?;
    let (mut tensors, metadata) = safetensors(bytes)?;
    for parameter in file.parameters.iter().filter(|parameter| parameter.role == Role::Ternary) {
        let (name, matrix) = file.matrix(parameter)?;
        tensors
            .iter_mut()
            .filter(|tensor| tensor.name == name)
            .for_each(|tensor| tensor.matrix = Some(matrix));
    }
    Ok((tensors, metadata))
}

/// A file with a correct checksum and a version that can be read.
struct File<'a> {
    tensors: SafeTensors<'a>,
    metadata: BTreeMap<String, String>,
    arch: Arch,
    parameters: Vec<Parameter>,
}

impl File<'_> {
    fn open(bytes: &[u8]) -> Result<File<'_>, String> {
        let (tensors, metadata) = deserialize(bytes)?;
        let text = |key: &str| metadata.get(key).map(String::as_str);
        let version = text("version");
        match version {
            Some("1" | VERSION) => {}
            Some(other) => {
                return Err(format!(
                    "is a packed file of version {other}, this program reads 1 and 2: use the version that wrote it"
                ));
            }
            None => return Err("is a packed file without a version, this program reads 1 and 2".into()),
        }
        intact(&tensors, &metadata)?;
        let (arch, parameters) = match version {
            Some(VERSION) => header(&metadata)?.ok_or("its metadata has no `arch` and `parameters`")?,
            _ => {
                let eps = text("eps").ok_or("its metadata has no `eps`")?;
                let value = eps.parse();
                let eps = value.map_err(|_| format!("its metadata `eps` is {eps:?}, expected a number"))?;
                chain::of_packed(&tensors, eps)?
            }
        };
        Ok(File { tensors, metadata, arch, parameters })
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, String> {
        self.tensors.tensor(name).map_err(|_| format!("has no tensor {name}"))
    }

    /// The form of a tensor of floats with this shape, which must be one of these.
    fn element(&self, name: &str, shape: &[usize], expected: &[Element]) -> Result<Element, String> {
        let view = self.tensor(name)?;
        let found = Element::of(&format!("{:?}", view.dtype())).filter(|element| expected.contains(element));
        match (found, view.dtype(), view.shape()) {
            (Some(element), _, found) if found == shape => Ok(element),
            (_, dtype, found) => Err(format!("{name} is {dtype:?} {found:?}, expected F32 {shape:?}")),
        }
    }

    /// The name of a ternary parameter's tensor, and the matrix with its scale.
    fn matrix(&self, parameter: &Parameter) -> Result<(String, Matrix), String> {
        let ([rows, cols], base) = (parameter.matrix(), parameter.base());
        let names = Coding::ALL.map(|coding| format!("{base}.{}", coding.tensor().0));
        for (coding, name) in Coding::ALL.into_iter().zip(&names) {
            let Ok(view) = self.tensors.tensor(name) else { continue };
            let ((_, dtype), shape) = (coding.tensor(), [rows, coding.width(cols)]);
            if (view.dtype(), view.shape()) != (dtype, &shape[..]) {
                let (found, at) = (view.dtype(), view.shape());
                return Err(format!("{name} is {found:?} {at:?}, expected {dtype:?} {shape:?}"));
            }
            let beta = format!("{base}.beta");
            self.element(&beta, &[1], &[Element::F32])?;
            let scale = Scale::Said(Element::F32.values(self.tensor(&beta)?.data())[0]);
            return Ok((name.clone(), Matrix { rows, cols, scale, read: coding.decode() }));
        }
        Err(format!("has no tensor {}", names.join(" or ")))
    }
}
