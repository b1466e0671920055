//! The settings of a run on a text: network, recipe, seed. This module knows the valid settings, and which networks fit
//! a device.

use crate::gpu::{Error, Gpu};
use crate::kernels::AdamW;
use crate::model::{BATCH, Precision, TransformerShape};
use crate::parameter::Activation;
use crate::ternary::{BLOCK, RMSNORM_EPS};
use crate::train::config::{Common, LARGEST, MOST_SCHEDULED, cosine, most, range};
use crate::train::{ConfigError, Optimizer, Recipe};

/// All settings that determine a run on a text.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct TextConfig {
    /// Number of steps.
    pub steps: usize,
    /// Steps from one evaluation to the next. The last evaluation comes after the last step.
    pub every: usize,
    /// Sequences per step.
    pub batch: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of heads of keys and values.
    pub kv_heads: usize,
    /// Width between gate and down.
    pub ffn: usize,
    /// Ternary, or its float twin.
    pub precision: Precision,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub lr: f64,
    /// Steps of warm-up, in which the learning rate rises to its peak.
    pub warmup: usize,
    /// Decoupled weight decay of matrices and embedding in the first half of the steps. In the second half it is 0.
    pub weight_decay: f64,
    /// The largest norm of all gradients together, or 0 for no limit. Larger gradients are scaled to it.
    pub clip: f64,
    /// Label smoothing: the share of the target that is spread over all tokens.
    pub label_smoothing: f64,
    /// Whether a ternary network keeps float shadow weights.
    pub shadow: bool,
    /// Number of micro-batches of a step, see [`Recipe::micro_batches`].
    #[cfg_attr(feature = "files", serde(default, skip_serializing_if = "Option::is_none"))]
    pub micro_batches: Option<usize>,
    /// The seed for the initial weights, the sequences of every step and the sampled text.
    pub seed: u64,
}

impl Default for TextConfig {
    /// A network of 0.8 million parameters that learns in minutes on two CPU cores.
    fn default() -> TextConfig {
        let (steps, precision, optimizer) = (1200, Default::default(), Default::default());
        TextConfig {
            steps,
            every: TextConfig::default_every(steps),
            batch: 12,
            context: 64,
            layers: 4,
            width: 128,
            heads: 4,
            kv_heads: 4,
            ffn: TextConfig::default_ffn(128),
            precision,
            optimizer,
            lr: TextConfig::default_lr(optimizer),
            warmup: TextConfig::default_warmup(steps),
            weight_decay: 0.1,
            clip: 1.0,
            label_smoothing: 0.0,
            shadow: true,
            micro_batches: None,
            seed: 0,
        }
    }
}

impl TextConfig {
    /// The default number of steps between two evaluations: a tenth of all steps.
    pub fn default_every(steps: usize) -> usize {
        steps.div_ceil(10).max(1)
    }

    /// The default number of steps of warm-up: 50, or a tenth of all steps if that is less.
    pub fn default_warmup(steps: usize) -> usize {
        (steps / 10).clamp(1, 50)
    }

    /// The default ffn width: 8/3 of the width, rounded up to whole blocks of weights.
    pub fn default_ffn(width: usize) -> usize {
        let block = BLOCK >> width.trailing_zeros().min(BLOCK.ilog2());
        (8 * width).div_ceil(3).next_multiple_of(block.max(8))
    }

    /// The default peak learning rate. It suits both precisions.
    pub fn default_lr(optimizer: Optimizer) -> f64 {
        match optimizer {
            Optimizer::AdamW => 1.5e-3,
            Optimizer::Sgd => 0.05,
        }
    }

    /// The network for a vocabulary of `vocabulary` tokens.
    pub fn shape(&self, vocabulary: usize) -> TransformerShape {
        TransformerShape {
            layers: self.layers,
            width: self.width,
            heads: self.heads,
            kv_heads: self.kv_heads,
            ffn: self.ffn,
            vocabulary,
            context: self.context,
            theta: 1e4,
            eps: RMSNORM_EPS as f32,
            precision: self.precision,
            activation: Activation::Relu2,
            sub_norms: true,
            tied: true,
        }
    }

