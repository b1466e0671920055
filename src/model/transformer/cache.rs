//! A sequence that grows. New tokens go through the network, and the cache keeps the keys and values of earlier tokens.

use super::{Batch, Transformer};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, Sequences};

/// Keys and values of one sequence in every layer, with room for a whole context.
pub struct Cache {
    layers: Vec<[Tensor; 2]>,
    angles: Tensor,
    first: Tensor,
}

/// A pass over a fixed number of new tokens, which follow the tokens in a [`Cache`].
pub struct Extension {
    ids: Tensor,
    first: Tensor,
    /// `f32 [1, vocabulary]`: the logits of the token that follows the last one.
    logits: Tensor,
    capacity: usize,
    ops: Vec<Op>,
}

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
        let zeros = |name: &str| gpu.zeros(name, F32, &[tokens, d]);
        let ids = gpu.zeros("ids", I32, &[tokens])?;
        let mut h = zeros("layers.0.h")?;
        let mut ops = vec![kernels::embed_gather(gpu, &ids, self.embedding.value(), &h)];
        for i in 0..self.layers.len() {
            let out = zeros(&format!("layers.{}.h", i + 1))?;
            ops.extend(self.layer(gpu, i, &batch, &h, &out, None)?.forward);
            h = out;
        }
        // Only the logits after the last token are needed, so the head reads only the last row.
        let last = h.part("last", (tokens - 1) * d, &[1, d]);
        let (normed, factor) = (gpu.zeros("normed", F32, &[1, d])?, gpu.zeros("factor", F32, &[1])?);
        let logits = gpu.zeros("logits", F32, &[1, self.shape.vocabulary])?;
        ops.push(kernels::rmsnorm(gpu, &last, self.norm.value(), self.shape.eps, &normed, &factor));
        ops.push(kernels::matmul_f32(gpu, &normed, self.embedding.value(), &logits));
        Ok(Extension { ids, first: batch.first, logits, capacity, ops })
    }
}

impl Extension {
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
        let (bound, capacity) = (self.ids.len(), self.capacity);
        assert!(
            ids.len() == bound && first + bound <= capacity,
            "Extension: {} ids from position {first} on, expected {bound} in a context of {capacity}",
            ids.len()
        );
        gpu.write(&self.first, &[first as u32]);
        gpu.write(&self.ids, &ids.iter().map(|&id| id as i32).collect::<Vec<_>>());
        gpu.run(&self.ops)?;
        gpu.download(&self.logits)
    }
}
