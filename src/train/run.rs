//! A run from where it stands to its end: how often it is saved, what an epoch leaves behind, and what is done when
//! numbers are no numbers any more. Knows no network, no data and no person: an [`Observer`] is told and asked.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Epoch, Evaluator, Fault, Heard, MODEL, RunFolder, Score, Source, Trainer};
use crate::gpu::Error;
use crate::model::Network;
use crate::parameter::Role;
use crate::store::{Arch, Checkpoint, FileError, Progress, SCHEMA};
use crate::ternary::Packed;

/// Who watches a run.
pub trait Observer {
    /// What is done of this epoch.
    fn progress(&mut self, heard: &Heard);

    /// Whether the run shall stop after the step that it is at.
    fn stop(&mut self) -> bool;

    /// An epoch ended with these scores and trits: what the file shall say of it.
    fn result(&mut self, epoch: &Epoch, trits: &[Packed]) -> Value;

    /// An epoch ended, and all its numbers are finite.
    fn epoch(&mut self, epoch: &Epoch, folder: &mut RunFolder);

    /// A value is no number any more, and the step where that began is looked for.
    fn diverging(&mut self);

    /// A file of the run was written or could not be: training goes on either way.
    fn written(&mut self, file: &'static str, outcome: Result<(), FileError>);
}

/// How a run ended.
pub enum Ended {
    /// All epochs are done; the trits of the weights, none of a float network.
    Finished(Vec<Packed>),
    /// The observer asked for it. What was done is saved.
    Interrupted,
    /// A value is no number any more: where that began, if not in the loss on the test set; and the step of the last
    /// good checkpoint.
    Diverged(Option<Fault>, usize),
}

/// Why a run broke off.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// Its first file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is nothing to begin with.
    #[error("the first weights are no numbers")]
    FirstWeights,
}

/// A run: a training, what scores it, and where its files are.
pub struct Run<N, S> {
    /// The training.
    pub trainer: Trainer<N, S>,
    /// Scores the network after each epoch.
    pub evaluator: Evaluator,
    /// Its files.
    pub folder: RunFolder,
    /// Which network it is.
    pub arch: Arch,
    /// What the run says of itself in the checkpoint.
    pub description: Value,
    /// What the last whole epoch said of itself.
    pub result: Value,
    /// The trits at the end of the last whole epoch, where they are known.
    pub trits: Option<Vec<Packed>>,
    /// Seconds of training of the epoch that goes on.
    pub seconds: f64,
    /// Seconds of training and evaluation before this start.
    pub elapsed: f64,
}

impl<N: Network, S: Source> Run<N, S> {
    /// Saves the run where it stands, before it is trained: whatever happens then, there is a file to go on from.
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

    /// Trains to the end, or says why it did not come to that. It saves after every epoch, and besides whenever so much
    /// time has passed. A run that diverges says so in its file, under `diverged`.
    ///
    /// # Errors
    /// If the device failed. The last checkpoint is whole then.
    pub fn train(&mut self, every: Option<Duration>, observer: &mut dyn Observer) -> Result<Ended, RunError> {
        let (begun, before) = (Instant::now(), self.elapsed + self.seconds);
        let epochs = self.trainer.recipe.epochs;
        let mut trits = match self.trits.take() {
            Some(trits) => trits,
            None => self.packed()?,
        };
        let mut good = self.snapshot(&trits)?.ok_or(RunError::FirstWeights)?;
        let mut saved = (self.trainer.steps(), Instant::now());
        while self.trainer.epoch < epochs {
            let started = Instant::now();
            let train = match observer.stop() {
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
                    let epoch = self.score(train, &mut trits, before + begun.elapsed().as_secs_f64())?;
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
            if observer.stop() && self.trainer.epoch < epochs {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Finished(trits))
    }

    /// The run as a file, unless a value in it is no number any more.
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

    /// The trits of the weights as they are now; none of a float network.
    fn packed(&self) -> Result<Vec<Packed>, Error> {
        self.trainer.network.params().packed(&self.trainer.gpu)
    }

    /// Scores the epoch that just ended, whose `trits` replace those of the epoch before.
    fn score(&mut self, train: Score, trits: &mut Vec<Packed>, elapsed_seconds: f64) -> Result<Epoch, Error> {
        let test = self.evaluator.score()?;
        let before = std::mem::replace(trits, self.packed()?);
        let flips: Vec<usize> = trits.iter().zip(&before).map(|(now, before)| now.flips(before)).collect();
        let weights: Vec<usize> = trits.iter().map(|packed| packed.rows * packed.cols).collect();
        let share = |flips: usize, weights: usize| flips as f64 / weights as f64;
        let zeros = |packed: &Packed| packed.histogram()[1] as f64 / (packed.rows * packed.cols) as f64;
        Ok(Epoch {
            epoch: self.trainer.epoch,
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
            seconds: std::mem::take(&mut self.seconds),
            elapsed_seconds,
            schema: SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
        })
    }
}
