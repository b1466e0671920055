//! Steps, epochs, evaluation and the schedule. The data set lives on the device; an epoch is a
//! replayed list of ops with no read-back inside. The host draws the permutation and reads totals.

#[cfg(feature = "cli")]
mod resume;

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use crate::augment::Distortion;
use crate::gpu::{self, Error, Fill, Gpu, Host, Op, Submission, Tensor};
use crate::kernels::{self, AdamW, Sgd, Totals};
use crate::mnist::{Dataset, Split};
use crate::model::{Activations, Mlp, Parameters, Precision, Shape, Update};
use crate::ternary::RMSNORM_EPS;

#[cfg(feature = "cli")]
pub use resume::Fault;

/// Everything that determines a run.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Ternary, or its float twin.
    pub precision: Precision,
    /// How images are varied before the network sees them.
    pub augment: Augment,
    /// What moves the parameters.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub lr: f64,
    /// Decoupled weight decay of the weights.
    pub weight_decay: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Whether a ternary network keeps float shadow weights.
    pub shadow: bool,
    /// Seed of the initial weights, of the order of the images and of their variations.
    pub seed: u64,
}

/// How training images are varied, afresh in every step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize, clap::ValueEnum))]
#[cfg_attr(feature = "cli", serde(rename_all = "lowercase"))]
pub enum Augment {
    /// As they are.
    None,
    /// Moved by up to one pixel in each direction.
    Shift,
    /// Turned by up to 10 degrees, scaled by up to 10 %, sheared by up to 0.1, moved by up to one pixel.
    #[default]
    Affine,
}

impl Augment {
    fn distortion(self) -> Option<&'static Distortion> {
        match self {
            Augment::None => None,
            Augment::Shift => Some(&Distortion::SHIFT),
            Augment::Affine => Some(&Distortion::AFFINE),
        }
    }
}

/// What turns gradients into updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize, clap::ValueEnum))]
#[cfg_attr(feature = "cli", serde(rename_all = "lowercase"))]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    #[default]
    #[cfg_attr(feature = "cli", value(name = "adamw"))]
    AdamW,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

impl Default for Config {
    /// The recipe of the README.
    fn default() -> Config {
        let (precision, optimizer) = Default::default();
        Config {
            epochs: 20,
            batch: 128,
            hidden: vec![256, 128],
            precision,
            augment: Augment::default(),
            optimizer,
            lr: Config::default_lr(precision, optimizer),
            weight_decay: 0.0,
            label_smoothing: 0.0,
            shadow: true,
            seed: 0,
        }
    }
}

impl Config {
    /// The peak learning rate that suits a network and an optimizer.
    pub fn default_lr(precision: Precision, optimizer: Optimizer) -> f64 {
        match (precision, optimizer) {
            (Precision::Ternary, Optimizer::AdamW) => 3e-3,
            (Precision::F32, Optimizer::AdamW) => 1e-3,
            (_, Optimizer::Sgd) => 0.05,
        }
    }

