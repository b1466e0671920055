//! The file of a training run: float values and optimizer moments of every parameter as safetensors, and the rest as
//! metadata. This module knows names and roles, nothing of the GPU or of training.
//!
//! The layout, with NAME for a parameter's name and BASE for the name without `.weight`:
//! - `NAME`, f32, in the parameter's shape: `layers.0.weight [rows, cols]`, `layers.0.gain [cols]`;
//! - `NAME.m` and `NAME.v`, in the same shape: the moments of the optimizer;
//! - `BASE.trits [rows, words]`, u32, only for ternary parameters: the trits at the end of the last whole epoch. The
//!   flips of the next epoch are counted against them;
//! - metadata, all strings: `format = "sterna"`, `schema`, `sterna_version`, `arch` and `parameters` (see [`super`]),
//!   `run` (a JSON object), `progress` (the position in the run), and `sha256` over everything above.
//!
//! A file of version 1 has no `arch`. It holds an MLP whose tensors have the names above.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::element::Element;
use super::layout::{Form, Layout, Place};
use super::tensors::{Sealed, deserialize, intact, no_json, range};
use super::{
    Arch, FileError, Mapped, Matrix, Model, Scale, Values, Weights, chain, foreign, packed, replace, schema,
};
use crate::parameter::{Parameter, Role};
use crate::ternary::{Packed, words};

/// AdamW's two moments of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// First moment.
    pub m: Vec<f32>,
    /// Second moment.
    pub v: Vec<f32>,
}

/// One parameter of a [`Checkpoint`].
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// Name, shape and role.
    pub parameter: Parameter,
    /// The values. For a ternary parameter these are its shadow weights.
    pub values: Vec<f32>,
    /// The optimizer's moments, if the file has them.
    pub moments: Option<Moments>,
    /// The packed trits at the end of the last whole epoch, if the file has them.
    pub trits: Option<Vec<u32>>,
}

impl Saved {
    /// The float tensors with their names in the file.
    fn floats(&self) -> impl Iterator<Item = (String, &[f32])> {
        let name = &self.parameter.name;
        let moments = self.moments.iter().flat_map(|moments| [(".m", &moments.m), (".v", &moments.v)]);
        [("", &self.values)]
            .into_iter()
            .chain(moments)
            .map(move |(what, values)| (format!("{name}{what}"), &values[..]))
    }
}

/// The position in a run at which a file was written. Together with the seed it determines all random numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Completed epochs.
    pub epoch: usize,
    /// Completed steps of the current epoch.
    pub step: usize,
    /// Loss summed over these steps, with the bits of the device.
    pub loss: f32,
    /// Hits counted over these steps.
    pub hits: u32,
    /// Values of the summed loss at intervals in these steps, for the curve.
    #[serde(default)]
    pub noted: Vec<f32>,
    /// Duration of these steps in seconds.
    pub seconds: f64,
}

/// The checkpoint of a training run: network, parameters, optimizer moments and position.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Which network it is.
    pub arch: Arch,
    /// Its parameters, in the network's order.
    pub parameters: Vec<Saved>,
    /// The position in the run. Training cannot continue a file without it.
    pub progress: Option<Progress>,
    /// The run's description of itself. It is `Null` for a file of another program.
    pub run: Value,
}

impl Checkpoint {
    /// Whether every value is finite. Files with other values are neither saved nor loaded.
    pub fn is_finite(&self) -> bool {
        let sum = self.progress.as_ref().is_none_or(|progress| progress.loss.is_finite());
        sum && self
            .parameters
            .iter()
            .flat_map(Saved::floats)
            .all(|(_, values)| values.iter().all(|x| x.is_finite()))
    }

    /// The ternary network that results from the shadow weights.
    ///
    /// # Errors
    /// If the network was trained in floats or cannot be run. The text does not name the file.
    pub fn deployed(&self) -> Result<Model, String> {
        if self.parameters.iter().all(|saved| saved.parameter.role != Role::Ternary) {
            return Err("was trained in f32: it holds no ternary network".into());
        }
        let weights = |Saved { parameter, values, .. }: &Saved| {
            let values = match parameter.role {
                Role::Ternary => {
                    let [rows, cols] = parameter.matrix();
                    Values::Trits(Packed::quantize(values, rows, cols))
                }
                Role::Gain | Role::Float => Values::Floats(values.clone()),
            };
            Weights { parameter: parameter.clone(), values }
        };
        let parameters = self.parameters.iter().map(weights).collect();
        Model { arch: self.arch.clone(), parameters, about: self.run.clone() }.check()
    }

