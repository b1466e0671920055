//! Steps, epochs, evaluation and the schedule. The data set lives on the device; an epoch is a
//! replayed list of ops with no read-back inside. The host draws the permutation and reads totals.

use std::time::{Duration, Instant};

use crate::gpu::{Error, Gpu, Op, Submission, Tensor};
use crate::kernels::{self, AdamW, Totals};
use crate::mnist::{Dataset, Split};
use crate::model::{Mlp, Parameters, Shape};
use crate::random;

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
    /// Peak learning rate.
    pub lr: f64,
    /// Decoupled weight decay of the shadow weights.
    pub weight_decay: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Seed of the initial weights and of the order of the images.
    pub seed: u64,
}

impl Default for Config {
    /// The recipe of the README: 98.2 % on MNIST.
    fn default() -> Config {
        Config {
            epochs: 20,
            batch: 128,
            hidden: vec![256, 128],
            lr: 3e-3,
            weight_decay: 0.0,
            label_smoothing: 0.0,
            seed: 0,
        }
    }
}

impl Config {
    /// Steps in one epoch; the last may be short.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch)
    }

    /// The network for a data set.
    pub fn shape(&self, data: &Dataset) -> Shape {
        let dims = [data.pixels()].into_iter().chain(self.hidden.iter().copied()).chain([data.classes]);
        Shape { dims: dims.collect(), eps: RMSNORM_EPS as f32 }
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
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(format!("--label-smoothing {} must lie in 0 <= x < 1", self.label_smoothing));
        }
        Ok(())
    }

    /// AdamW's constants.
    pub fn adamw(&self) -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: self.weight_decay as f32 }
    }
}

/// Steps that a schedule holds: 16 bytes each, in the 128 MiB that every adapter binds.
const MOST_SCHEDULED: usize = 1 << 23;

/// RMSNorm's epsilon in every network that is trained here.
pub const RMSNORM_EPS: f64 = 1e-5;

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
    clock: Tensor,
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
            clock: gpu.upload(&name("clock"), &[2], &[0u32, 0])?,
            totals: Totals::zeros(gpu, &name("totals"))?,
            count: labels.len(),
        })
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
    images: usize,
    logits: Tensor,
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

    fn steps(&self) -> impl Iterator<Item = &Step> {
        std::iter::repeat_n(&self.full, self.full_batches).chain(&self.rest)
    }

    /// Runs the plan once, many steps per submit, and waits for its end.
    ///
    /// `progress` hears how many images are done, a few times a second.
    fn run(&self, gpu: &Gpu, pace: &mut Pace, progress: &mut dyn FnMut(usize)) -> Result<(), Error> {
        let steps: Vec<&Step> = self.steps().collect();
        let mut left = &steps[..];
        let mut done = 0;
        let mut in_flight: Option<(Submission, &[&Step])> = None;
        while !left.is_empty() {
            let (now, later) = left.split_at(pace.steps.min(left.len()));
            left = later;
            let submission = gpu.run(now.iter().flat_map(|step| &step.ops))?;
            // One submission runs while the next is recorded; waiting for the one before keeps the
            // queue short enough to stop, and the progress honest.
            if let Some((before, steps)) = in_flight.replace((submission, now)) {
                gpu.wait(Some(before))?;
                pace.note(steps.len());
                done += steps.iter().map(|step| step.images).sum::<usize>();
                progress(done);
            }
        }
        gpu.wait(None)
    }
}

/// Chooses the steps per submit: about a tenth of a second of work.
struct Pace {
    steps: usize,
    last: Option<Instant>,
}

impl Pace {
    const TARGET: Duration = Duration::from_millis(100);

    fn new() -> Pace {
        Pace { steps: 1, last: None }
    }

    fn note(&mut self, steps: usize) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let step = (now - last).as_secs_f64() / steps as f64;
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
    quantize: Vec<Op>,
    plan: Plan,
}

