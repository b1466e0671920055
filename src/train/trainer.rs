//! A network in training, and a network that is scored, whatever network and whatever data it is.

use std::ops::ControlFlow;

use super::steps::{Notes, Pace, Steps};
use crate::gpu::{Error, Fill, Gpu, Host, Op, Plan, Tensor};
use crate::kernels::Totals;
use crate::model::{BATCH, Network, Pass, Scoring, Update};

/// Where the batches of an epoch come from.
pub trait Source {
    /// Items in an epoch.
    fn items(&self) -> usize;

    /// Labels of all items of an epoch that count in a loss: what its sum is divided by.
    fn labels(&self) -> usize;

    /// What the host writes before the first step of an epoch, or after a pause in it.
    fn aim(&self) -> Vec<(Tensor, Fill)>;

    /// The ops that put the batch at `clock`, `u32 [2]`: step and item of the epoch, into `pass.input` and
    /// `pass.labels`.
    fn fill(&self, gpu: &Gpu, clock: &Tensor, pass: &Pass) -> Vec<Op>;
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Passes over all items.
    pub epochs: usize,
    /// Items per step.
    pub batch: usize,
    /// Share of the target that is spread over all classes.
    pub smoothing: f32,
    /// Whether ternary parameters keep float shadow weights.
    pub shadow: bool,
    /// How gradients move the parameters.
    pub update: Update,
    /// The learning rate of every step.
    pub rates: Vec<f64>,
    /// The decoupled weight decay of every step: `rate decay` of a weight that decays.
    pub decays: Vec<f64>,
    /// The largest norm of all gradients together; longer ones are scaled to it.
    pub clip: Option<f32>,
}

/// Loss and accuracy over some items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Share of labels whose largest logit is the label's, 0 to 1.
    pub accuracy: f64,
}

impl Score {
    /// `exp(loss)`: the number of classes the network hesitates between.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }

    /// `loss / ln 2`: bits per label. Where a label is a character, this is bits per character.
    pub fn bits(&self) -> f64 {
        self.loss / std::f64::consts::LN_2
    }
}

/// What is known of an epoch that goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// Items done.
    pub items: usize,
    /// As [`Trainer::losses`], as far as the device has told so far.
    pub losses: Vec<f32>,
    /// As [`Trainer::losses_every`].
    pub losses_every: usize,
}

/// Reads the summed loss and hits of so many labels.
fn read(gpu: &Gpu, totals: &Totals, count: usize) -> Result<Score, Error> {
    let loss = gpu.download::<f32>(&totals.loss)?[0];
    let hits = gpu.download::<u32>(&totals.hits)?[0];
    Ok(Score { loss: f64::from(loss) / count as f64, accuracy: f64::from(hits) / count as f64 })
}