    /// Steps in one epoch; the last may be short.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch)
    }

    /// The network for a data set.
    pub fn shape(&self, data: &Dataset) -> Shape {
        let dims = [data.pixels()].into_iter().chain(self.hidden.iter().copied()).chain([data.classes]);
        Shape { dims: dims.collect(), eps: RMSNORM_EPS as f32, precision: self.precision }
    }

    /// The learning rate of a step: half an epoch of linear warm-up, then a cosine to 0. It must end at
    /// 0, or trits go on flipping to the end.
    pub fn rate(&self, images: usize, step: usize) -> f64 {
        let total = self.epochs * self.steps_per_epoch(images);
        let warmup = (self.steps_per_epoch(images) / 2).max(1);
        if step < warmup {
            return self.lr * (step + 1) as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / (total - warmup).max(1) as f64;
        0.5 * self.lr * (1.0 + (std::f64::consts::PI * done).cos())
    }

    /// The learning rate of every step.
    pub fn rates(&self, images: usize) -> Vec<f64> {
        let total = self.epochs * self.steps_per_epoch(images);
        (0..total).map(|step| self.rate(images, step)).collect()
    }

    /// Whether the run can be made on a data set.
    ///
    /// # Errors
    /// A sentence that names the flag, the value and what it may be.
    pub fn validate(&self, data: &Dataset) -> Result<(), String> {
        let images = data.train.len();
        if self.epochs == 0 {
            return Err("--epochs 0 trains nothing: use at least 1".into());
        }
        if self.batch == 0 || self.batch > images {
            return Err(format!(
                "--batch {} must lie between 1 and the {images} training images",
                self.batch
            ));
        }
        if self.epochs.saturating_mul(self.steps_per_epoch(images)) > MOST_SCHEDULED {
            let most = MOST_SCHEDULED / self.steps_per_epoch(images);
            return Err(format!(
                "--epochs {}: the schedule holds {MOST_SCHEDULED} steps, here {most} epochs",
                self.epochs
            ));
        }
        self.shape(data)
            .validate()
            .map_err(|width| format!("{} and --hidden {:?} make {width}", data.name, self.hidden))?;
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(format!("--lr {} must be a positive number", self.lr));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(format!("--weight-decay {} must not be negative", self.weight_decay));
        }
        if !self.shadow && self.precision == Precision::F32 {
            return Err("--no-shadow needs --precision ternary: a float network has no shadow weights".into());
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(format!("--label-smoothing {} must lie in 0 <= x < 1", self.label_smoothing));
        }
        Ok(())
    }

    /// Whether the adapter binds the network's tensors, before any is made.
    ///
    /// # Errors
    /// The first that is too large, and the widest hidden layers that fit.
    pub fn fits(&self, gpu: &Gpu, data: &Dataset) -> Result<(), Error> {
        let tensors = |config: &Config| {
            let shape = config.shape(data);
            for (i, [rows, cols]) in shape.layers().into_iter().enumerate() {
                gpu.fits(&format!("layers.{i}.weight"), &[rows, cols])?;
                gpu.fits(&format!("layers.{i}.x"), &[config.batch, cols])?;
            }
            Ok(())
        };
        tensors(self).map_err(|error| match error {
            Error::TooLarge { label, bytes, limit, adapter, advice } => {
                let advice = self.narrowed(|config| tensors(config).is_ok()).unwrap_or(advice);
                Error::TooLarge { label, bytes, limit, adapter, advice }
            }
            other => other,
        })
    }

    /// Bytes that training takes on the device, but for what is small.
    fn bytes(&self, data: &Dataset) -> u64 {
        let set = (data.train.images.len() + data.test.images.len()) as u64;
        // Weight, gradient, two moments and the trits; inputs, codes, normed values and gradients of the
        // batches of training, of its short last one, and of evaluation.
        let batches = self.batch + data.train.len() % self.batch + EVALUATION_BATCH.min(data.test.len());
        let layer = |[rows, cols]: [usize; 2]| rows * cols * 65 / 4 + batches * (rows * 8 + cols * 16);
        set + self.shape(data).layers().into_iter().map(|shape| layer(shape) as u64).sum::<u64>()
    }

    /// The same error with the widest hidden layers for which the memory would have been enough.
    fn advise(&self, data: &Dataset, error: Error) -> Error {
        match error {
            Error::NoMemory { label, bytes, held, adapter, advice } => {
                let advice = self.narrowed(|config| config.bytes(data) <= held).unwrap_or(advice);
                Error::NoMemory { label, bytes, held, adapter, advice }
            }
            other => other,
        }
    }

    /// Advice that names the widest hidden layers for which `fits` holds: none is wider than asked for, and
    /// the widest are cut to one width.
    fn narrowed(&self, fits: impl Fn(&Config) -> bool) -> Option<String> {
        let cut = |width: usize| Config {
            hidden: self.hidden.iter().map(|&asked| asked.min(width)).collect(),
            ..self.clone()
        };
        // Narrower always fits where wider does: bisect between what fits and what does not.
        let (mut low, mut high) = (0, self.hidden.iter().copied().max()?);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            *(if fits(&cut(middle)) { &mut low } else { &mut high }) = middle;
        }
        let widths: Vec<String> = cut(low).hidden.iter().map(usize::to_string).collect();
        (low > 0).then(|| format!("the largest that fits is --hidden {}", widths.join(",")))
    }

    /// The optimizer's constants, and its schedule for a training set.
    pub fn update(&self, images: usize) -> (Update, Vec<f32>) {
        let decay = self.weight_decay as f32;
        let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay };
        // Both read the rate from the same rows.
        let schedule = adamw.schedule(self.rates(images));
        match self.optimizer {
            Optimizer::AdamW => (Update::AdamW(adamw), schedule),
            Optimizer::Sgd => (Update::Sgd(Sgd { momentum: 0.9, decay }), schedule),
        }
    }
}