    /// Writes a temporary file in the same folder, syncs it and renames it. A reader sees either the old file or the
    /// new one.
    ///
    /// # Errors
    /// If the folder cannot be written or the disk is full. The old file then stays unchanged.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        replace(path, &self.to_bytes())
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = Sealed::new(FORMAT, &self.arch, self.parameters.iter().map(|saved| &saved.parameter));
        for saved in &self.parameters {
            for (name, values) in saved.floats() {
                file.tensor(name, Dtype::F32, &saved.parameter.shape, bytemuck::cast_slice(values));
            }
            if let Some(trits) = &saved.trits {
                let [rows, cols] = saved.parameter.matrix();
                let name = format!("{}.trits", saved.parameter.base());
                file.tensor(name, Dtype::U32, &[rows, words(cols)], bytemuck::cast_slice(trits));
            }
        }
        file.text("run", self.run.to_string());
        if let Some(progress) = &self.progress {
            file.text("progress", serde_json::to_string(progress).expect("numbers have a JSON form"));
        }
        file.finish()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If the file is unreadable, is no safetensors file, lacks a tensor, or if its shapes do not fit its network.
    pub fn load(path: &Path) -> Result<Checkpoint, FileError> {
        let bytes = std::fs::read(path).map_err(|reason| FileError::Read { path: path.into(), reason })?;
        Checkpoint::from_bytes(&bytes).map_err(|what| FileError::Content { path: path.into(), what })
    }

    /// Reads the description of the run and its position. It does not check the values or the checksum.
    ///
    /// # Errors
    /// If it is unreadable, no safetensors, a packed file, or says nothing that is understood.
    pub fn story(path: &Path) -> Result<(Value, Option<Progress>), FileError> {
        let bytes = Mapped::open(path)?;
        let told = deserialize(&bytes).and_then(|(_, metadata)| story(&metadata));
        told.map_err(|what| FileError::Content { path: path.into(), what })
    }

    /// Which network a file says that it holds; a file of version 1 does not say it. Its values are not looked at, and its
    /// checksum neither.
    ///
    /// # Errors
    /// If it is unreadable, no safetensors, or its header is not understood.
    pub fn arch(path: &Path) -> Result<Option<Arch>, FileError> {
        let bytes = Mapped::open(path)?;
        let header = deserialize(&bytes).and_then(|(_, metadata)| super::header(&metadata));
        let header = header.map_err(|what| FileError::Content { path: path.into(), what })?;
        Ok(header.map(|(arch, _)| arch))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// As [`Checkpoint::load`], without the file's name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, String> {
        let (file, metadata) = deserialize(bytes)?;
        let (run, progress) = story(&metadata)?;
        current(&file, &metadata)?;
        let (arch, parameters) = match super::header(&metadata)? {
            Some(header) => header,
            None => chain::of_checkpoint(&file, &run)?,
        };
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
        let saved = |parameter: Parameter| {
            let Parameter { name, shape, role } = &parameter;
            let has = |name: &str| file.tensor(name).is_ok();
            let [m, v] = ["m", "v"].map(|what| format!("{name}.{what}"));
            let moments = match has(&m) {
                true => Some(Moments { m: floats(&m, shape)?, v: floats(&v, shape)? }),
                false => None,
            };
            let name_of_trits = format!("{}.trits", parameter.base());
            let trits = match *role == Role::Ternary && has(&name_of_trits) {
                true => {
                    let [rows, cols] = parameter.matrix();
                    let trits = view(&name_of_trits, Dtype::U32, &[rows, words(cols)])?;
                    Some(bytemuck::pod_collect_to_vec(trits.data()))
                }
                false => None,
            };
            Ok(Saved { values: floats(name, shape)?, moments, trits, parameter })
        };
        let parameters = parameters.into_iter().map(saved).collect::<Result<Vec<_>, String>>()?;
        chain::check(&arch, parameters.iter().map(|saved| &saved.parameter), str::to_string)?;
        Ok(Checkpoint { arch, parameters, progress, run })
    }
}

