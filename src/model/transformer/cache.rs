//! A sequence that grows. New tokens go through the network, and the cache keeps the keys and values of earlier tokens.
//!
//! A pass over new tokens has the tensors of one layer, which all layers use one after another.

use super::{Batch, Transformer};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, IGNORE, Sequences};

/// Keys and values of one sequence in every layer, with room for a whole context.
pub struct Cache {
    layers: Vec<[Tensor; 2]>,
    angles: Tensor,
    first: Tensor,
}

/// A pass over a fixed number of new tokens, which follow the tokens in a [`Cache`].
pub struct Extension {
    body: Body,
    /// `f32 [1, vocabulary]`: the logits of the token that follows the last one.
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
struct Body {
    ids: Tensor,
    first: Tensor,
    /// The output of the last layer, `f32 [tokens, width]`.
    h: Tensor,
    capacity: usize,
    ops: Vec<Op>,
}

/// The largest number of tokens of one pass, for callers with many tokens. The tensors of a pass grow with its tokens.
pub const PIECE: usize = 128;

/// Rows of logits that [`Scored`] computes at once, if there are more tokens. A tensor with the logits of a large
/// vocabulary must be one that the adapter can bind.
const ROWS: usize = 64;

impl Transformer {
    /// An empty cache.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn cache(&self, gpu: &Gpu) -> Result<Cache, Error> {
        let shape = [self.shape.context, self.shape.kv_heads * self.shape.head()];
        let zeros = |i: usize, what: &str| gpu.zeros(&format!("cache.{i}.{what}"), F32, &shape);
        let layer = |i: usize| Ok([zeros(i, "k")?, zeros(i, "v")?]);
        let layers = (0..self.shape.layers).map(layer).collect::<Result<_, Error>>()?;
        Ok(Cache { layers, angles: self.angles(gpu)?, first: gpu.upload("first", &[1], &[0u32])? })
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
        let (normed, factor) = (gpu.zeros("normed", F32, &[1, d])?, gpu.zeros("factor", F32, &[1])?);
        let logits = gpu.zeros("logits", F32, &[1, self.shape.vocabulary])?;
        let mut head =
            vec![kernels::rmsnorm(gpu, &last, self.norm.value(), self.shape.eps, &normed, &factor)];
        head.extend(self.table.head(gpu, &normed, &logits));
        Ok(Extension { body, logits, head })
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
            head.extend(self.table.head(gpu, &part(&normed, at * d, &[rows, d]), &logits));
            head.push(kernels::xent_rows(gpu, &logits, &labels, 0.0, tokens, &dlogits, &losses, &hits));
        }
        Ok(Scored { body, labels, losses, head })
    }

    fn body(&self, gpu: &Gpu, cache: &Cache, tokens: usize) -> Result<Body, Error> {
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
        self.body.begin(gpu, first, ids);
        gpu.run(self.ops())?;
        gpu.download(&self.logits)
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
