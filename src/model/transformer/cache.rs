//! A sequence that grows. New tokens go through the network, and the cache keeps the keys and values of earlier tokens.
//!
//! A pass over new tokens has the tensors of one layer, which all layers use one after another.

use super::{Batch, Transformer};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, IGNORE, KeyForm, Sequences};
use crate::random::{self, Stream};

/// Keys and values of one sequence in every layer, with room for a whole context.
pub struct Cache {
    pub(super) layers: Vec<[Tensor; 2]>,
    pub(super) angles: Tensor,
    /// See [`kernels::sample_token`].
    pub(super) clock: Tensor,
    /// The first word of the clock: the position of the first token of a pass.
    pub(super) first: Tensor,
    /// `f32 [1, vocabulary]`: the logits after the last token.
    pub(super) logits: Tensor,
}

impl Cache {
    /// Fills the rows of the first positions with made-up keys and values, the same in each layer.
    pub fn make_up(&self, gpu: &Gpu, positions: usize) {
        for tensor in self.layers.iter().flatten() {
            let cols = tensor.shape()[1];
            // Few enough rows that the host holds little.
            for first in (0..positions).step_by(PIECE) {
                let rows = PIECE.min(positions - first);
                let part = tensor.part("made up", first * cols, &[rows, cols]);
                let values = random::uniform(first as u64, Stream::Weights, 0, rows * cols, 1.0);
                match tensor.dtype() {
                    F32 => gpu.write(&part, &values),
                    _ => {
                        let half = |x: f32| u32::from(half::f16::from_f32(x).to_bits());
                        let words: Vec<u32> = values.iter().map(|&x| half(x) | half(-x) << 16).collect();
                        gpu.write(&part, &words);
                    }
                }
            }
        }
    }

    /// `f32 [1, vocabulary]`: the logits after the last token that was read.
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }
}

/// A pass over a fixed number of new tokens, which follow the tokens in a [`Cache`].
pub struct Extension {
    body: Body,
    logits: Tensor,
    head: Vec<Op>,
}

/// A pass over a fixed number of new tokens, which follow the tokens in a [`Cache`]. It computes the loss of each of
/// their labels.
pub struct Scored {
    body: Body,
    labels: Tensor,
    losses: Tensor,
    head: Vec<Op>,
}

/// The layers for new tokens.
pub(super) struct Body {
    pub(super) ids: Tensor,
    first: Tensor,
    /// The output of the last layer, `f32 [tokens, width]`.
    pub(super) h: Tensor,
    capacity: usize,
    pub(super) ops: Vec<Op>,
}

/// The largest number of tokens of one pass, for callers with many tokens. The tensors of a pass grow with its tokens.
pub const PIECE: usize = 128;

/// Rows of logits that [`Scored`] computes at once, if there are more tokens. A tensor with the logits of a large
/// vocabulary must be one that the adapter can bind.
const ROWS: usize = 64;

impl Transformer {
    /// An empty cache with keys and values in this form.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor or has no memory for it.
    pub fn cache(&self, gpu: &Gpu, form: KeyForm) -> Result<Cache, Error> {
        self.bounded(gpu, false)?;
        let [rows, cols] = [self.shape.context, self.shape.kv_heads * self.shape.head()];
        let zeros = |i: usize, what: &str| form.zeros(gpu, &format!("cache.{i}.{what}"), rows, cols);
        let layer = |i: usize| Ok([zeros(i, "k")?, zeros(i, "v")?]);
        let clock = gpu.zeros("clock", U32, &[4])?;
        Ok(Cache {
            layers: (0..self.shape.layers).map(layer).collect::<Result<_, Error>>()?,
            angles: self.angles(gpu)?,
            first: clock.part("first", 0, &[1]),
            clock,
            logits: gpu.zeros("logits", F32, &[1, self.shape.vocabulary])?,
        })
    }

    /// Binds a pass of `tokens` new tokens over a cache.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If there is no token, or there are more tokens than the context.
    pub fn extension(&self, gpu: &Gpu, cache: &Cache, tokens: usize) -> Result<Extension, Error> {
        let (d, body) = (self.shape.width, self.body(gpu, cache, tokens)?);
        // Only the logits after the last token are needed, so the head reads only the last row.
        let last = body.h.part("last", (tokens - 1) * d, &[1, d]);
        Ok(Extension { head: self.last_head(gpu, &last, cache)?, logits: cache.logits.clone(), body })
    }

    /// The logits of a row `h[1, width]`, in the cache.
    pub(super) fn last_head(&self, gpu: &Gpu, h: &Tensor, cache: &Cache) -> Result<Vec<Op>, Error> {
        let d = self.shape.width;
        let (normed, factor) = (gpu.zeros("normed", F32, &[1, d])?, gpu.zeros("factor", F32, &[1])?);
        let mut head = vec![kernels::rmsnorm(gpu, h, self.norm.value(), self.shape.eps, &normed, &factor)];
        head.extend(self.head.head(gpu, &normed, &cache.logits));
        Ok(head)
    }

