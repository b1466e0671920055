//! A run from its current position to its end: checkpoints, the record of each epoch, and the reaction to values that
//! are not finite. This module knows no network and no data. It reports to an [`Observer`] and asks it for decisions.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Epoch, Evaluator, ExchangeError, Fault, Heard, MODEL, RunFolder, Score, Source, TrainError, Trainer,
};
use crate::gpu::Error;
use crate::model::Network;
use crate::parameter::Role;
use crate::store::{Arch, Checkpoint, FileError, Progress, SCHEMA};
use crate::ternary::Packed;

/// The observer of a run.
pub trait Observer {
    /// Receives the progress of the current epoch.
    fn progress(&mut self, heard: &Heard);

    /// Returns whether the run must stop after the current step.
    fn stop(&mut self) -> bool;

    /// Receives the scores and trits of an epoch that ended, and returns the text about it for the checkpoint.
    fn result(&mut self, epoch: &Epoch, trits: &[Packed]) -> Value;

    /// Returns an example of the output of the network after an epoch, if there is one to record.
    fn sample(&mut self) -> Option<String> {
        None
    }

    /// Receives an epoch that ended with finite values only.
    fn epoch(&mut self, epoch: &Epoch, folder: &mut RunFolder);

    /// Learns that a value is not finite. The run then searches for the step where this began.
    fn diverging(&mut self);

    /// Learns that a file of the run was written, or that writing failed. Training continues in both cases.
    fn written(&mut self, file: &'static str, outcome: Result<(), FileError>);
}

/// The way in which a run ended.
pub enum Ended {
    /// All epochs are complete. It holds the trits of the weights, which are empty for a float network.
    Finished(Vec<Packed>),
    /// The observer requested the stop. The state is saved.
    Interrupted,
    /// A value is not finite. It holds the first fault, if it is not in the loss of the evaluation, and the step of the
    /// last good checkpoint.
    Diverged(Option<Fault>, usize),
}

/// The reason why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// The exchange with the other ranks failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The first checkpoint cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The initial weights are not finite.
    #[error("the first weights are no numbers")]
    FirstWeights,
}

impl From<TrainError> for RunError {
    fn from(error: TrainError) -> RunError {
        match error {
            TrainError::Device(error) => RunError::Device(error),
            TrainError::Exchange(error) => RunError::Exchange(error),
        }
    }
}

/// A run: a training, its evaluation and its files.
pub struct Run<N, S> {
    /// The training.
    pub trainer: Trainer<N, S>,
    /// The evaluation after each epoch.
    pub evaluator: Evaluator,
    /// Its files.
    pub folder: RunFolder,
    /// The network and its settings.
    pub arch: Arch,
    /// The run's description of itself for the checkpoint.
    pub description: Value,
    /// The result of the last whole epoch, as JSON.
    pub result: Value,
    /// The trits at the end of the last whole epoch, if they are known.
    pub trits: Option<Vec<Packed>>,
    /// Seconds of training in the current epoch.
    pub seconds: f64,
    /// Seconds of training and evaluation before this start.
    pub elapsed: f64,
}

impl<N: Network, S: Source> Run<N, S> {
    /// Saves the state before any training, so that there is always a checkpoint to continue from.
    ///
    /// # Errors
    /// If the device failed, or the file cannot be written.
    pub fn begin(&mut self) -> Result<(), RunError> {
        let trits = match self.trits.take() {
            Some(trits) => trits,
            None => self.packed()?,
        };
        let file = self.snapshot(&trits)?.ok_or(RunError::FirstWeights)?;
        self.trits = Some(trits);
        Ok(self.folder.write(MODEL, &file.to_bytes())?)
    }

