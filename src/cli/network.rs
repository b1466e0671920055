//! A network from a file onto a device, whatever kind of file it is.

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::{Failure, failure, shown};
use crate::checkpoint::{Checkpoint, FileError};
use crate::formats::{Format, Imported, Mapped, Model, Reading};
use crate::gpu::{Error, Gpu};
use crate::model::{Mlp, Parameters, Precision, Shape};
use crate::ternary::RMSNORM_EPS;

/// A network as its file has it, of a shape that the kernels can run.
pub struct Network {
    pub shape: Shape,
    /// What made it.
    pub about: Value,
    weights: Weights,
}

enum Weights {
    /// Of a ternary network the shadow weights, of its float twin the weights.
    Floats(Checkpoint),
    Trits(Model),
}

impl Network {
    /// Reads a file, and says on stderr what was assumed and what is left out of one that is not ours.
    pub fn open(path: &Path) -> Result<Network, Failure> {
        let bytes = Mapped::open(path).map_err(failure)?;
        let network = if Format::of(&bytes) == Ok(Format::Checkpoint) {
            let file = Checkpoint::from_bytes(&bytes);
            let mut file = file.map_err(|what| failure(FileError::Content { path: path.into(), what }))?;
            // Two thirds of it, which nothing here asks for.
            file.layers.iter_mut().for_each(|layer| layer.moments = None);
            let eps = file.run["rmsnorm_eps"].as_f64().unwrap_or(RMSNORM_EPS) as f32;
            let precision = serde_json::from_value(file.run["config"]["precision"].clone());
            let shape = Shape { dims: file.dims(), eps, precision: precision.unwrap_or_default() };
            Network { shape, about: file.run.clone(), weights: Weights::Floats(file) }
        } else {
            let imported = Model::import_mapped(path, &bytes, &Reading::default()).map_err(failure)?;
            let Imported { mut model, notes, .. } = imported;
            super::tell_notes(path, &notes);
            let shape = Shape { dims: model.dims(), eps: model.eps, precision: Precision::Ternary };
            Network { shape, about: model.about.take(), weights: Weights::Trits(model) }
        };
        let valid = network.shape.validate();
        valid.map_err(|width| failure(format!("{} has {width}", shown(path))))?;
        Ok(network)
    }

    /// The ternary network that the CPU finds in it.
    pub fn model(&self, path: &Path) -> Result<Cow<'_, Model>, Failure> {
        match &self.weights {
            Weights::Floats(file) => Model::of(file)
                .map(Cow::Owned)
                .map_err(|what| failure(FileError::Content { path: path.into(), what })),
            Weights::Trits(model) => Ok(Cow::Borrowed(model)),
        }
    }

    /// The network on the device, its trits those of the file or quantised there.
    pub fn upload(&self, gpu: &Gpu) -> Result<Mlp, Failure> {
        let shape = self.shape.clone();
        let mlp = match &self.weights {
            Weights::Floats(file) => {
                let layers = file.layers.iter();
                let parameters =
                    layers.map(|layer| Parameters { weight: layer.weight.clone(), gain: layer.gain.clone() });
                Mlp::upload(gpu, shape, &parameters.collect::<Vec<_>>())
            }
            Weights::Trits(model) => {
                let (packed, gains) = model.parts();
                Mlp::from_packed(gpu, shape, &packed, &gains)
            }
        };
        mlp.map_err(failure)
    }
}

/// The logits of every image, in as few batches as the adapter allows, and milliseconds for each.
pub fn logits(gpu: &Gpu, mlp: &Mlp, images: &[&[u8]]) -> Result<(Vec<Vec<f32>>, f64), Error> {
    let classes = mlp.shape.dims[mlp.shape.dims.len() - 1];
    let (mut all, mut seconds) = (Vec::new(), 0.0);
    for batch in images.chunks(mlp.batch_that_fits(gpu, images.len())) {
        let on = mlp.activations(gpu, batch.len())?;
        let mut forward = mlp.forward(gpu, &on);
        forward.extend(mlp.logits(gpu, &on));
        let pixels: Vec<i32> = batch.iter().copied().flatten().map(|&pixel| pixel.into()).collect();
        let run = || {
            gpu.write(&on.pixels, &pixels);
            gpu.run(&forward)?;
            gpu.download::<f32>(&on.logits)
        };
        run()?;
        let start = Instant::now();
        let logits = run()?;
        seconds += start.elapsed().as_secs_f64();
        all.extend(logits.chunks_exact(classes).map(<[f32]>::to_vec));
    }
    Ok((all, 1e3 * seconds / images.len() as f64))
}

/// Refuses logits that are no numbers, which the finite scales and gains of a file may still come to.
pub fn finite<'a>(
    path: &Path,
    image: impl Fn(usize) -> String,
    logits: impl Iterator<Item = &'a [f32]>,
) -> Result<(), Failure> {
    for (i, logits) in logits.enumerate() {
        if let Some(class) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(failure(format!(
                "{}: {} has for class {class} the logit {}, expected a number: a scale or a gain is too large",
                shown(path),
                image(i),
                logits[class]
            )));
        }
    }
    Ok(())
}
