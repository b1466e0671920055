//! Interruption and continuation of training: state to a checkpoint and back with equal bits. It also finds the step
//! at which values stopped being finite.

use std::ops::ControlFlow;

use super::{Source, TrainError, Trainer};
use crate::gpu::{Dtype, Error, Op, Tensor};
use crate::model::{Network, Param};
use crate::parameter::Parameter;
use crate::store::{Arch, Checkpoint, Moments, Progress, Saved};

/// The place where a value first became infinite or NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The step, counted from 1 over the whole run.
    pub step: usize,
    /// The kernel that wrote the value.
    pub kernel: &'static str,
    /// The tensor. Its name contains that of its parameter: `layers.0.weight.grad`.
    pub tensor: String,
}

impl<N: Network, S: Source> Trainer<N, S> {
    /// The state of the run as a checkpoint: parameters, moments, position, network, and `run`, the run's description
    /// of itself. The caller adds [`Saved::trits`] and [`Progress::seconds`], because only the caller knows them.
    ///
    /// # Errors
    /// If the device failed.
    pub fn checkpoint(&self, arch: &Arch, run: serde_json::Value) -> Result<Checkpoint, Error> {
        let gpu = &self.gpu;
        let saved = |param: &Param| {
            let (m, v) = (gpu.download(&param.moments().m)?, gpu.download(&param.moments().v)?);
            let (parameter, values) = (param.parameter.clone(), gpu.download(param.value())?);
            Ok(Saved { parameter, values, moments: Some(Moments { m, v }), trits: None })
        };
        let parameters = self.network.params().iter().map(saved).collect::<Result<_, Error>>()?;
        let progress = Progress {
            epoch: self.epoch,
            step: self.done,
            loss: if self.done > 0 { gpu.download(&self.totals.loss)?[0] } else { 0.0 },
            hits: if self.done > 0 { gpu.download(&self.totals.hits)?[0] } else { 0 },
            noted: gpu.download(&self.notes.sums)?[..self.notes.count(self.done)].to_vec(),
            seconds: 0.0,
        };
        Ok(Checkpoint { arch: arch.clone(), parameters, progress: Some(progress), run })
    }

    /// Sets the training to the state of a checkpoint of the same network.
    ///
    /// # Panics
    /// If the file has no moments or no progress, or if its parameters differ from those of the network.
    ///
    /// # Errors
    /// If the device failed.
    pub fn restore(&mut self, from: &Checkpoint) -> Result<(), Error> {
        let params = self.network.params();
        let [own, its]: [Vec<&Parameter>; 2] = [
            params.iter().map(|param| &param.parameter).collect(),
            from.parameters.iter().map(|saved| &saved.parameter).collect(),
        ];
        assert_eq!(own, its, "Trainer::restore: the parameters");
        let progress = from.progress.as_ref().expect("the caller has a file that can be trained on");
        let gpu = &self.gpu;
        for (param, saved) in params.iter().zip(&from.parameters) {
            let moments = saved.moments.as_ref().expect("the caller has a file with moments");
            gpu.write(param.value(), &saved.values);
            gpu.write(&param.moments().m, &moments.m);
            gpu.write(&param.moments().v, &moments.v);
        }
        gpu.write(&self.totals.loss, &[progress.loss]);
        gpu.write(&self.totals.hits, &[progress.hits]);
        // If a file has no notes, its loss is spread evenly over the steps.
        let count = self.notes.count(progress.step);
        let even = |i: usize| progress.loss * (i * self.notes.every) as f32 / progress.step as f32;
        let mut noted = progress.noted.clone();
        noted.extend((noted.len() + 1..=count).map(even));
        noted.truncate(count);
        self.losses = self.means()(&noted);
        noted.resize(self.notes.sums.len(), 0.0);
        gpu.write(&self.notes.sums, &noted);
        gpu.run(&params.quantize(gpu))?;
        (self.epoch, self.done) = (progress.epoch, progress.step);
        Ok(())
    }

    /// Repeats the run from a checkpoint, at most to step `until`, and returns the place where a value first became
    /// infinite or NaN. A run repeats with equal bits, so the same fault occurs again.
    ///
    /// # Errors
    /// If the device failed, or the exchange with the other ranks.
    pub fn first_fault(&mut self, from: &Checkpoint, until: usize) -> Result<Option<Fault>, TrainError> {
        self.restore(from)?;
        let mut before = from.clone();
        while self.steps() < until {
            let score = self.run_to(self.done + 1, &mut |_| ControlFlow::Continue(()))?;
            let after = self.checkpoint(&from.arch, serde_json::Value::Null)?;
            if after.is_finite() && score.is_none_or(|score| score.loss.is_finite()) {
                before = after;
                continue;
            }
            // The fault is in this step. It is repeated from its beginning, one dispatch at a time.
            let step = self.steps();
            self.restore(&before)?;
            self.aim();
            if self.micro.is_some() {
                return self.micro_fault();
            }
            let ops = self.steps.step(self.done).to_vec();
            for op in ops {
                self.gpu.run([&op])?;
                if let Some(fault) = self.fault_of(&op, step)? {
                    return Ok(Some(fault));
                }
            }
        }
        Ok(None)
    }

    /// Repeats the next step, one dispatch at a time, and returns the place where a value is not finite. All ranks take
    /// part. A rank finds a fault in its own micro-batches first.
    fn micro_fault(&self) -> Result<Option<Fault>, TrainError> {
        let micro = self.micro.as_ref().expect("a training with micro-batches");
        let (position, step) = (self.done * self.recipe.batch, self.steps());
        let items = self.recipe.batch.min(self.items() - position);
        let mut fault = None;
        let mut watch = |op: &Op| {
            if fault.is_none() {
                fault = self.fault_of(op, step + 1)?;
            }
            Ok(())
        };
        micro.step(&self.gpu, [step, position], items, &self.totals.clock, false, &mut Some(&mut watch))?;
        Ok(fault)
    }

    /// The place of a value that is not finite, if this op has just written one.
    fn fault_of(&self, op: &Op, step: usize) -> Result<Option<Fault>, Error> {
        let Some(tensor) = self.not_finite(op.tensors())? else { return Ok(None) };
        // A tensor may hold many parameters. Find the one with the fault.
        let parts: Vec<Tensor> = self.network.params().parts(tensor).into_iter().cloned().collect();
        let tensor = self.not_finite(&parts)?.unwrap_or(tensor).label().into();
        Ok(Some(Fault { step, kernel: op.name(), tensor }))
    }

    /// The first of these tensors, if any, with a float that is not finite.
    fn not_finite<'a>(&self, tensors: &'a [Tensor]) -> Result<Option<&'a Tensor>, Error> {
        for tensor in tensors.iter().filter(|tensor| tensor.dtype() == Dtype::F32) {
            if !self.gpu.download::<f32>(tensor)?.iter().all(|value| value.is_finite()) {
                return Ok(Some(tensor));
            }
        }
        Ok(None)
    }
}
