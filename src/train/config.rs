//! The settings that every kind of run has: optimizer, learning rate, weights.

use super::Recipe;
use crate::kernels::{AdamW, MOST_TERMS, Sgd};
use crate::model::{Precision, Update};

/// The optimizer, which turns gradients into updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    #[default]
    #[cfg_attr(feature = "cli", value(name = "adamw"))]
    AdamW,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// The reason why a config cannot be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A setting is out of range.
    #[error("{setting} {what}")]
    Range {
        /// The name of the field of the config.
        setting: &'static str,
        /// Its value, and its valid values.
        what: String,
    },
    /// A layer has a width that no kernel supports.
    #[error("{data} and the hidden widths {hidden:?} make {what}")]
    Width {
        /// The data set.
        data: String,
        /// The widths.
        hidden: Vec<usize>,
        /// The fault of the layer.
        what: String,
    },
    /// No kernel supports a network of these widths.
    #[error("the widths make {0}")]
    Shape(String),
    /// A float network has no shadow weights.
    #[error("a float network has no shadow weights to do without")]
    NoShadow,
}

/// The largest number of steps of a schedule: 16 bytes each, in the 128 MiB that every adapter can bind.
pub(super) const MOST_SCHEDULED: usize = 1 << 23;

/// The largest value of a setting that the device reads as f32.
pub(super) const LARGEST: f64 = 1e38;

/// The settings that every kind of run has.
pub(super) struct Common {
    pub precision: Precision,
    pub optimizer: Optimizer,
    pub lr: f64,
    pub weight_decay: f64,
    pub label_smoothing: f64,
    pub shadow: bool,
    pub batch: usize,
    pub micro_batches: Option<usize>,
}

impl Common {
    /// Checks that each setting is within its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Common { precision, lr, weight_decay, label_smoothing, shadow, batch, micro_batches, .. } = *self;
        let most = batch.min(MOST_TERMS);
        if let Some(count) = micro_batches.filter(|count| !(1..=most).contains(count)) {
            return range(
                "micro_batches",
                match batch > MOST_TERMS {
                    true => {
                        format!("{count} must lie between 1 and {most}, the most whose integers can be added")
                    }
                    false => format!("{count} must lie between 1 and {most}, the number of items in a step"),
                },
            );
        }
        if !(lr > 0.0 && lr <= LARGEST) {
            return range("lr", format!("{lr} must be a number above 0, up to {LARGEST:e}"));
        }
        if !(0.0..=LARGEST).contains(&weight_decay) {
            return range("weight_decay", format!("{weight_decay} must be a number from 0 to {LARGEST:e}"));
        }
        if !shadow && precision == Precision::F32 {
            return Err(ConfigError::NoShadow);
        }
        if !(0.0..1.0).contains(&label_smoothing) {
            return range("label_smoothing", format!("{label_smoothing} must lie in 0 <= x < 1"));
        }
        Ok(())
    }

    /// A recipe without a schedule. `adamw` holds the constants of AdamW, if that is the optimizer.
    pub fn recipe(&self, adamw: AdamW) -> Recipe {
        Recipe {
            batch: self.batch,
            smoothing: self.label_smoothing as f32,
            shadow: self.shadow,
            update: match self.optimizer {
                Optimizer::AdamW => Update::AdamW(adamw),
                Optimizer::Sgd => Update::Sgd(Sgd { momentum: 0.9 }),
            },
            rates: Vec::new(),
            decays: Vec::new(),
            clip: None,
            micro_batches: self.micro_batches,
        }
    }
}

/// The error for a setting that is out of range.
pub(super) fn range(setting: &'static str, what: String) -> Result<(), ConfigError> {
    Err(ConfigError::Range { setting, what })
}

/// The learning rate of a step: a linear warm-up to `peak`, then a cosine to 0 at step `total`. It must end at 0, or
/// trits continue to flip until the end.
pub(super) fn cosine(peak: f64, warmup: usize, total: usize, step: usize) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (total - warmup).max(1) as f64;
    0.5 * peak * (1.0 + (std::f64::consts::PI * done).cos())
}

/// The largest number from 1 to below `end` for which `fits` holds. A smaller number fits if a larger one fits.
pub(super) fn most(end: usize, fits: impl Fn(&usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        *(if fits(&middle) { &mut low } else { &mut high }) = middle;
    }
    Some(low).filter(|&low| low > 0)
}
