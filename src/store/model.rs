//! A network at rest: the one type that every file format is read into and written from. This module knows trits and
//! floats by name and role. It knows no bytes of a file and nothing of the GPU.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::transformer::TRANSFORMER;
use super::{Arch, FileError, Imported, Mapped, Reading, chain, format};
use crate::parameter::{Parameter, Role};
use crate::ternary::Packed;

/// A ternary network at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Which network it is.
    pub arch: Arch,
    /// Its parameters, in the network's order.
    pub parameters: Vec<Weights>,
    /// The origin of the network, as far as the file states it. For a network from `sterna train` it describes the
    /// run, otherwise it is `Null`.
    pub about: Value,
}

/// One parameter of a [`Model`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Name, shape and role.
    pub parameter: Parameter,
    /// Its values.
    pub values: Values,
}

/// The values of a parameter at rest.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// The matrix with its scale, for the role [`Role::Ternary`].
    Trits(Packed),
    /// The values for any other role.
    Floats(Vec<f32>),
}

impl Values {
    /// Its trits, if it is ternary.
    pub fn trits(&self) -> Option<&Packed> {
        match self {
            Values::Trits(packed) => Some(packed),
            Values::Floats(_) => None,
        }
    }

    /// Its floats, if it is not ternary.
    pub fn floats(&self) -> Option<&[f32]> {
        match self {
            Values::Trits(_) => None,
            Values::Floats(values) => Some(values),
        }
    }
}

impl Model {
    /// Reads a network from a file of any known format.
    ///
    /// # Errors
    /// A sentence with the name of the file, and with the expected and the actual content.
    pub fn open(path: &Path) -> Result<Model, FileError> {
        Model::import(path, &Reading::default()).map(|imported| imported.model)
    }