impl Evaluator {
    /// Uploads the images and binds the forward pass.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn new(gpu: &Gpu, mlp: &Mlp, split: &Split) -> Result<Evaluator, Error> {
        let data = Resident::upload(gpu, "test", split)?;
        let widest = mlp.shape.dims.iter().copied().max().unwrap_or(1);
        let mut batch = EVALUATION_BATCH.min(data.count);
        while batch > 1 && gpu.fits("activations", &[batch, widest]).is_err() {
            batch /= 2;
        }
        let plan = Plan::new(data.count, batch, |batch| {
            let on = mlp.activations(gpu, batch)?;
            let Resident { images, labels, order, clock, totals, .. } = &data;
            let mut ops =
                vec![kernels::gather_batch(gpu, clock, order, images, labels, &on.pixels, &on.labels)];
            ops.extend(mlp.forward(gpu, &on));
            ops.push(mlp.loss(gpu, &on, 0.0, totals));
            ops.push(kernels::advance(gpu, clock, batch));
            Ok(Step { ops, images: batch, logits: on.logits })
        })?;
        Ok(Evaluator { gpu: gpu.clone(), data, quantize: mlp.quantize(gpu)?, plan })
    }

    /// Loss (without smoothing) and accuracy of the weights as they are now.
    ///
    /// # Errors
    /// If the device failed.
    pub fn score(&self) -> Result<Score, Error> {
        self.gpu.write(&self.data.clock, &[0u32, 0]);
        self.data.totals.clear(&self.gpu);
        self.gpu.run(&self.quantize)?;
        self.plan.run(&self.gpu, &mut Pace::new(), &mut |_| {})?;
        self.data.score(&self.gpu)
    }

    /// The class of the largest logit of every image, in the order of the data set.
    ///
    /// # Errors
    /// If the device failed.
    pub fn predictions(&self) -> Result<Vec<usize>, Error> {
        self.gpu.write(&self.data.clock, &[0u32, 0]);
        self.gpu.run(&self.quantize)?;
        let mut classes = Vec::with_capacity(self.data.count);
        for step in self.plan.steps() {
            self.gpu.run(&step.ops)?;
            let logits = self.gpu.download::<f32>(&step.logits)?;
            let width = logits.len() / step.images;
            // The first of equal logits, as in softmax_xent.
            let best = |row: &[f32]| (0..width).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
            classes.extend(logits.chunks_exact(width).map(|row| best(row).expect("a network has a class")));
        }
        Ok(classes)
    }
}

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
        let shape = config.shape(data);
        for (i, layer) in shape.layers().iter().enumerate() {
            gpu.fits(&format!("layers.{i}.weight"), layer)?;
        }
        let parameters = shape.initial(config.seed);
        Trainer::from_parameters(gpu, &data.train, config, shape, &parameters)
    }

    /// [`Trainer::new`] from given parameters.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn from_parameters(
        gpu: &Gpu,
        split: &Split,
        config: Config,
        shape: Shape,
        parameters: &[Parameters],
    ) -> Result<Trainer, Error> {
        assert!((1..=split.len()).contains(&config.batch), "Trainer: a batch of {}", config.batch);
        let data = Resident::upload(gpu, "train", split)?;
        let mlp = Mlp::upload(gpu, shape, parameters)?;
        let rows = config.adamw().schedule(config.rates(data.count));
        let schedule = gpu.upload("schedule", &[rows.len() / 4, 4], &rows)?;
        let plan = Plan::new(data.count, config.batch, |batch| {
            let on = mlp.activations(gpu, batch)?;
            let Resident { images, labels, order, clock, totals, .. } = &data;
            let mut ops =
                vec![kernels::gather_batch(gpu, clock, order, images, labels, &on.pixels, &on.labels)];
            ops.extend(mlp.quantize(gpu)?);
            ops.extend(mlp.forward(gpu, &on));
            ops.push(mlp.loss(gpu, &on, config.label_smoothing as f32, totals));
            ops.extend(mlp.backward(gpu, &on));
            ops.extend(mlp.update(gpu, config.adamw(), clock, &schedule));
            ops.push(kernels::advance(gpu, clock, batch));
            Ok(Step { ops, images: batch, logits: on.logits })
        })?;
        Ok(Trainer { gpu: gpu.clone(), mlp, config, epoch: 0, data, plan, pace: Pace::new() })
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
        self.epoch * self.config.steps_per_epoch(self.data.count)
    }

    /// Puts the clock at the start of the next epoch, where [`Trainer::step`] finds its images.
    pub fn rewind(&self) {
        self.gpu.write(&self.data.clock, &[self.steps() as u32, 0]);
    }

    /// Trains one epoch; `progress` hears how many images are done. The score is the mean over the
    /// epoch as the weights moved, with the loss that was minimised.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If all epochs of the schedule are done.
    pub fn run_epoch(&mut self, progress: &mut dyn FnMut(usize)) -> Result<Score, Error> {
        assert!(self.epoch < self.config.epochs, "Trainer: all {} epochs are done", self.config.epochs);
        let order = random::permutation(self.config.seed, self.epoch as u32, self.data.count);
        self.gpu.write(&self.data.order, &order);
        self.rewind();
        self.data.totals.clear(&self.gpu);
        self.plan.run(&self.gpu, &mut self.pace, progress)?;
        self.epoch += 1;
        self.data.score(&self.gpu)
    }
}

#[cfg(feature = "cli")]
impl Trainer {
    /// The run as a file: parameters, moments, and `run`, what it says of itself.
    ///
    /// # Errors
    /// If the device failed.
    pub fn checkpoint(&self, run: serde_json::Value) -> Result<crate::checkpoint::Checkpoint, Error> {
        use crate::checkpoint::{Checkpoint, Layer, Moments};
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
            })
        });
        Ok(Checkpoint { layers: layers.collect::<Result<_, Error>>()?, run })
    }
}