    /// Checks that the run is possible with a vocabulary. [`Corpus::fits`](crate::text::Corpus::fits) checks the
    /// context against the length of a text.
    ///
    /// # Errors
    /// The setting that is out of range, with its valid values.
    pub fn validate(&self, vocabulary: usize) -> Result<(), ConfigError> {
        let TextConfig { steps, every, batch, context, warmup, clip, .. } = *self;
        for (setting, value, why) in [
            ("steps", steps, "trains nothing"),
            ("every", every, "comes to no evaluation"),
            ("batch", batch, "trains nothing"),
            ("context", context, "predicts nothing"),
            ("warmup", warmup, "has no first step"),
        ] {
            if value == 0 {
                return range(setting, format!("0 {why}: use at least 1"));
            }
        }
        if steps > MOST_SCHEDULED {
            return range("steps", format!("{steps}: the schedule holds {MOST_SCHEDULED} steps"));
        }
        if batch.saturating_mul(context) > MOST_TOKENS {
            let most = MOST_TOKENS / context;
            return range(
                "batch",
                format!(
                    "{batch}: a step holds {MOST_TOKENS} tokens, here {most} sequence{}",
                    if most == 1 { "" } else { "s" }
                ),
            );
        }
        self.shape(vocabulary).validate().map_err(ConfigError::Shape)?;
        if !(0.0..=LARGEST).contains(&clip) {
            return range("clip", format!("{clip} must be a number from 0 to {LARGEST:e}"));
        }
        self.common().validate()
    }

    /// Checks that the adapter can bind the network's tensors. No tensor is created.
    ///
    /// # Errors
    /// The first tensor that is too large. [`TextConfig::largest`] gives settings that fit.
    pub fn fits(&self, gpu: &Gpu, vocabulary: usize) -> Result<(), Error> {
        let shape = self.shape(vocabulary);
        gpu.fits("model.embed_tokens.weight", &[vocabulary, self.width])?;
        let tokens = self.batch * self.context;
        for (name, [rows, cols]) in shape.stacked() {
            gpu.fits(&format!("model.layers.0.{name}.weight"), &[rows, cols])?;
            gpu.fits(&format!("layers.0.{name}.acc"), &[tokens, rows])?;
        }
        gpu.fits("logits", &[tokens, vocabulary])
    }

    /// Bytes that training needs on the device, without small tensors and the text.
    pub fn bytes(&self, vocabulary: usize) -> u64 {
        let shape = self.shape(vocabulary);
        // Values, gradients and two moments, and the trits.
        let parameters = 16 * (shape.weights() + vocabulary * self.width) + shape.weights() / 4;
        // Rows of a training step and of the evaluation. Each layer keeps accumulators, codes or floats, and the
        // residual stream of these rows. All layers share the gradients of one layer.
        let tokens = self.batch * self.context + BATCH.max(self.context);
        let outputs: usize = shape.stacked().into_iter().map(|(_, [rows, _])| rows).sum();
        let layer = 4 * (outputs + 6 * self.width + self.ffn);
        let beside = 4 * (2 * outputs + 4 * self.width + 3 * vocabulary);
        (parameters + tokens * (self.layers * layer + beside)) as u64
    }

    /// These settings with the largest batch for which `fits` holds. If no batch fits, the batch is 1, and the context
    /// is the largest one that fits. If no context fits, batch and context do not change, and the network is the widest
    /// one that fits. Its ffn width becomes smaller by the same factor.
    pub fn largest(&self, fits: impl Fn(&TextConfig) -> bool) -> Option<TextConfig> {
        let with_batch = |batch: usize| TextConfig { batch, ..self.clone() };
        let with_context = |context: usize| TextConfig { context, ..with_batch(1) };
        let narrower = |head: usize| {
            let width = self.heads * head;
            let ffn = (self.ffn * width / self.width / 16 * 16).max(16);
            TextConfig { width, ffn, ..self.clone() }
        };
        let batch = most(self.batch, |&batch| fits(&with_batch(batch))).map(with_batch);
        let context = || most(self.context, |&context| fits(&with_context(context))).map(with_context);
        let width = || {
            let heads = (1..=8).rev().map(|head| narrower(16 * head));
            let mut narrower =
                heads.filter(|config| config.width < self.width && config.width.is_multiple_of(64));
            narrower.find(|config| fits(config))
        };
        batch.or_else(context).or_else(width)
    }

    /// The settings that every kind of run has.
    fn common(&self) -> Common {
        let TextConfig { precision, optimizer, lr, weight_decay, label_smoothing, shadow, .. } = *self;
        let TextConfig { batch, micro_batches, .. } = *self;
        Common { precision, optimizer, lr, weight_decay, label_smoothing, shadow, batch, micro_batches }
    }

    /// The settings that a trainer needs.
    pub fn recipe(&self) -> Recipe {
        let adamw = AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8 };
        let decay = |step: usize| if step < self.steps / 2 { self.weight_decay } else { 0.0 };
        Recipe {
            rates: (0..self.steps).map(|step| cosine(self.lr, self.warmup, self.steps, step)).collect(),
            decays: (0..self.steps).map(decay).collect(),
            clip: Some(self.clip as f32).filter(|&clip| clip > 0.0),
            ..self.common().recipe(adamw)
        }
    }
}

/// The largest number of tokens in a step. With this limit, the number of values in the widest rows fits into 64 bits,
/// and the number of rows into 32 bits.
const MOST_TOKENS: usize = 1 << 24;