    /// Reads a network and uses `reading` wherever the file leaves something open. The result lists assumptions,
    /// omissions and losses. For safetensors of BitNet it also reads the `config.json` of the folder.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn import(path: &Path, reading: &Reading) -> Result<Imported, FileError> {
        Model::import_mapped(path, &Mapped::open(path)?, reading)
    }

    /// [`Model::import`] from a file that is already mapped.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn import_mapped(path: &Path, bytes: &Mapped, reading: &Reading) -> Result<Imported, FileError> {
        let config = || format::config_beside(path);
        format::import(bytes, config, reading).map_err(|what| FileError::Content { path: path.into(), what })
    }

    /// Its ternary matrices, in order.
    pub fn matrices(&self) -> impl Iterator<Item = &Packed> {
        self.parameters.iter().filter_map(|weights| weights.values.trits())
    }

    /// Its ternary matrices, mutable.
    pub fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Packed> {
        self.parameters.iter_mut().filter_map(|weights| match &mut weights.values {
            Values::Trits(packed) => Some(packed),
            Values::Floats(_) => None,
        })
    }

    /// The values of its other parameters, in order.
    pub fn floats(&self) -> impl Iterator<Item = &[f32]> {
        self.parameters.iter().filter_map(|weights| weights.values.floats())
    }

    /// The first difference from another network, or `None`. It compares each parameter by shape, trits, scale and
    /// floats, then the settings of the network. It does not compare the origin.
    pub fn first_difference(&self, other: &Model) -> Option<Difference> {
        for (Weights { parameter, values: a }, Weights { parameter: twin, values: b }) in
            self.parameters.iter().zip(&other.parameters)
        {
            let (layer, rest) = split(&parameter.name);
            let differs = |what: &str, row, column, values: [f64; 2]| {
                let of = if rest.is_empty() { what.into() } else { format!("{rest} {what}") };
                Some(Difference { layer, of, row, column, values })
            };
            if (&parameter.name, parameter.role) != (&twin.name, twin.role) {
                return differs("name or role", None, None, [f64::NAN; 2]);
            }
            match (a, b) {
                (Values::Trits(a), Values::Trits(b)) => {
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
                }
                (Values::Floats(a), Values::Floats(b)) => {
                    let what = if parameter.role == Role::Gain { "gain" } else { "values" };
                    if a.len() != b.len() {
                        return differs(what, None, None, [a.len() as f64, b.len() as f64]);
                    }
                    if let Some(at) = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits()) {
                        return differs(what, None, Some(at), [a[at], b[at]].map(f64::from));
                    }
                }
                _ => return differs("values", None, None, [f64::NAN; 2]),
            }
        }
        let whole = |of: &str, values| {
            Some(Difference { layer: None, of: of.into(), row: None, column: None, values })
        };
        if self.parameters.len() != other.parameters.len() {
            return whole("layers", [self, other].map(|model| model.matrices().count() as f64));
        }
        if self.arch.network != other.arch.network {
            return whole("network", [f64::NAN; 2]);
        }
        let settings = [self, other].map(|model| &model.arch.settings);
        let keys = settings[0].keys().chain(settings[1].keys());
        let of = keys.into_iter().find(|key| settings[0].get(*key) != settings[1].get(*key))?;
        let value = |settings: &serde_json::Map<String, Value>| settings.get(of).and_then(Value::as_f64);
        whole(of, settings.map(|settings| value(settings).unwrap_or(f64::NAN)))
    }

    /// Checks that the network can be run. The `read` of every format ends with this check.
    ///
    /// # Errors
    /// A text with the parameter and its fault. It does not name the file.
    pub fn check(self) -> Result<Model, String> {
        // A transformer of another program may be a float network.
        let is_float =
            self.arch.network == TRANSFORMER && self.arch.setting("precision") == Ok("f32".to_string());
        if self.matrices().next().is_none() && !is_float {
            return Err("holds no layer of a network".into());
        }
        chain::check(&self.arch, self.parameters.iter().map(|weights| &weights.parameter), place)?;
        for Weights { parameter, values } in &self.parameters {
            let Parameter { name, shape, role } = parameter;
            let place = place(name);
            match values {
                Values::Trits(packed) => {
                    packed.check().map_err(|what| format!("{place}: {what}"))?;
                    let scale = packed.scale;
                    if !(scale > 0.0 && scale.is_finite()) {
                        return Err(format!("{place}: its scale is {scale}, expected a positive number"));
                    }
                    if [packed.rows, packed.cols] != shape[..] || *role != Role::Ternary {
                        let found = [packed.rows, packed.cols];
                        return Err(format!("{name} holds trits {found:?}, expected {role:?} {shape:?}"));
                    }
                }
                Values::Floats(floats) => {
                    if let Some(at) = floats.iter().position(|value| !value.is_finite()) {
                        let what = if *role == Role::Gain { "gain of input" } else { "value at index" };
                        return Err(format!("{place}: the {what} {at} is {}", floats[at]));
                    }
                    if floats.len() != parameter.count() || *role == Role::Ternary {
                        let found = floats.len();
                        return Err(format!("{name} holds {found} floats, expected {role:?} {shape:?}"));
                    }
                }
            }
        }
        chain::check_values(&self)?;
        Ok(self)
    }
}

/// Splits a name into the layer and the rest: `layers.3.q.weight` and `model.layers.3.q.weight` give 3 and `q`. The
/// rest is empty for the matrix and the gain of an MLP's layer.
fn split(name: &str) -> (Option<usize>, &str) {
    let layers = name.strip_prefix("model.").unwrap_or(name).strip_prefix("layers.");
    let parts = layers.and_then(|rest| rest.split_once('.'));
    match parts.and_then(|(number, rest)| Some((number.parse().ok()?, rest))) {
        Some((layer, "weight" | "gain")) => (Some(layer), ""),
        Some((layer, rest)) => (Some(layer), rest.strip_suffix(".weight").unwrap_or(rest)),
        None => (None, name),
    }
}

/// A parameter's name in words. For an MLP's parameter it is the layer.
pub(super) fn place(name: &str) -> String {
    match split(name) {
        (Some(layer), "") => format!("layer {layer}"),
        _ => name.into(),
    }
}

/// The first difference between two networks, or between two runs of one network.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// The layer, counted from 0. It is `None` for a parameter outside the layers.
    pub layer: Option<usize>,
    /// The kind of value that differs: `trits`, `scale`, `gain`, `codes`, `accumulators`, ...
    pub of: String,
    /// The row of the matrix. For codes and accumulators it is the image.
    pub row: Option<usize>,
    /// The column of the matrix. For gains and codes it is the input, and for accumulators the output.
    pub column: Option<usize>,
    /// The two values.
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
        // All values are f32, or integers that f32 holds exactly.
        match self.values.map(|value| value as f32) {
            [a, b] if a.is_nan() && b.is_nan() => Ok(()),
            [a, b] => write!(f, ": {a} and {b}"),
        }
    }
}
