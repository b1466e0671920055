//! A text as a source of batches: the ids of a split on the device, and where its sequences begin. An item is a sequence
//! of `context` tokens; its labels are the tokens that follow each of them.

mod config;

pub use config::TextConfig;

#[cfg(feature = "files")]
use super::Files;
use super::{Source, Trainer};
use crate::gpu::{Error, Fill, Gpu, Op, Tensor};
use crate::kernels;
use crate::model::{Pass, Transformer};
use crate::text::Corpus;

/// The files of a run on a text.
#[cfg(feature = "files")]
pub const FILES: Files = Files { begun: &["config.json"], epoch: &["curve.svg"], ended: &["attention.png"] };

impl Trainer<Transformer, Text> {
    /// Uploads the training split and binds a step, from fresh parameters. An epoch of this trainer is the steps from
    /// one evaluation to the next.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If a setting is out of range, or the text is shorter than a context and the token after it.
    pub fn on_text(
        gpu: &Gpu,
        corpus: &Corpus,
        config: &TextConfig,
    ) -> Result<Trainer<Transformer, Text>, Error> {
        let vocabulary = corpus.vocabulary.len();
        config.fits(gpu, vocabulary)?;
        let shape = config.shape(vocabulary);
        let values = shape.initial(config.seed);
        let network = Transformer::upload(gpu, shape, &values)?;
        let source =
            Text::drawn(gpu, &corpus.train, config.context, config.seed, config.every * config.batch)?;
        Trainer::on(gpu, network, source, config.recipe())
    }
}

/// The split of a corpus on the device.
pub struct Text {
    ids: Tensor,
    items: usize,
    labels: usize,
    /// The seed of the starts; without it the sequences follow each other.
    seed: Option<u64>,
}

impl Text {
    /// Sequences from anywhere in a text, drawn afresh for every step: so many of them in an epoch, which is what lies
    /// between two evaluations. A step has its sequences by its number and the seed alone.
    ///
    /// # Errors
    /// If the adapter cannot bind the ids.
    ///
    /// # Panics
    /// If the text has no `context` ids and one more.
    pub fn drawn(gpu: &Gpu, ids: &[u32], context: usize, seed: u64, items: usize) -> Result<Text, Error> {
        let ids = upload(gpu, "train.ids", ids, context)?;
        Ok(Text { ids, items, labels: items * context, seed: Some(seed) })
    }

    /// The whole text in sequences that follow each other: each of its tokens but the first is predicted once. Behind the
    /// end of the text the last sequence has labels that count for nothing.
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

/// The ids on the device, of which there must be a sequence and one more.
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
