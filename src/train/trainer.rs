//! Training and evaluation of any network on any data.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::micro::Micro;
use super::steps::{Notes, Pace, Steps};
use super::{Alone, Exchange, ExchangeError};
use crate::gpu::{Error, Fill, Gpu, Host, Op, Plan, Tensor};
use crate::kernels::Totals;
use crate::model::{BATCH, Network, Pass, Scoring, Update};

/// A source of batches for an epoch.
pub trait Source {
    /// Number of items in an epoch.
    fn items(&self) -> usize;

    /// Number of labels in an epoch that count. The sum of the losses is divided by this number.
    fn labels(&self) -> usize;

    /// The tensors that the host writes before the first step of an epoch, or before a step after a pause.
    fn aim(&self) -> Vec<(Tensor, Fill)>;

    /// The ops that write a batch to `pass.input` and `pass.labels`. `clock` is `u32 [2]`. It holds the step and the
    /// first item of the batch.
    fn fill(&self, gpu: &Gpu, clock: &Tensor, pass: &Pass) -> Vec<Op>;
}

/// The settings of training.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Items per step.
    pub batch: usize,
    /// Label smoothing: the share of the target that is spread over all classes.
    pub smoothing: f32,
    /// Whether ternary parameters keep float shadow weights.
    pub shadow: bool,
    /// The rule by which gradients change the parameters.
    pub update: Update,
    /// The learning rate of every step. The number of rates is the number of steps of the training.
    pub rates: Vec<f64>,
    /// The decoupled weight decay of every step: `rate decay` of a weight that decays.
    pub decays: Vec<f64>,
    /// The largest norm of all gradients together. Gradients with a larger norm are scaled to it.
    pub clip: Option<f32>,
    /// Number of micro-batches of a step, at most [`MOST_TERMS`](crate::kernels::MOST_TERMS) and at most the batch.
    /// Their gradients are added as fixed-point integers, so the result does not depend on the number of ranks. Without
    /// micro-batches one device computes the whole batch in floats.
    pub micro_batches: Option<usize>,
}

/// The reason why training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// The exchange with the other ranks failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// Loss and accuracy over a number of items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Share of labels with the largest logit, 0 to 1.
    pub accuracy: f64,
}

impl Score {
    /// `exp(loss)`: the number of equally probable classes with the same loss.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }

    /// `loss / ln 2`: bits per label. Where a label is a character, this is bits per character.
    pub fn bits(&self) -> f64 {
        self.loss / std::f64::consts::LN_2
    }
}

/// The progress of the current epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// Number of completed items.
    pub items: usize,
    /// The values of [`Trainer::losses`] that have arrived from the device.
    pub losses: Vec<f32>,
    /// The value of [`Trainer::losses_every`].
    pub losses_every: usize,
}

/// Reads the score from the sums of loss and hits over `count` labels.
fn read(gpu: &Gpu, totals: &Totals, count: usize) -> Result<Score, Error> {
    let loss = gpu.download::<f32>(&totals.loss)?[0];
    let hits = gpu.download::<u32>(&totals.hits)?[0];
    Ok(Score { loss: f64::from(loss) / count as f64, accuracy: f64::from(hits) / count as f64 })
}

/// The class with the largest of `width` logits, for each row.
pub fn classes(logits: &[f32], width: usize) -> Vec<usize> {
    // Among equal logits the first one counts, as in softmax_xent.
    let best = |row: &[f32]| (0..width).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
    logits.chunks_exact(width).map(|row| best(row).expect("a network has a class")).collect()
}

/// Scores a network on all items of a source.
pub struct Evaluator {
    gpu: Gpu,
    totals: Totals,
    labels: usize,
    steps: Steps,
}