/// The class of the largest of `width` logits, row by row.
pub fn classes(logits: &[f32], width: usize) -> Vec<usize> {
    // The first of equal logits, as in softmax_xent.
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
        let scoring = Scoring { totals: &totals, smoothing: 0.0 };
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
        // The largest batch, by halves, that the adapter binds.
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

    /// The ops of one full step, for those who want to look or to time.
    pub fn step(&self) -> &[Op] {
        self.steps.step(0)
    }

    /// Full steps from [`Evaluator::rewind`] to the last item.
    pub fn steps(&self) -> usize {
        self.steps.full()
    }

    /// Puts the clock at the first item, so that [`Evaluator::step`] finds its own.
    pub fn rewind(&self) {
        self.gpu.write(&self.totals.clock, &[0u32, 0]);
    }

    /// Loss (without smoothing) and accuracy of the weights as they are now.
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
    /// The device it trains on.
    pub gpu: Gpu,
    /// The network.
    pub network: N,
    /// Where its batches come from.
    pub source: S,
    /// How it is trained.
    pub recipe: Recipe,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done of the epoch after them.
    pub(super) done: usize,
    /// The mean loss of every [`Trainer::losses_every`] steps of the epoch that goes on or, before the next one begins,
    /// of the one that ended. The steps that are left at the end have none.
    pub losses: Vec<f32>,
    pub(super) totals: Totals,
    pub(super) steps: Steps,
    /// The summed loss as the epoch goes on.
    pub(super) notes: Notes,
    /// Labels of an item; all have equally many.
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
    /// If the batch is 0 or exceeds the items of the source, or there is no rate and no decay for each step.
    pub fn on(gpu: &Gpu, network: N, source: S, recipe: Recipe) -> Result<Trainer<N, S>, Error> {
        let totals = Totals::zeros(gpu, "train.totals")?;
        let rows = recipe.update.schedule(&recipe.rates, &recipe.decays);
        let schedule = gpu.upload("schedule", &[rows.len() / 4, 4], &rows)?;
        let steps = Steps::new(source.items(), recipe.batch, |batch| {
            let scoring = Scoring { totals: &totals, smoothing: recipe.smoothing };
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
        assert_eq!(recipe.rates.len(), recipe.epochs * steps.len(), "Trainer: a rate for each step");
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
            totals,
            steps,
            notes,
            labels,
            pace,
        })
    }

    /// The ops of one full step, for those who want to look or to time.
    pub fn step(&self) -> &[Op] {
        self.steps.step(0)
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps.len()
    }

    /// Items of an epoch.
    pub fn items(&self) -> usize {
        self.source.items()
    }

    /// The learning rate of the last step done; 0 before the first.
    pub fn rate(&self) -> f64 {
        self.steps().checked_sub(1).map_or(0.0, |step| self.recipe.rates[step])
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.epoch * self.steps.len() + self.done
    }

    /// Items done of the epoch that goes on.
    pub fn position(&self) -> usize {
        (self.done * self.recipe.batch).min(self.items())
    }

    /// Steps that one of [`Trainer::losses`] is the mean of: an epoch has at most 50.
    pub fn losses_every(&self) -> usize {
        self.notes.every
    }

    /// The mean losses between notes of their sum.
    pub(super) fn means(&self) -> impl Fn(&[f32]) -> Vec<f32> + use<N, S> {
        let [each, count, labels] = [self.notes.every * self.recipe.batch, self.items(), self.labels];
        move |sums| {
            let before = std::iter::once(&0.0).chain(sums);
            let mean = |(i, (sum, before)): (usize, (&f32, &f32))| {
                // The last step of an epoch may be short.
                (sum - before) / (labels * each.min(count - i * each)) as f32
            };
            sums.iter().zip(before).enumerate().map(mean).collect()
        }
    }

    /// Puts the clock where the next step is, so that [`Trainer::step`] finds its items.
    pub fn rewind(&self) {
        self.gpu.write(&self.totals.clock, &[self.steps() as u32, self.position() as u32]);
    }

    /// Trains what is left of the epoch; `progress` hears how many of its items are done and with which loss, and may
    /// break off between two steps: then there is no score yet, and the next call goes on from there. The score is the
    /// mean over the epoch as the weights moved, with the loss that was minimised.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If all epochs of the schedule are done.
    pub fn run(
        &mut self,
        progress: &mut dyn FnMut(&Heard) -> ControlFlow<()>,
    ) -> Result<Option<Score>, Error> {
        self.run_to(self.steps.len(), progress)
    }

    /// [`Trainer::run`], to a step of the epoch.
    pub(super) fn run_to(
        &mut self,
        end: usize,
        progress: &mut dyn FnMut(&Heard) -> ControlFlow<()>,
    ) -> Result<Option<Score>, Error> {
        self.aim();
        let (batch, count) = (self.recipe.batch, self.items());
        let (means, losses_every) = (self.means(), self.notes.every);
        let mut heard = |done: usize, sums: &[f32]| {
            progress(&Heard { items: (done * batch).min(count), losses: means(sums), losses_every })
        };
        let notes = Some(&self.notes);
        self.done = self.steps.run(&self.gpu, self.done..end, &mut self.pace, notes, &mut heard)?;
        let sums = self.gpu.download::<f32>(&self.notes.sums)?;
        self.losses = means(&sums[..self.notes.count(self.done)]);
        if self.done < self.steps.len() {
            return Ok(None);
        }
        (self.epoch, self.done) = (self.epoch + 1, 0);
        read(&self.gpu, &self.totals, self.labels * count).map(Some)
    }

    /// Puts source and clock where the next step is, and before an epoch the totals at zero.
    pub(super) fn aim(&self) {
        assert!(self.epoch < self.recipe.epochs, "Trainer: all {} epochs are done", self.recipe.epochs);
        self.host().aim(&self.gpu);
    }

    /// What the host does between the steps, and where it stands.
    fn host(&self) -> Host<Tensor> {
        let Totals { loss, hits, clock } = &self.totals;
        let [steps, batch] = [self.steps.len(), self.recipe.batch].map(|count| count as u32);
        let mut aim = self.source.aim();
        aim.push((clock.clone(), Fill::Counter { per_pass: vec![steps, 0], per_run: vec![1, batch] }));
        Host {
            passes: self.recipe.epochs,
            at: [self.epoch, self.done],
            runs: self.steps.lists().iter().enumerate().map(|(i, (.., times))| (i, *times)).collect(),
            aim,
            clear: vec![loss.clone(), hits.clone()],
            read: vec![loss.clone(), hits.clone()],
        }
    }

    /// The run from here on as data: the tensors as they are now, a full step, the short last one of an epoch, and what
    /// the host does between them.
    ///
    /// # Errors
    /// If the device failed.
    pub fn plan(&self) -> Result<Plan, Error> {
        let lists: Vec<(&str, &[Op])> =
            self.steps.lists().into_iter().map(|(name, ops, _)| (name, ops)).collect();
        Plan::of(&self.gpu, &lists, Some(&self.host()))
    }

    /// [`Trainer::run`] to the end of the epoch.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If all epochs of the schedule are done.
    pub fn run_epoch(&mut self, progress: &mut dyn FnMut(usize)) -> Result<Score, Error> {
        let mut heard = |heard: &Heard| {
            progress(heard.items);
            ControlFlow::Continue(())
        };
        Ok(self.run(&mut heard)?.expect("nobody breaks off"))
    }
}