/// Steps that a schedule holds: 16 bytes each, in the 128 MiB that every adapter binds.
const MOST_SCHEDULED: usize = 1 << 23;

/// Loss and accuracy over some images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Share of images whose largest logit is the label's, 0 to 1.
    pub accuracy: f64,
}

impl Score {
    /// `exp(loss)`: the number of classes the network hesitates between.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// One half of a data set on the device, with the order it is walked in.
struct Resident {
    images: Tensor,
    labels: Tensor,
    order: Tensor,
    totals: Totals,
    count: usize,
}

impl Resident {
    fn upload(gpu: &Gpu, name: &str, split: &Split) -> Result<Resident, Error> {
        let name = |what: &str| format!("{name}.{what}");
        let labels: Vec<u32> = split.labels.iter().map(|&label| u32::from(label)).collect();
        let order: Vec<u32> = (0..labels.len() as u32).collect();
        Ok(Resident {
            images: gpu.upload_bytes(&name("images"), &split.images)?,
            labels: gpu.upload(&name("labels"), &[labels.len()], &labels)?,
            order: gpu.upload(&name("order"), &[labels.len()], &order)?,
            totals: Totals::zeros(gpu, &name("totals"))?,
            count: labels.len(),
        })
    }

    /// The next batch as it is.
    fn gather(&self, gpu: &Gpu, on: &Activations) -> Op {
        let Resident { images, labels, order, totals: Totals { clock, .. }, .. } = self;
        kernels::gather_batch(gpu, clock, order, images, labels, &on.pixels, &on.labels)
    }

    /// The next batch, each image varied afresh.
    fn augment(&self, gpu: &Gpu, on: &Activations, by: &Distortion, seed: u64, size: [usize; 2]) -> Op {
        let Resident { images, labels, order, totals: Totals { clock, .. }, .. } = self;
        kernels::augment_batch(gpu, by, seed, clock, order, images, labels, size, &on.pixels, &on.labels)
    }

    /// Reads the summed loss and hits of all images.
    fn score(&self, gpu: &Gpu) -> Result<Score, Error> {
        let loss = gpu.download::<f32>(&self.totals.loss)?[0];
        let hits = gpu.download::<u32>(&self.totals.hits)?[0];
        Ok(Score { loss: f64::from(loss) / self.count as f64, accuracy: f64::from(hits) / self.count as f64 })
    }
}

/// One bound step.
struct Step {
    ops: Vec<Op>,
    on: Activations,
}

/// Walks all images once: full batches, then the short one that is left.
struct Plan {
    full: Step,
    full_batches: usize,
    rest: Option<Step>,
}

impl Plan {
    /// `step(batch)` binds one step.
    fn new(count: usize, batch: usize, step: impl Fn(usize) -> Result<Step, Error>) -> Result<Plan, Error> {
        assert!((1..=count).contains(&batch), "Plan: batches of {batch} from {count} images");
        let left = count % batch;
        let rest = if left > 0 { Some(step(left)?) } else { None };
        Ok(Plan { full: step(batch)?, full_batches: count / batch, rest })
    }

    /// Number of steps.
    fn len(&self) -> usize {
        self.full_batches + usize::from(self.rest.is_some())
    }

    /// The `i`th step.
    fn step(&self, i: usize) -> &Step {
        self.rest.as_ref().filter(|_| i == self.full_batches).unwrap_or(&self.full)
    }

    /// Runs some of the steps, many per submit; waits for the last, and returns how many of the plan are then
    /// done.
    ///
    /// `progress` hears that number a few times a second, and may break off: what was submitted is
    /// finished, nothing more is.
    fn run(
        &self,
        gpu: &Gpu,
        range: Range<usize>,
        pace: &mut Pace,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<usize, Error> {
        let mut submitted = range.start;
        let mut in_flight: Option<(Submission, usize)> = None;
        while submitted < range.end {
            let end = range.end.min(submitted + pace.steps);
            let submission = gpu.run((submitted..end).flat_map(|i| &self.step(i).ops))?;
            submitted = end;
            // One submission runs while the next is recorded; waiting for the one before keeps the
            // queue short enough to stop, and the progress honest.
            if let Some((before, done)) = in_flight.replace((submission, end)) {
                gpu.wait(Some(before))?;
                pace.note(done);
                if progress(done).is_break() {
                    break;
                }
            }
        }
        gpu.wait(None)?;
        Ok(submitted)
    }
}

/// Chooses the steps per submit: about a tenth of a second of work.
struct Pace {
    steps: usize,
    /// When it last heard of a submission, and how many steps of the plan were done then.
    last: Option<(Instant, usize)>,
}

impl Pace {
    const TARGET: Duration = Duration::from_millis(100);