impl Evaluator {
    /// Binds the forward pass over a source.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn on(gpu: &Gpu, network: &dyn Network, source: &dyn Source) -> Result<Evaluator, Error> {
        let totals = Totals::zeros(gpu, "test.totals")?;
        let scoring = Scoring { totals: &totals, smoothing: 0.0, learns: false };
        let step = |batch: usize| {
            let pass = network.bind(gpu, batch, Some(scoring))?;
            let mut ops = source.fill(gpu, &totals.clock, &pass);
            Op::mark(&mut ops, "batch");
            ops.extend(pass.forward);
            ops.extend(pass.loss);
            Ok(ops)
        };
        // An item may have many labels, and each has a row of every tensor.
        let each = source.labels().div_ceil(source.items());
        let mut batch = (BATCH / each).clamp(1, source.items());
        // The largest batch that the adapter can bind. The number is halved until it fits.
        while let Err(error) = step(batch) {
            match error {
                Error::TooLarge { .. } if batch > 1 => batch /= 2,
                _ => return Err(error),
            }
        }
        let steps = Steps::new(source.items(), batch, step)?;
        let none = Vec::new();
        Host { passes: 1, at: [0, 0], runs: Vec::new(), aim: source.aim(), clear: none.clone(), read: none }
            .aim(gpu);
        Ok(Evaluator { gpu: gpu.clone(), labels: source.labels(), totals, steps })
    }

    /// The ops of one full step, for inspection or timing.
    pub fn step(&self) -> &[Op] {
        self.steps.step(0)
    }

    /// The lists of a walk over all items: a full step, and the short last one.
    pub fn lists(&self) -> Vec<(&'static str, &[Op])> {
        self.steps.lists().into_iter().map(|(name, ops, _)| (name, ops)).collect()
    }

    /// The host's work of one walk over all items. It counts lists in the order of [`Evaluator::lists`], from `first` on.
    pub fn host(&self, first: usize) -> Host<Tensor> {
        let Totals { loss, hits, clock } = &self.totals;
        let rewound = Fill::Counter { per_pass: vec![0, 0], per_run: vec![0, 0] };
        Host {
            passes: 1,
            at: [0, 0],
            runs: (first..).zip(self.steps.lists()).map(|(i, (.., times))| (i, times)).collect(),
            aim: vec![(clock.clone(), rewound)],
            clear: vec![loss.clone(), hits.clone()],
            read: vec![loss.clone(), hits.clone()],
        }
    }

    /// Number of full steps from [`Evaluator::rewind`] to the last item.
    pub fn steps(&self) -> usize {
        self.steps.full()
    }

    /// Sets the clock to the first item. [`Evaluator::step`] needs this.
    pub fn rewind(&self) {
        self.gpu.write(&self.totals.clock, &[0u32, 0]);
    }

    /// Loss (without smoothing) and accuracy of the current weights.
    ///
    /// # Errors
    /// If the device failed.
    pub fn score(&self) -> Result<Score, Error> {
        self.rewind();
        self.totals.clear(&self.gpu);
        let all = 0..self.steps.len();
        self.steps.run(&self.gpu, all, &mut Pace::new(), None, &mut |_, _| ControlFlow::Continue(()))?;
        read(&self.gpu, &self.totals, self.labels)
    }
}

/// A network in training.
pub struct Trainer<N, S> {
    /// The device for training.
    pub gpu: Gpu,
    /// The network.
    pub network: N,
    /// The source of its batches.
    pub source: S,
    /// The settings of training.
    pub recipe: Recipe,
    /// Completed epochs. A last epoch that is shorter than the others stays the current one.
    pub epoch: usize,
    /// Completed steps of the current epoch.
    pub(super) done: usize,
    /// The mean loss of each group of [`Trainer::losses_every`] steps in the current epoch. Between two epochs it is
    /// that of the previous one. Remaining steps at the end have none.
    pub losses: Vec<f32>,
    /// Number of gradient values so far that were out of the range of fixed point.
    pub saturated: u64,
    pub(super) totals: Totals,
    pub(super) steps: Steps,
    pub(super) micro: Option<Micro>,
    /// The summed loss at intervals in the epoch.
    pub(super) notes: Notes,
    /// Number of labels of an item.
    labels: usize,
    pace: Pace,
}

impl<N: Network, S: Source> Trainer<N, S> {
    /// Binds a step of a network on the batches of a source.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If the batch is 0 or exceeds the items of the source, or if a step has no rate or no decay.
    pub fn on(gpu: &Gpu, network: N, source: S, recipe: Recipe) -> Result<Trainer<N, S>, Error> {
        Trainer::among(gpu, network, source, recipe, Arc::new(Alone))
    }