/// Where the parameters lie in a file. The trits of a ternary parameter are those of its shadow weights.
pub(super) fn layout(bytes: &[u8]) -> Result<Layout, String> {
    let (file, metadata) = deserialize(bytes)?;
    let (about, _) = story(&metadata)?;
    current(&file, &metadata)?;
    let (arch, parameters) = match super::header(&metadata)? {
        Some(header) => header,
        None => chain::of_checkpoint(&file, &about)?,
    };
    let place = |parameter: &Parameter| {
        let Parameter { name, shape, role } = parameter;
        let view = file.tensor(name).map_err(|_| format!("has no tensor {name}"))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            let (found, at) = (view.dtype(), view.shape());
            return Err(format!("{name} is {found:?} {at:?}, expected F32 {shape:?}"));
        }
        let form = match role {
            Role::Ternary => {
                let [rows, cols] = parameter.matrix();
                Form::Trits(Matrix { rows, cols, scale: Scale::Own, read: foreign::shadows })
            }
            Role::Gain | Role::Float => Form::Floats(Element::F32),
        };
        Ok(Place::new(name, 0, range(bytes, &view), form))
    };
    let places = parameters.iter().map(place).collect::<Result<Vec<_>, String>>()?;
    Ok(Layout { about, ..Layout::new(arch, parameters, places) })
}

/// The description of the run and its position, from the metadata.
fn story(metadata: &BTreeMap<String, String>) -> Result<(Value, Option<Progress>), String> {
    if metadata.get("format").is_some_and(|format| format == packed::FORMAT) {
        return Err(
            "is a packed file, whose trits are not trained on: take the checkpoint that it was packed from"
                .into(),
        );
    }
    let json = |key: &str| metadata.get(key).map(String::as_str).unwrap_or("null");
    let misread = |key: &str, error| {
        format!("its metadata `{key}` is no {}", no_json("JSON of a run", json(key).as_bytes(), &error))
    };
    let run = serde_json::from_str(json("run")).map_err(|error| misread("run", error))?;
    let progress = serde_json::from_str(json("progress")).map_err(|error| misread("progress", error))?;
    Ok((run, progress))
}

/// The value of `format` that distinguishes our files from other safetensors files.
pub const FORMAT: &str = "sterna";

/// Checks that a file has a version that can be read, and that its checksum fits. A file without these entries
/// passes.
///
/// # Errors
/// If a check fails.
pub fn current(file: &SafeTensors, metadata: &BTreeMap<String, String>) -> Result<(), String> {
    schema(metadata.get("schema").map(String::as_str))?;
    match metadata.get("format").is_some_and(|format| format == FORMAT) || metadata.contains_key("sha256") {
        true => intact(file, metadata),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Checkpoint {
        let saved = |parameter: Parameter| {
            let (count, ternary) = (parameter.count(), parameter.role == Role::Ternary);
            Saved {
                values: (0..count).map(|i| i as f32 - 2.5).collect(),
                moments: Some(Moments { m: vec![0.25; count], v: vec![0.5; count] }),
                trits: ternary.then(|| vec![0x5555_5555; parameter.shape[0]]),
                parameter,
            }
        };
        let progress =
            Progress { epoch: 1, step: 7, loss: 0.1, hits: 3, noted: vec![0.05, 0.1], seconds: 0.7 };
        let parameters = chain::parameters(&[5, 3, 2], Role::Ternary).into_iter().map(saved).collect();
        let arch = chain::mlp(&[5, 3, 2], 1e-5, "ternary");
        Checkpoint { arch, parameters, progress: Some(progress), run: serde_json::json!({"seed": 7}) }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.safetensors");
        small().save(&path).expect("saved");
        assert_eq!(Checkpoint::load(&path).expect("loaded"), small());
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
        let [weight, gain] = [0, 1].map(|i| small().parameters[i].values.clone());
        let mut values = vec![("layers.0.weight", vec![3, 5], &weight), ("layers.0.gain", vec![5], &gain)];
        values.push(("layers.2.gain", vec![5], &gain));
        let views = values.iter().map(|(name, shape, values)| {
            let view =
                safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
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
        broken.parameters[2].parameter.shape = vec![2, 4];
        broken.parameters[2] =
            Saved { values: vec![0.0; 8], moments: None, trits: None, ..broken.parameters[2].clone() };
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