    fn new() -> Pace {
        Pace { steps: 1, last: None }
    }

    fn note(&mut self, done: usize) {
        let now = Instant::now();
        // A plan that starts again counts from the beginning.
        if let Some((last, before)) = self.last.replace((now, done)).filter(|(_, before)| *before < done) {
            let step = (now - last).as_secs_f64() / (done - before) as f64;
            let fitting = (Self::TARGET.as_secs_f64() / step.max(1e-6)) as usize;
            self.steps = fitting.clamp(1, (2 * self.steps).min(MOST_STEPS));
        }
    }
}

/// Steps in one submit at most; bounds the memory of a recording.
const MOST_STEPS: usize = 256;

/// Images per evaluation step, where the adapter binds that many.
const EVALUATION_BATCH: usize = 1000;

/// Scores a network on one half of a data set.
pub struct Evaluator {
    gpu: Gpu,
    data: Resident,
    plan: Plan,
}

impl Evaluator {
    /// Uploads the images and binds the forward pass.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn new(gpu: &Gpu, mlp: &Mlp, split: &Split) -> Result<Evaluator, Error> {
        let data = Resident::upload(gpu, "test", split)?;
        let batch = mlp.batch_that_fits(gpu, EVALUATION_BATCH.min(data.count));
        let plan = Plan::new(data.count, batch, |batch| {
            let on = mlp.activations(gpu, batch)?;
            let mut ops = vec![data.gather(gpu, &on)];
            Op::mark(&mut ops, "batch");
            ops.extend(mlp.forward(gpu, &on));
            ops.push(mlp.loss(gpu, &on, 0.0, &data.totals));
            Ok(Step { ops, on })
        })?;
        Ok(Evaluator { gpu: gpu.clone(), data, plan })
    }

    /// The ops of one full step, for those who want to look or to time.
    pub fn step(&self) -> &[Op] {
        &self.plan.full.ops
    }

    /// Full steps from [`Evaluator::rewind`] to the end of the images.
    pub fn steps(&self) -> usize {
        self.plan.full_batches
    }

    /// Puts the clock at the first image, so that [`Evaluator::step`] finds its own.
    pub fn rewind(&self) {
        self.gpu.write(&self.data.totals.clock, &[0u32, 0]);
    }

    /// Loss (without smoothing) and accuracy of the weights as they are now.
    ///
    /// # Errors
    /// If the device failed.
    pub fn score(&self) -> Result<Score, Error> {
        self.rewind();
        self.data.totals.clear(&self.gpu);
        let all = 0..self.plan.len();
        self.plan.run(&self.gpu, all, &mut Pace::new(), &mut |_| ControlFlow::Continue(()))?;
        self.data.score(&self.gpu)
    }

    /// The logits `[images, classes]`, in the order of the data set.
    ///
    /// # Errors
    /// If the device failed.
    pub fn logits(&self) -> Result<Vec<f32>, Error> {
        self.rewind();
        let mut logits = Vec::new();
        for step in (0..self.plan.len()).map(|i| self.plan.step(i)) {
            self.gpu.run(&step.ops)?;
            logits.extend(self.gpu.download::<f32>(&step.on.logits)?);
        }
        Ok(logits)
    }