    /// [`Trainer::on`] for one of several ranks that train the network together. Every rank has the same network, source
    /// and recipe, makes the same calls, and gets the same results.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// As [`Trainer::on`]. Also if there are more ranks than micro-batches, or several ranks and no micro-batches.
    pub fn among(
        gpu: &Gpu,
        network: N,
        source: S,
        recipe: Recipe,
        exchange: Arc<dyn Exchange>,
    ) -> Result<Trainer<N, S>, Error> {
        let totals = Totals::zeros(gpu, "train.totals")?;
        let rows = recipe.update.schedule(&recipe.rates, &recipe.decays);
        let schedule = gpu.upload("schedule", &[rows.len() / 4, 4], &rows)?;
        let micro = match recipe.micro_batches {
            None => {
                assert_eq!(exchange.size(), 1, "Trainer: several ranks need micro-batches");
                None
            }
            Some(_) => {
                let [count, batch] = [source.items(), recipe.batch];
                let sizes = [batch, count % batch].into_iter().filter(|&items| items > 0);
                let on = [&totals.clock, &schedule];
                Some(Micro::new(gpu, &network, &source, &recipe, on, exchange, sizes)?)
            }
        };
        let steps = Steps::new(source.items(), recipe.batch, |batch| {
            if let Some(micro) = &micro {
                return Ok(micro.ops(batch));
            }
            let scoring = Scoring { totals: &totals, smoothing: recipe.smoothing, learns: true };
            let pass = network.bind(gpu, batch, Some(scoring))?;
            let mut ops = source.fill(gpu, &totals.clock, &pass);
            Op::mark(&mut ops, "batch");
            if !recipe.shadow {
                ops.extend(network.params().forget_shadow(gpu));
            }
            ops.extend(pass.forward);
            ops.extend(pass.loss);
            ops.extend(pass.backward);
            ops.extend(network.params().update(gpu, recipe.update, recipe.clip, &totals.clock, &schedule));
            Ok(ops)
        })?;
        assert_eq!(recipe.decays.len(), recipe.rates.len(), "Trainer: a decay for each step");
        let notes = Notes::new(gpu, &totals.loss, steps.len())?;
        let (gpu, labels, pace) = (gpu.clone(), source.labels() / source.items(), Pace::new());
        Ok(Trainer {
            gpu,
            network,
            source,
            recipe,
            epoch: 0,
            done: 0,
            losses: Vec::new(),
            saturated: 0,
            totals,
            steps,
            micro,
            notes,
            labels,
            pace,
        })
    }

    /// The ops of one full step, for inspection or timing.
    pub fn step(&self) -> &[Op] {
        self.steps.step(0)
    }

    /// The connection to the other ranks. A training without micro-batches has none.
    pub fn exchange(&self) -> &dyn Exchange {
        self.micro.as_ref().map_or(&Alone, Micro::exchange)
    }

    /// Whether a rank says yes. Every rank gets the same answer.
    ///
    /// # Errors
    /// If the exchange failed.
    pub fn any(&self, own: bool) -> Result<bool, ExchangeError> {
        let mut answer = [i32::from(own)];
        self.exchange().max(&mut answer)?;
        Ok(answer[0] > 0)
    }

