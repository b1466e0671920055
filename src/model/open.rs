//! Loads a network from a file of any format to a device.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use super::{Mlp, Params, Shape};
use crate::gpu::{Error, Gpu};
use crate::store::{Checkpoint, FileError, Format, Imported, Mapped, Model, Reading, Values};

/// A network from a file. The kernels can run its shape.
///
/// ```no_run
/// use sterna::model::{Opened, logits};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = sterna::Gpu::new(&sterna::gpu::Choice::default())?;
/// let network = Opened::open("model.safetensors".as_ref())?.upload(&gpu)?;
/// let logits = logits(&gpu, &network, &[0u8; 784])?;
/// # Ok(())
/// # }
/// ```
pub struct Opened {
    /// The network's constants.
    pub shape: Shape,
    /// The origin of the network.
    pub about: Value,
    /// Assumptions about a file of another program, and tensors that were left out, in one clause each.
    pub notes: Vec<String>,
    weights: Weights,
}

enum Weights {
    /// The weights of a float network, or the shadow weights of a ternary one.
    Floats(Checkpoint),
    Trits(Model),
}

impl Opened {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that names the file, if it cannot be read or holds no network that runs here.
    pub fn open(path: &Path) -> Result<Opened, FileError> {
        let bytes = Mapped::open(path)?;
        let content = |what| FileError::Content { path: path.into(), what };
        let opened = if Format::of(&bytes) == Ok(Format::Checkpoint) {
            let mut file = Checkpoint::from_bytes(&bytes).map_err(content)?;
            // The moments are two thirds of the memory, and nothing here needs them.
            file.parameters.iter_mut().for_each(|saved| saved.moments = None);
            let (shape, about) = (Shape::of(&file.arch).map_err(content)?, file.run.clone());
            Opened { shape, about, notes: Vec::new(), weights: Weights::Floats(file) }
        } else {
            Opened::with_notes(Model::import_mapped(path, &bytes, &Reading::default())?).map_err(content)?
        };
        opened.shape.validate().map_err(|width| content(format!("has {width}")))?;
        Ok(opened)
    }

    fn with_notes(imported: Imported) -> Result<Opened, String> {
        let Imported { mut model, mut notes, warnings, .. } = imported;
        notes.extend(warnings);
        let (shape, about) = (Shape::of(&model.arch)?, model.about.take());
        Ok(Opened { shape, about, notes, weights: Weights::Trits(model) })
    }

    /// The ternary network, as the CPU computes it.
    ///
    /// # Errors
    /// If it is a float network. The text does not name the file.
    pub fn model(&self) -> Result<Cow<'_, Model>, String> {
        match &self.weights {
            Weights::Floats(file) => file.deployed().map(Cow::Owned),
            Weights::Trits(model) => Ok(Cow::Borrowed(model)),
        }
    }

    /// The network on the device. Its trits come from the file, or the device quantises them.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn upload(&self, gpu: &Gpu) -> Result<Mlp, Error> {
        match &self.weights {
            Weights::Floats(file) => {
                let values: Vec<&[f32]> = file.parameters.iter().map(|saved| &saved.values[..]).collect();
                Mlp::upload(gpu, self.shape.clone(), &values)
            }
            Weights::Trits(model) => Mlp::from_model(gpu, model),
        }
    }
}

impl Params {
    /// Parameters with the values of a file. Their trits have equal bits.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn stored(gpu: &Gpu, model: &Model) -> Result<Params, Error> {
        let parameters: Vec<_> = model.parameters.iter().map(|weights| weights.parameter.clone()).collect();
        let params = Params::zeros(gpu, &parameters)?;
        params.write_trits(gpu, model.matrices());
        for (param, weights) in params.iter().zip(&model.parameters) {
            if let Values::Floats(floats) = &weights.values {
                gpu.write(&param.value, floats);
            }
        }
        Ok(params)
    }
}
