//! A training run's file: float shadow weights, gains and optimizer moments as safetensors, the rest
//! as metadata. Knows files and shapes, nothing of the GPU and nothing of training.
//!
//! The file in three bullets:
//! - `layers.i.weight [rows, cols]` and `layers.i.gain [cols]`, f32, for `i = 0, 1, ...`;
//! - `layers.i.weight.m`, `.v`, `layers.i.gain.m`, `.v`: AdamW's moments, of the same shapes;
//! - metadata, all strings: `format = "sterna"`, `schema`, `sterna_version`, and `run`, a JSON object.
//!
//! A file with the first bullet alone, from PyTorch say, loads as well.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

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
}

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// First layer first.
    pub layers: Vec<Layer>,
    /// What the run says of itself; `Null` for a foreign file.
    pub run: serde_json::Value,
}

impl Checkpoint {
    /// Inputs, hidden widths, classes.
    pub fn dims(&self) -> Vec<usize> {
        self.layers.first().map(|l| l.cols).into_iter().chain(self.layers.iter().map(|l| l.rows)).collect()
    }

    /// Writes the file beside its place, syncs it and renames it: a reader sees the old or the new one.
    ///
    /// # Errors
    /// If the folder cannot be written or the disk is full; the old file is then untouched.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let [weight, gain] = [format!("layers.{i}.weight"), format!("layers.{i}.gain")];
            let [matrix, vector] = [vec![layer.rows, layer.cols], vec![layer.cols]];
            if let Some([of_weight, of_gain]) = &layer.moments {
                tensors.push((format!("{weight}.m"), matrix.clone(), &of_weight.m));
                tensors.push((format!("{weight}.v"), matrix.clone(), &of_weight.v));
                tensors.push((format!("{gain}.m"), vector.clone(), &of_gain.m));
                tensors.push((format!("{gain}.v"), vector.clone(), &of_gain.v));
            }
            tensors.push((weight, matrix, &layer.weight));
            tensors.push((gain, vector, &layer.gain));
        }
        let views = tensors.iter().map(|(name, shape, values)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            (name, view.expect("shape and length agree by construction"))
        });
        let metadata = HashMap::from([
            ("format".into(), "sterna".into()),
            ("schema".into(), SCHEMA.to_string()),
            ("sterna_version".into(), env!("CARGO_PKG_VERSION").into()),
            ("run".into(), self.run.to_string()),
        ]);
        let bytes =
            safetensors::serialize(views, Some(metadata)).expect("names are distinct and sizes agree");
        replace(path, &bytes)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is unreadable, no safetensors, lacks a tensor, or its shapes do not chain.
    pub fn load(path: &Path) -> Result<Checkpoint, FileError> {
        let bytes = std::fs::read(path).map_err(|reason| FileError::Read { path: path.into(), reason })?;
        parse(&bytes).map_err(|what| FileError::Content { path: path.into(), what })
    }
}

/// Replaces a file by a synced rename.
///
/// # Errors
/// If the folder cannot be written or the disk is full.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".sterna-");
        // Temporary files are private; a model is as readable as the user's umask lets files be.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    write().map_err(|reason| FileError::Write { path: path.into(), reason })
}

fn parse(bytes: &[u8]) -> Result<Checkpoint, String> {
    let no_model = |error: safetensors::SafeTensorError| format!("is no safetensors file: {error}");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(no_model)?;
    let file = SafeTensors::deserialize(bytes).map_err(no_model)?;
    let floats = |name: &str, shape: &[usize]| -> Result<Vec<f32>, String> {
        let view = file.tensor(name).map_err(|_| format!("has no tensor {name}"))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(format!("{name} is {:?} {:?}, expected F32 {shape:?}", view.dtype(), view.shape()));
        }
        Ok(bytemuck::pod_collect_to_vec(view.data()))
    };
    let mut layers: Vec<Layer> = Vec::new();
    for i in 0.. {
        let [weight, gain] = [format!("layers.{i}.weight"), format!("layers.{i}.gain")];
        let Ok(view) = file.tensor(&weight) else { break };
        let &[rows, cols] = view.shape() else {
            return Err(format!("{weight} has shape {:?}, expected a matrix", view.shape()));
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
            weight: floats(&weight, &[rows, cols])?,
            gain: floats(&gain, &[cols])?,
        });
    }
    if layers.is_empty() {
        return Err("has no tensor layers.0.weight: expected a model that `sterna train` wrote".into());
    }
    let number = |name: &str| name.strip_prefix("layers.")?.split('.').next()?.parse::<usize>().ok();
    if let Some(name) = file.names().into_iter().find(|name| number(name).is_some_and(|i| i >= layers.len()))
    {
        return Err(format!("has {name}, but no layers.{}.weight before it", layers.len()));
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    if let Some(schema) = metadata.get("schema").filter(|schema| **schema != SCHEMA.to_string()) {
        return Err(format!(
            "has schema {schema}, this version reads {SCHEMA}: use the version that wrote it"
        ));
    }
    let run = metadata.get("run").map(|run| serde_json::from_str(run));
    let run = run.transpose().map_err(|error| format!("its metadata `run` is no JSON: {error}"))?;
    Ok(Checkpoint { layers, run: run.unwrap_or_default() })
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
        };
        Checkpoint { layers: vec![layer(3, 5), layer(2, 3)], run: serde_json::json!({"step": 7}) }
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
            assert!(parse(&bytes[..end]).is_err(), "cut at {end}");
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
        assert_eq!(parse(&bytes), Err("has layers.2.gain, but no layers.1.weight before it".into()));
    }

    #[test]
    fn shapes_that_do_not_chain_are_refused() {
        let mut broken = small();
        broken.layers[1] = Layer {
            moments: None,
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