    /// Number of steps in an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps.len()
    }

    /// Number of items in an epoch.
    pub fn items(&self) -> usize {
        self.source.items()
    }

    /// Number of epochs of the training. The last one may be shorter than the others.
    pub fn epochs(&self) -> usize {
        self.recipe.rates.len().div_ceil(self.steps.len())
    }

    /// Whether all steps of the training are complete.
    pub fn is_done(&self) -> bool {
        self.steps() >= self.recipe.rates.len()
    }

    /// Number of steps of the current epoch.
    fn length(&self) -> usize {
        (self.recipe.rates.len() - self.epoch * self.steps.len()).min(self.steps.len())
    }

    /// The learning rate of the last completed step, or 0 before the first one.
    pub fn rate(&self) -> f64 {
        self.steps().checked_sub(1).map_or(0.0, |step| self.recipe.rates[step])
    }

    /// Completed steps of all epochs.
    pub fn steps(&self) -> usize {
        self.epoch * self.steps.len() + self.done
    }

    /// Completed items of the current epoch.
    pub fn position(&self) -> usize {
        (self.done * self.recipe.batch).min(self.items())
    }

    /// Number of steps that each value of [`Trainer::losses`] covers. An epoch has at most 50 values.
    pub fn losses_every(&self) -> usize {
        self.notes.every
    }

    /// Turns the notes of the summed loss into mean losses.
    pub(super) fn means(&self) -> impl Fn(&[f32]) -> Vec<f32> + use<N, S> {
        let [each, count, labels] = [self.notes.every * self.recipe.batch, self.items(), self.labels];
        move |sums| {
            let before = std::iter::once(&0.0).chain(sums);
            let mean = |(i, (sum, before)): (usize, (&f32, &f32))| {
                // The last step of an epoch may have a smaller batch.
                (sum - before) / (labels * each.min(count - i * each)) as f32
            };
            sums.iter().zip(before).enumerate().map(mean).collect()
        }
    }

    /// Sets the clock to the next step. [`Trainer::step`] needs this.
    pub fn rewind(&self) {
        self.gpu.write(&self.totals.clock, &[self.steps() as u32, self.position() as u32]);
    }

    /// Trains the rest of the epoch. `progress` receives the number of completed items and the losses. It may stop
    /// the training between two steps. There is then no score yet, and the next call continues. The score is the mean
    /// over the epoch, while the weights changed, with the loss that is minimised.
    ///
    /// # Errors
    /// If the device failed, or the exchange with the other ranks.
    ///
    /// # Panics
    /// If all steps of the training are complete.
    pub fn run(
        &mut self,
        progress: &mut dyn FnMut(&Heard) -> ControlFlow<()>,
    ) -> Result<Option<Score>, TrainError> {
        self.run_to(self.length(), progress)
    }

    /// [`Trainer::run`] up to a step of the epoch.
    pub(super) fn run_to(
        &mut self,
        end: usize,
        progress: &mut dyn FnMut(&Heard) -> ControlFlow<()>,
    ) -> Result<Option<Score>, TrainError> {
        self.aim();
        let length = self.length();
        let (batch, count) = (self.recipe.batch, self.items());
        let (means, losses_every) = (self.means(), self.notes.every);
        let mut heard = |done: usize, sums: &[f32]| {
            progress(&Heard { items: (done * batch).min(count), losses: means(sums), losses_every })
        };
        self.done = match &self.micro {
            Some(_) => self.run_micro(self.done..end, &mut heard)?,
            None => {
                let notes = Some(&self.notes);
                self.steps.run(&self.gpu, self.done..end, &mut self.pace, notes, &mut heard)?
            }
        };
        let sums = self.gpu.download::<f32>(&self.notes.sums)?;
        self.losses = means(&sums[..self.notes.count(self.done)]);
        if self.done < length {
            return Ok(None);
        }
        let score = read(&self.gpu, &self.totals, self.labels * self.position())?;
        if self.done == self.steps.len() {
            (self.epoch, self.done) = (self.epoch + 1, 0);
        }
        Ok(Some(score))
    }

    /// Sets source and clock to the next step. Before an epoch it also sets the totals to zero.
    pub(super) fn aim(&self) {
        assert!(!self.is_done(), "Trainer: all {} steps are complete", self.recipe.rates.len());
        self.host().aim(&self.gpu);
    }

    /// The lists of a run: a full step, and the short last step of an epoch.
    pub fn lists(&self) -> Vec<(&'static str, &[Op])> {
        self.steps.lists().into_iter().map(|(name, ops, _)| (name, ops)).collect()
    }

    /// The host's work between the steps, with the current position. It counts lists in the order of
    /// [`Trainer::lists`].
    pub fn host(&self) -> Host<Tensor> {
        let Totals { loss, hits, clock } = &self.totals;
        let [steps, batch] = [self.steps.len(), self.recipe.batch].map(|count| count as u32);
        let mut aim = self.source.aim();
        aim.push((clock.clone(), Fill::Counter { per_pass: vec![steps, 0], per_run: vec![1, batch] }));
        Host {
            passes: self.recipe.rates.len() / self.steps.len(),
            at: [self.epoch, self.done],
            runs: self.steps.lists().iter().enumerate().map(|(i, (.., times))| (i, *times)).collect(),
            aim,
            clear: vec![loss.clone(), hits.clone()],
            read: vec![loss.clone(), hits.clone()],
        }
    }

    /// The rest of the run as data: the current tensors, a full step, the short last step of an epoch, and the host's
    /// work between them. The plan ends with the last epoch that has its full length.
    ///
    /// # Errors
    /// If the device failed, or if the training has micro-batches: they need the host within a step.
    pub fn plan(&self) -> Result<Plan, Error> {
        if self.micro.is_some() {
            return Err(Error::Plan("a step of micro-batches needs the host between its dispatches".into()));
        }
        Plan::of(&self.gpu, &self.lists(), Some(&self.host()))
    }

    /// [`Trainer::run`] up to the end of the epoch.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    ///
    /// # Panics
    /// If all steps of the training are complete.
    pub fn run_epoch(&mut self, progress: &mut dyn FnMut(usize)) -> Result<Score, TrainError> {
        let mut heard = |heard: &Heard| {
            progress(heard.items);
            ControlFlow::Continue(())
        };
        Ok(self.run(&mut heard)?.expect("nobody breaks off"))
    }
}