    /// The class of the largest logit of every image, in the order of the data set.
    ///
    /// # Errors
    /// If the device failed.
    pub fn predictions(&self) -> Result<Vec<usize>, Error> {
        let logits = self.logits()?;
        Ok(classes(&logits, logits.len() / self.data.count))
    }
}

/// The class of the largest of `width` logits, row by row.
pub fn classes(logits: &[f32], width: usize) -> Vec<usize> {
    // The first of equal logits, as in softmax_xent.
    let best = |row: &[f32]| (0..width).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
    logits.chunks_exact(width).map(|row| best(row).expect("a network has a class")).collect()
}

/// An image, and what the network is shown of it.
pub type Sample = (Vec<u8>, Vec<Vec<u8>>);

/// A network in training.
pub struct Trainer {
    /// The device it trains on.
    pub gpu: Gpu,
    /// The network.
    pub mlp: Mlp,
    /// What determines the run.
    pub config: Config,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done of the epoch after them.
    done: usize,
    /// Height and width of an image.
    size: [usize; 2],
    data: Resident,
    plan: Plan,
    pace: Pace,
}

impl Trainer {
    /// Uploads the training set and binds a step, from fresh parameters.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If the batch is 0 or exceeds the training set.
    pub fn new(gpu: &Gpu, data: &Dataset, config: Config) -> Result<Trainer, Error> {
        config.fits(gpu, data)?;
        let parameters = config.shape(data).initial(config.seed);
        let asked = config.clone();
        Trainer::from_parameters(gpu, data, config, &parameters).map_err(|error| asked.advise(data, error))
    }

    /// [`Trainer::new`] from given parameters.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn from_parameters(
        gpu: &Gpu,
        set: &Dataset,
        config: Config,
        parameters: &[Parameters],
    ) -> Result<Trainer, Error> {
        assert!((1..=set.train.len()).contains(&config.batch), "Trainer: a batch of {}", config.batch);
        let data = Resident::upload(gpu, "train", &set.train)?;
        let mlp = Mlp::upload(gpu, config.shape(set), parameters)?;
        let (update, rows) = config.update(data.count);
        let schedule = gpu.upload("schedule", &[rows.len() / 4, 4], &rows)?;
        let size = [set.height, set.width];
        let plan = Plan::new(data.count, config.batch, |batch| {
            let on = mlp.activations(gpu, batch)?;
            let mut ops = vec![match config.augment.distortion() {
                None => data.gather(gpu, &on),
                Some(distortion) => data.augment(gpu, &on, distortion, config.seed, size),
            }];
            Op::mark(&mut ops, "batch");
            if !config.shadow {
                ops.extend(mlp.forget_shadow(gpu));
            }
            ops.extend(mlp.forward(gpu, &on));
            ops.push(mlp.loss(gpu, &on, config.label_smoothing as f32, &data.totals));
            ops.extend(mlp.backward(gpu, &on));
            ops.extend(mlp.update(gpu, update, &data.totals.clock, &schedule));
            Ok(Step { ops, on })
        })?;
        Ok(Trainer { gpu: gpu.clone(), mlp, config, epoch: 0, done: 0, size, data, plan, pace: Pace::new() })
    }

    /// The ops of one full step, for those who want to look or to time.
    pub fn step(&self) -> &[Op] {
        &self.plan.full.ops
    }

    /// Training images.
    pub fn images(&self) -> usize {
        self.data.count
    }

    /// The learning rate of the last step done; 0 before the first.
    pub fn rate(&self) -> f64 {
        self.steps().checked_sub(1).map_or(0.0, |step| self.config.rate(self.data.count, step))
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.epoch * self.config.steps_per_epoch(self.data.count) + self.done
    }

    /// Images done of the epoch that goes on.
    pub fn position(&self) -> usize {
        (self.done * self.config.batch).min(self.data.count)
    }

    /// Puts the clock where the next step is, so that [`Trainer::step`] finds its images.
    pub fn rewind(&self) {
        self.gpu.write(&self.data.totals.clock, &[self.steps() as u32, self.position() as u32]);
    }