    /// Binds a pass of `tokens` new tokens over a cache, with the loss of each label.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// As [`Transformer::extension`].
    pub fn scored(&self, gpu: &Gpu, cache: &Cache, tokens: usize) -> Result<Scored, Error> {
        let (d, v) = (self.shape.width, self.shape.vocabulary);
        let body = self.body(gpu, cache, tokens)?;
        let (normed, factor) =
            (gpu.zeros("normed", F32, &[tokens, d])?, gpu.zeros("factor", F32, &[tokens])?);
        let most = tokens.min(ROWS);
        let [logits, dlogits] = ["logits", "logits.grad"].map(|name| gpu.zeros(name, F32, &[most, v]));
        let (logits, dlogits) = (logits?, dlogits?);
        let labels = gpu.zeros("labels", U32, &[tokens])?;
        let (losses, hits) = (gpu.zeros("losses", F32, &[tokens])?, gpu.zeros("hits", U32, &[tokens])?);
        let mut head =
            vec![kernels::rmsnorm(gpu, &body.h, self.norm.value(), self.shape.eps, &normed, &factor)];
        for at in (0..tokens).step_by(ROWS) {
            let rows = most.min(tokens - at);
            let part = |of: &Tensor, at: usize, shape: &[usize]| of.part(of.label(), at, shape);
            let [logits, dlogits] = [&logits, &dlogits].map(|of| part(of, 0, &[rows, v]));
            let [labels, losses, hits] = [&labels, &losses, &hits].map(|of| part(of, at, &[rows]));
            head.extend(self.head.head(gpu, &part(&normed, at * d, &[rows, d]), &logits));
            head.push(kernels::xent_rows(gpu, &logits, &labels, 0.0, tokens, &dlogits, &losses, &hits));
        }
        Ok(Scored { body, labels, losses, head })
    }

    pub(super) fn body(&self, gpu: &Gpu, cache: &Cache, tokens: usize) -> Result<Body, Error> {
        let (d, capacity) = (self.shape.width, self.shape.context);
        assert!((1..=capacity).contains(&tokens), "Transformer: {tokens} tokens in a context of {capacity}");
        let batch = Batch {
            n: tokens,
            heads: self.heads(),
            sequences: Sequences { tokens, capacity },
            angles: cache.angles.clone(),
            first: cache.first.clone(),
            cached: cache.layers.clone(),
        };
        let on = self.activations(gpu, "layer", tokens)?;
        let zeros = |name: &str| gpu.zeros(name, F32, &[tokens, d]);
        let (ids, mut h, mut out) = (gpu.zeros("ids", I32, &[tokens])?, zeros("h")?, zeros("h.next")?);
        let mut ops = self.table.gather(gpu, &ids, &h);
        for i in 0..self.layers.len() {
            ops.extend(self.layer(gpu, i, &batch, &on, &h, &out, None)?.forward);
            std::mem::swap(&mut h, &mut out);
        }
        Ok(Body { ids, first: batch.first, h, capacity, ops })
    }
}

impl Body {
    /// Writes the input of the pass.
    #[cfg(not(target_arch = "wasm32"))]
    fn begin(&self, gpu: &Gpu, first: usize, ids: &[u32]) {
        let (bound, capacity) = (self.ids.len(), self.capacity);
        assert!(
            ids.len() == bound && first + bound <= capacity,
            "Transformer: {} ids from position {first} on, expected {bound} in a context of {capacity}",
            ids.len()
        );
        gpu.write(&self.first, &[first as u32]);
        gpu.write(&self.ids, &ids.iter().map(|&id| id as i32).collect::<Vec<_>>());
    }
}

impl Extension {
    /// The ops of the pass, in order.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.body.ops.iter().chain(&self.head)
    }

    /// The tensors that a caller writes and reads: the new ids, the position of the first of them, and the logits.
    pub fn tensors(&self) -> [&Tensor; 3] {
        [&self.body.ids, &self.body.first, &self.logits]
    }

    /// Runs the pass on `ids`. `first` is the position of the first id. The cache holds the tokens before it. It
    /// returns the logits of the next token.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If the number of ids differs from the bound number, or the ids exceed the context.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, gpu: &Gpu, first: usize, ids: &[u32]) -> Result<Vec<f32>, Error> {
        self.read(gpu, first, ids)?;
        gpu.download(&self.logits)
    }

    /// [`Extension::run`] without the logits, which stay on the device.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// As [`Extension::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, gpu: &Gpu, first: usize, ids: &[u32]) -> Result<(), Error> {
        self.body.begin(gpu, first, ids);
        gpu.run(self.ops()).map(drop)
    }
}

impl Scored {
    /// Runs the pass on `ids`, which have the positions from `first` on. The cache holds the tokens before them. It
    /// returns `-ln p` of each label after its token and the tokens before it. A label [`IGNORE`] has the loss 0. If all
    /// labels are such, the head does not run.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If the number of ids or labels differs from the bound number, or the ids exceed the context.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, gpu: &Gpu, first: usize, ids: &[u32], labels: &[u32]) -> Result<Vec<f32>, Error> {
        self.body.begin(gpu, first, ids);
        gpu.write(&self.labels, labels);
        if labels.iter().all(|&label| label == IGNORE) {
            gpu.run(&self.body.ops)?;
            return Ok(vec![0.0; labels.len()]);
        }
        gpu.run(self.body.ops.iter().chain(&self.head))?;
        gpu.download(&self.losses)
    }
}
