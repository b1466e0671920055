//! The settings of a run on digits: network, recipe, seed. This module knows the valid settings, and which networks
//! fit a device.

use crate::augment::Distortion;
use crate::gpu::{Error, Gpu};
use crate::kernels::AdamW;
use crate::mnist::Dataset;
use crate::model::{BATCH, Precision, Shape};
use crate::ternary::RMSNORM_EPS;
use crate::train::config::{Common, MOST_SCHEDULED, cosine, most, range};
use crate::train::{ConfigError, Optimizer, Recipe};

/// All settings that determine a run.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Ternary, or its float twin.
    pub precision: Precision,
    /// The variation of the training images.
    pub augment: Augment,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Label smoothing: the share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// Whether a ternary network keeps float shadow weights.
    pub shadow: bool,
    /// Number of micro-batches of a step, see [`Recipe::micro_batches`].
    #[cfg_attr(feature = "files", serde(default, skip_serializing_if = "Option::is_none"))]
    pub micro_batches: Option<usize>,
    /// The seed for the initial weights, the order of the images and their variations.
    pub seed: u64,
}

/// The variation of training images. Every step draws it anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Augment {
    /// Unchanged.
    None,
    /// Moved by up to one pixel in each direction.
    Shift,
    /// Turned by up to 10 degrees, scaled by up to 10 %, sheared by up to 0.1, moved by up to one pixel.
    #[default]
    Affine,
}

impl Augment {
    pub(in crate::train) fn distortion(self) -> Option<&'static Distortion> {
        match self {
            Augment::None => None,
            Augment::Shift => Some(&Distortion::SHIFT),
            Augment::Affine => Some(&Distortion::AFFINE),
        }
    }
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
            micro_batches: None,
            seed: 0,
        }
    }
}

impl Config {
    /// The default peak learning rate for a network and an optimizer.
    pub fn default_lr(precision: Precision, optimizer: Optimizer) -> f64 {
        match (precision, optimizer) {
            (Precision::Ternary, Optimizer::AdamW) => 3e-3,
            (Precision::F32, Optimizer::AdamW) => 1e-3,
            (_, Optimizer::Sgd) => 0.05,
        }
    }

    /// Number of steps in one epoch. The last step may have a smaller batch.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch)
    }

    /// The network for a data set.
    pub fn shape(&self, data: &Dataset) -> Shape {
        let dims = [data.pixels()].into_iter().chain(self.hidden.iter().copied()).chain([data.classes]);
        Shape { dims: dims.collect(), eps: RMSNORM_EPS as f32, precision: self.precision }
    }

    /// The learning rate of a step: a linear warm-up over half an epoch, then a cosine to 0. It must end at 0, or
    /// trits continue to flip until the end.
    pub fn rate(&self, images: usize, step: usize) -> f64 {
        let total = self.epochs * self.steps_per_epoch(images);
        let warmup = (self.steps_per_epoch(images) / 2).max(1);
        cosine(self.lr, warmup, total, step)
    }

    /// The learning rate of every step.
    pub fn rates(&self, images: usize) -> Vec<f64> {
        let total = self.epochs * self.steps_per_epoch(images);
        (0..total).map(|step| self.rate(images, step)).collect()
    }

    /// Checks that the run is possible on a data set.
    ///
    /// # Errors
    /// The setting that is out of range, with its valid values.
    pub fn validate(&self, data: &Dataset) -> Result<(), ConfigError> {
        let images = data.train.len();
        if self.epochs == 0 {
            return range("epochs", "0 trains nothing: use at least 1".into());
        }
        if self.batch == 0 || self.batch > images {
            return range(
                "batch",
                format!("{} must lie between 1 and the {images} training images", self.batch),
            );
        }
        if self.epochs.saturating_mul(self.steps_per_epoch(images)) > MOST_SCHEDULED {
            let most = MOST_SCHEDULED / self.steps_per_epoch(images);
            let asked = self.epochs;
            return range(
                "epochs",
                format!(
                    "{asked}: the schedule holds {MOST_SCHEDULED} steps, here {most} epoch{}",
                    if most == 1 { "" } else { "s" }
                ),
            );
        }
        self.shape(data).validate().map_err(|what| ConfigError::Width {
            data: data.name.clone(),
            hidden: self.hidden.clone(),
            what,
        })?;
        self.common().validate()
    }

    /// Checks that the adapter can bind the network's tensors. No tensor is created.
    ///
    /// # Errors
    /// The first tensor that is too large. [`Config::widest_bound`] gives a width that fits.
    pub fn fits(&self, gpu: &Gpu, data: &Dataset) -> Result<(), Error> {
        let shape = self.shape(data);
        for (i, [rows, cols]) in shape.layers().into_iter().enumerate() {
            gpu.fits(&format!("layers.{i}.weight"), &[rows, cols])?;
            gpu.fits(&format!("layers.{i}.x"), &[self.batch, cols])?;
        }
        Ok(())
    }

    /// Bytes that training needs on the device, without small tensors.
    fn bytes(&self, data: &Dataset) -> u64 {
        let set = (data.train.images.len() + data.test.images.len()) as u64;
        // Weights, gradients, two moments and the trits. Inputs, codes, normed values and gradients for three
        // batches: the full one, the short one, and that of the evaluation.
        let batches = self.batch + data.train.len() % self.batch + BATCH.min(data.test.len());
        let layer = |[rows, cols]: [usize; 2]| rows * cols * 65 / 4 + batches * (rows * 8 + cols * 16);
        set + self.shape(data).layers().into_iter().map(|shape| layer(shape) as u64).sum::<u64>()
    }

    /// The widest hidden layers that the adapter can bind, see [`Config::fits`].
    pub fn widest_bound(&self, gpu: &Gpu, data: &Dataset) -> Option<Vec<usize>> {
        self.widest(|config| config.fits(gpu, data).is_ok())
    }

    /// The widest hidden layers for which `bytes` bytes of memory are enough.
    pub fn widest_within(&self, data: &Dataset, bytes: u64) -> Option<Vec<usize>> {
        self.widest(|config| config.bytes(data) <= bytes)
    }

    /// The widest hidden layers for which `fits` holds. No layer is wider than in this config, and all layers above
    /// one width are reduced to it.
    fn widest(&self, fits: impl Fn(&Config) -> bool) -> Option<Vec<usize>> {
        let cut = |width: usize| Config {
            hidden: self.hidden.iter().map(|&asked| asked.min(width)).collect(),
            ..self.clone()
        };
        // A narrower network always fits if a wider one fits.
        let width = most(self.hidden.iter().copied().max()?, |&width| fits(&cut(width)))?;
        Some(cut(width).hidden)
    }

    /// The settings that every kind of run has.
    fn common(&self) -> Common {
        let Config { precision, optimizer, lr, weight_decay, label_smoothing, shadow, .. } = *self;
        let Config { batch, micro_batches, .. } = *self;
        Common { precision, optimizer, lr, weight_decay, label_smoothing, shadow, batch, micro_batches }
    }

    /// The settings that a trainer needs.
    pub fn recipe(&self, images: usize) -> Recipe {
        let rates = self.rates(images);
        let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
        Recipe { decays: vec![self.weight_decay; rates.len()], rates, ..self.common().recipe(adamw) }
    }
}
