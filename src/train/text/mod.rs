//! A text as a source of batches: the ids of a split on the device, and the starts of its sequences. An item is a
//! sequence of `context` tokens. Its labels are the next tokens of these tokens.

mod config;

use std::sync::Arc;

pub use config::TextConfig;

#[cfg(feature = "files")]
use super::Files;
use super::{Alone, Exchange, Source, Trainer};
use crate::gpu::{Error, Fill, Gpu, Op, Tensor};
use crate::kernels;
use crate::model::{Pass, Transformer};
use crate::text::Corpus;

/// The files of a run on a text.
#[cfg(feature = "files")]
pub const FILES: Files = Files { begun: &["config.json"], epoch: &["curve.svg"], ended: &["attention.png"] };

impl Trainer<Transformer, Text> {
    /// Uploads the training split, and binds a step with fresh parameters. An epoch of this trainer is the steps
    /// between two evaluations.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If a setting is out of range, or if the text is shorter than a context and the token after it.
    pub fn on_text(
        gpu: &Gpu,
        corpus: &Corpus,
        config: &TextConfig,
    ) -> Result<Trainer<Transformer, Text>, Error> {
        Trainer::on_text_among(gpu, corpus, config, Arc::new(Alone))
    }

    /// [`Trainer::on_text`] for one of several ranks, see [`Trainer::among`].
    ///
    /// # Errors
    /// As [`Trainer::on_text`].
    ///
    /// # Panics
    /// As [`Trainer::on_text`] and [`Trainer::among`].
    pub fn on_text_among(
        gpu: &Gpu,
        corpus: &Corpus,
        config: &TextConfig,
        exchange: Arc<dyn Exchange>,
    ) -> Result<Trainer<Transformer, Text>, Error> {
        let vocabulary = corpus.vocabulary.len();
        config.fits(gpu, vocabulary)?;
        let shape = config.shape(vocabulary);
        let values = shape.initial(config.seed);
        let network = Transformer::upload(gpu, shape, &values)?;
        let source =
            Text::drawn(gpu, &corpus.train, config.context, config.seed, config.every * config.batch)?;
        Trainer::among(gpu, network, source, config.recipe(), exchange)
    }
}

/// One split of a corpus on the device.
pub struct Text {
    ids: Tensor,
    items: usize,
    labels: usize,
    /// The seed of the starts. Without a seed, the sequences follow each other.
    seed: Option<u64>,
}

impl Text {
    /// Sequences from random places in a text, drawn anew for every step. An epoch has `items` of them. The sequences
    /// of a step depend only on the number of the step and the seed.
    ///
    /// # Errors
    /// If the adapter cannot bind the ids.
    ///
    /// # Panics
    /// If the text has fewer than `context + 1` ids.
    pub fn drawn(gpu: &Gpu, ids: &[u32], context: usize, seed: u64, items: usize) -> Result<Text, Error> {
        let ids = upload(gpu, "train.ids", ids, context)?;
        Ok(Text { ids, items, labels: items * context, seed: Some(seed) })
    }

    /// The whole text in sequences that follow each other. Each token except the first is predicted once. In the last
    /// sequence, the labels after the end of the text do not count.
    ///
    /// # Errors
    /// If the adapter cannot bind the ids.
    ///
    /// # Panics
    /// As [`Text::drawn`].
    pub fn whole(gpu: &Gpu, ids: &[u32], context: usize) -> Result<Text, Error> {
        let ids = upload(gpu, "validation.ids", ids, context)?;
        let labels = ids.len() - 1;
        Ok(Text { ids, items: labels.div_ceil(context), labels, seed: None })
    }
}

/// Uploads the ids. There must be at least `context + 1` of them.
fn upload(gpu: &Gpu, label: &str, ids: &[u32], context: usize) -> Result<Tensor, Error> {
    assert!(
        ids.len() > context,
        "{label}: {} ids are no sequence of {context} and the id after it",
        ids.len()
    );
    gpu.upload(label, &[ids.len()], ids)
}

impl Source for Text {
    fn items(&self) -> usize {
        self.items
    }

    fn labels(&self) -> usize {
        self.labels
    }

    fn aim(&self) -> Vec<(Tensor, Fill)> {
        Vec::new()
    }

    fn fill(&self, gpu: &Gpu, clock: &Tensor, pass: &Pass) -> Vec<Op> {
        vec![kernels::text_batch(gpu, clock, &self.ids, self.seed, &pass.input, &pass.labels)]
    }
}
