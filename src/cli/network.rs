//! A network from a file onto a device, whatever kind of file it is.

use std::path::Path;

use serde_json::Value;

use super::{Failure, failure, shown};
use crate::checkpoint::Checkpoint;
use crate::formats::{Format, Mapped, Model};
use crate::gpu::Gpu;
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
    /// Of a checkpoint: of a ternary network the shadow weights, of its float twin the weights.
    Floats(Vec<Parameters>),
    Trits(Model),
}

impl Network {
    pub fn open(path: &Path) -> Result<Network, Failure> {
        let bytes = Mapped::open(path).map_err(failure)?;
        let network = if Format::of(&bytes) == Ok(Format::Checkpoint) {
            let file = Checkpoint::load(path).map_err(failure)?;
            let eps = file.run["rmsnorm_eps"].as_f64().unwrap_or(RMSNORM_EPS) as f32;
            let precision = serde_json::from_value(file.run["config"]["precision"].clone());
            let shape = Shape { dims: file.dims(), eps, precision: precision.unwrap_or_default() };
            let layers = file.layers.into_iter();
            let parameters = layers.map(|layer| Parameters { weight: layer.weight, gain: layer.gain });
            Network { shape, about: file.run, weights: Weights::Floats(parameters.collect()) }
        } else {
            let mut model = Model::open(path).map_err(failure)?;
            let shape = Shape { dims: model.dims(), eps: model.eps, precision: Precision::Ternary };
            Network { shape, about: model.about.take(), weights: Weights::Trits(model) }
        };
        let valid = network.shape.validate();
        valid.map_err(|width| failure(format!("{} has {width}", shown(path))))?;
        Ok(network)
    }

    /// The network on the device, its trits those of the file or quantised there.
    pub fn upload(&self, gpu: &Gpu) -> Result<Mlp, Failure> {
        let shape = self.shape.clone();
        let mlp = match &self.weights {
            Weights::Floats(parameters) => Mlp::upload(gpu, shape, parameters),
            Weights::Trits(model) => {
                let (packed, gains) = model.parts();
                Mlp::from_packed(gpu, shape, &packed, &gains)
            }
        };
        mlp.map_err(failure)
    }
}