    /// What augmentation makes of the first image of each of the first `classes` classes: the image, and what
    /// `times` draws show of it. None where images are shown as they are.
    ///
    /// # Errors
    /// If the device failed.
    pub fn samples(&self, classes: usize, times: usize) -> Result<Option<Vec<Sample>>, Error> {
        let (gpu, data) = (&self.gpu, &self.data);
        let Some(distortion) = self.config.augment.distortion() else { return Ok(None) };
        let labels = gpu.download::<u32>(&data.labels)?;
        let first = |class: usize| labels.iter().position(|&label| label as usize == class);
        let chosen: Vec<u32> = (0..classes).filter_map(first).map(|i| i as u32).collect();
        let mut order: Vec<u32> = (0..data.count as u32).collect();
        order[..chosen.len()].copy_from_slice(&chosen);
        gpu.write(&data.order, &order);
        let on = self.mlp.activations(gpu, chosen.len())?;
        let shown = |op: Op, step: u32| {
            gpu.write(&data.totals.clock, &[step, 0]);
            gpu.run([&op])?;
            let pixels = gpu.download::<i32>(&on.pixels)?;
            Ok(pixels.iter().map(|&pixel| pixel as u8).collect::<Vec<u8>>())
        };
        let originals = shown(data.gather(gpu, &on), 0)?;
        let varied =
            |step: usize| shown(data.augment(gpu, &on, distortion, self.config.seed, self.size), step as u32);
        let varied = (0..times).map(varied).collect::<Result<Vec<_>, Error>>()?;
        let pixels = self.size[0] * self.size[1];
        let image = |all: &Vec<u8>, i: usize| all[i * pixels..][..pixels].to_vec();
        let sample = |i| (image(&originals, i), varied.iter().map(|all| image(all, i)).collect());
        Ok(Some((0..chosen.len()).map(sample).collect()))
    }

    /// Trains what is left of the epoch; `progress` hears how many of its images are done, and may break off
    /// between two steps: then there is no score yet, and the next call goes on from there. The score is the
    /// mean over the epoch as the weights moved, with the loss that was minimised.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If all epochs of the schedule are done.
    pub fn run(
        &mut self,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Score>, Error> {
        self.run_to(self.plan.len(), progress)
    }

    /// [`Trainer::run`], to a step of the epoch.
    fn run_to(
        &mut self,
        end: usize,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Score>, Error> {
        self.aim();
        let (batch, count) = (self.config.batch, self.data.count);
        let mut heard = |done: usize| progress((done * batch).min(count));
        self.done = self.plan.run(&self.gpu, self.done..end, &mut self.pace, &mut heard)?;
        if self.done < self.plan.len() {
            return Ok(None);
        }
        (self.epoch, self.done) = (self.epoch + 1, 0);
        self.data.score(&self.gpu).map(Some)
    }

    /// Puts order and clock where the next step is, and before an epoch the totals at zero.
    fn aim(&self) {
        assert!(self.epoch < self.config.epochs, "Trainer: all {} epochs are done", self.config.epochs);
        self.host().aim(&self.gpu);
    }

    /// What the host does between the steps, and where it stands.
    fn host(&self) -> Host<Tensor> {
        let Resident { order, totals: Totals { loss, hits, clock }, .. } = &self.data;
        let seed = [self.config.seed as u32, (self.config.seed >> 32) as u32];
        let (per_pass, per_run) = (vec![self.plan.len() as u32, 0], vec![1, self.config.batch as u32]);
        let runs = [(0, self.plan.full_batches)].into_iter().chain(self.plan.rest.as_ref().map(|_| (1, 1)));
        Host {
            passes: self.config.epochs,
            at: [self.epoch, self.done],
            runs: runs.collect(),
            aim: vec![
                (order.clone(), Fill::Permutation { seed }),
                (clock.clone(), Fill::Counter { per_pass, per_run }),
            ],
            clear: vec![loss.clone(), hits.clone()],
            read: vec![loss.clone(), hits.clone()],
        }
    }

    /// The run from here on as data: the tensors as they are now, a full step, the short last one of an epoch, and what
    /// the host does between them.
    ///
    /// # Errors
    /// If the device failed.
    pub fn plan(&self) -> Result<gpu::Plan, Error> {
        let lists = [("step", &self.plan.full)].into_iter();
        let lists = lists.chain(self.plan.rest.as_ref().map(|rest| ("short step", rest)));
        let lists: Vec<(&str, &[Op])> = lists.map(|(name, step)| (name, &step.ops[..])).collect();
        gpu::Plan::of(&self.gpu, &lists, Some(&self.host()))
    }

    /// [`Trainer::run`] to the end of the epoch.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If all epochs of the schedule are done.
    pub fn run_epoch(&mut self, progress: &mut dyn FnMut(usize)) -> Result<Score, Error> {
        let mut heard = |images: usize| {
            progress(images);
            ControlFlow::Continue(())
        };
        Ok(self.run(&mut heard)?.expect("nobody breaks off"))
    }
}
