//! A training that is put down and taken up again: into a checkpoint and back, to the bit, and back in
//! memory to find where numbers stopped being finite.

use std::ops::ControlFlow;

use super::Trainer;
use crate::checkpoint::{Checkpoint, Layer, Moments, Progress};
use crate::gpu::{Dtype, Error, Tensor};
use crate::kernels;

/// Where a value was first infinite or no number.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The step, counted from 1 over the whole run.
    pub step: usize,
    /// The kernel that wrote it.
    pub kernel: &'static str,
    /// The tensor, which names its layer: `layers.0.weight.grad`.
    pub tensor: String,
}

impl Trainer {
    /// The run as a file: parameters, moments, where it stands, and `run`, what it says of itself. The caller
    /// adds what it alone knows, [`Layer::trits`] and [`Progress::seconds`].
    ///
    /// # Errors
    /// If the device failed.
    pub fn checkpoint(&self, run: serde_json::Value) -> Result<Checkpoint, Error> {
        let gpu = &self.gpu;
        let moments = |of: &kernels::Moments| {
            Ok::<_, Error>(Moments { m: gpu.download(&of.m)?, v: gpu.download(&of.v)? })
        };
        let layers = self.mlp.layers.iter().zip(self.mlp.shape.layers()).map(|(layer, [rows, cols])| {
            Ok(Layer {
                rows,
                cols,
                weight: gpu.download(&layer.weight)?,
                gain: gpu.download(&layer.gain)?,
                moments: Some([moments(&layer.weight_moments)?, moments(&layer.gain_moments)?]),
                trits: None,
            })
        });
        let progress = Progress {
            epoch: self.epoch,
            step: self.done,
            loss: if self.done > 0 { gpu.download(&self.data.totals.loss)?[0] } else { 0.0 },
            hits: if self.done > 0 { gpu.download(&self.data.totals.hits)?[0] } else { 0 },
            seconds: 0.0,
        };
        Ok(Checkpoint { layers: layers.collect::<Result<_, Error>>()?, progress: Some(progress), run })
    }

    /// Puts the training where a checkpoint of the same network was written.
    ///
    /// # Panics
    /// If the file has no moments or no progress, or its shapes are not the network's.
    ///
    /// # Errors
    /// If the device failed.
    pub fn restore(&mut self, from: &Checkpoint) -> Result<(), Error> {
        assert_eq!(from.dims(), self.mlp.shape.dims, "Trainer::restore: the layer widths");
        let progress = from.progress.expect("the caller has a file that can be trained on");
        let gpu = &self.gpu;
        for (layer, from) in self.mlp.layers.iter().zip(&from.layers) {
            let [weight, gain] = from.moments.as_ref().expect("the caller has a file with moments");
            gpu.write(&layer.weight, &from.weight);
            gpu.write(&layer.gain, &from.gain);
            for (to, from) in [(&layer.weight_moments, weight), (&layer.gain_moments, gain)] {
                gpu.write(&to.m, &from.m);
                gpu.write(&to.v, &from.v);
            }
        }
        gpu.write(&self.data.totals.loss, &[progress.loss]);
        gpu.write(&self.data.totals.hits, &[progress.hits]);
        gpu.run(&self.mlp.quantize(gpu))?;
        (self.epoch, self.done) = (progress.epoch, progress.step);
        Ok(())
    }

    /// Replays the run from a checkpoint, to step `until` at most, and says where a value was first infinite or
    /// no number. A run repeats to the bit, so what went wrong goes wrong again.
    ///
    /// # Errors
    /// If the device failed.
    pub fn first_fault(&mut self, from: &Checkpoint, until: usize) -> Result<Option<Fault>, Error> {
        self.restore(from)?;
        let mut before = from.clone();
        while self.steps() < until {
            let score = self.run_to(self.done + 1, &mut |_| ControlFlow::Continue(()))?;
            let after = self.checkpoint(serde_json::Value::Null)?;
            if after.is_finite() && score.is_none_or(|score| score.loss.is_finite()) {
                before = after;
                continue;
            }
            // This step did it: once more from its beginning, one dispatch after the other.
            let step = self.steps();
            self.restore(&before)?;
            self.aim();
            let ops = self.plan.step(self.done).ops.clone();
            for op in ops {
                self.gpu.run([&op])?;
                if let Some(tensor) = self.not_finite(op.tensors())? {
                    // Of a tensor that all layers share, whose part it is.
                    let parts: Vec<Tensor> = self.mlp.parts(tensor).into_iter().cloned().collect();
                    let tensor = self.not_finite(&parts)?.unwrap_or(tensor).label().into();
                    return Ok(Some(Fault { step, kernel: op.name(), tensor }));
                }
            }
        }
        Ok(None)
    }

    /// The first of the float tensors that holds a value which is no number.
    fn not_finite<'a>(&self, tensors: &'a [Tensor]) -> Result<Option<&'a Tensor>, Error> {
        for tensor in tensors.iter().filter(|tensor| tensor.dtype() == Dtype::F32) {
            if !self.gpu.download::<f32>(tensor)?.iter().all(|value| value.is_finite()) {
                return Ok(Some(tensor));
            }
        }
        Ok(None)
    }
}