    /// Trains to the end, or returns the reason for an earlier stop. It saves after every epoch, and also at
    /// intervals of `every`. A run that diverges notes this in its checkpoint under `diverged`.
    ///
    /// # Errors
    /// If the device failed. The last checkpoint is then still complete.
    pub fn train(&mut self, every: Option<Duration>, observer: &mut dyn Observer) -> Result<Ended, RunError> {
        let (begun, before) = (Instant::now(), self.elapsed + self.seconds);
        let mut trits = match self.trits.take() {
            Some(trits) => trits,
            None => self.packed()?,
        };
        let mut good = self.snapshot(&trits)?.ok_or(RunError::FirstWeights)?;
        let mut saved = (self.trainer.steps(), Instant::now());
        while !self.trainer.is_done() {
            let started = Instant::now();
            let train = match self.trainer.any(observer.stop())? {
                true => None,
                false => self.trainer.run(&mut |heard| {
                    observer.progress(heard);
                    match observer.stop() || every.is_some_and(|every| saved.1.elapsed() >= every) {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                })?,
            };
            self.seconds += started.elapsed().as_secs_f64();
            let epoch = match train {
                Some(train) => {
                    let mut epoch = self.score(train, &mut trits, before + begun.elapsed().as_secs_f64())?;
                    epoch.sample = if epoch.is_finite() { observer.sample() } else { None };
                    self.result = observer.result(&epoch, &trits);
                    Some(epoch)
                }
                None => None,
            };
            match self.snapshot(&trits)?.filter(|_| epoch.as_ref().is_none_or(Epoch::is_finite)) {
                Some(file) => good = file,
                None => {
                    let until = self.trainer.steps();
                    observer.diverging();
                    let fault = self.trainer.first_fault(&good, until)?;
                    good.run["diverged"] = json!(fault.as_ref().map_or(until, |fault| fault.step));
                    observer.written(MODEL, self.folder.write(MODEL, &good.to_bytes()));
                    return Ok(Ended::Diverged(fault, saved.0));
                }
            }
            if let Some(epoch) = epoch {
                observer.written("metrics.jsonl", self.folder.append(&epoch));
                observer.epoch(&epoch, &mut self.folder);
            }
            let written = self.folder.write(MODEL, &good.to_bytes());
            saved = (if written.is_ok() { self.trainer.steps() } else { saved.0 }, Instant::now());
            observer.written(MODEL, written);
            if self.trainer.any(observer.stop())? && !self.trainer.is_done() {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Finished(trits))
    }

    /// The state as a checkpoint. It is `None` if a value is not finite.
    fn snapshot(&self, trits: &[Packed]) -> Result<Option<Checkpoint>, Error> {
        let mut run = self.description.clone();
        run["result"] = self.result.clone();
        let mut file = self.trainer.checkpoint(&self.arch, run)?;
        let ternary = file.parameters.iter_mut().filter(|saved| saved.parameter.role == Role::Ternary);
        for (saved, packed) in ternary.zip(trits) {
            saved.trits = Some(packed.words.clone());
        }
        file.progress = file.progress.map(|progress| Progress { seconds: self.seconds, ..progress });
        Ok(Some(file).filter(Checkpoint::is_finite))
    }

    /// The trits of the current weights. It is empty for a float network.
    fn packed(&self) -> Result<Vec<Packed>, Error> {
        self.trainer.network.params().packed(&self.trainer.gpu)
    }

    /// Scores the epoch that just ended. The new trits replace `trits`, which are those of the previous epoch.
    fn score(&mut self, train: Score, trits: &mut Vec<Packed>, elapsed_seconds: f64) -> Result<Epoch, Error> {
        let test = self.evaluator.score()?;
        let before = std::mem::replace(trits, self.packed()?);
        let flips: Vec<usize> = trits.iter().zip(&before).map(|(now, before)| now.flips(before)).collect();
        let weights: Vec<usize> = trits.iter().map(|packed| packed.rows * packed.cols).collect();
        let share = |flips: usize, weights: usize| flips as f64 / weights as f64;
        let zeros = |packed: &Packed| packed.histogram()[1] as f64 / (packed.rows * packed.cols) as f64;
        Ok(Epoch {
            epoch: self.trainer.steps().div_ceil(self.trainer.steps_per_epoch()),
            step: self.trainer.steps(),
            lr: self.trainer.rate(),
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            flips: (!trits.is_empty()).then(|| share(flips.iter().sum(), weights.iter().sum())),
            layer_flips: flips
                .into_iter()
                .zip(weights)
                .map(|(flips, weights)| share(flips, weights))
                .collect(),
            zeros: trits.iter().map(zeros).collect(),
            losses_every: self.trainer.losses_every(),
            losses: self.trainer.losses.clone(),
            sample: None,
            seconds: std::mem::take(&mut self.seconds),
            elapsed_seconds,
            schema: SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
        })
    }
}
