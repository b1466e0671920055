//! Decoding: one new token after another, by a list of ops that is bound once and replayed. The list chooses a token from
//! the logits, reads it and leaves the logits after it. So a submission may hold the list several times, and the host
//! reads the tokens back once.
//!
//! A layer of a ternary network has nine dispatches:
//!
//! ```text
//! residual_quantize      down of the layer before, norm      -> codes   (rmsnorm_quantize_f32 in the first layer)
//! gemv_ternary           q | k | v, stacked                  -> accumulators
//! attention_step         rotary positions, cache, attention  -> parts, by pieces of the keys
//! attention_join         the pieces together, norm           -> codes
//! gemv_ternary           o                                   -> accumulators
//! residual_quantize      o, norm                             -> codes
//! gemv_ternary           gate | up, stacked                  -> accumulators
//! relu2_gate_quantize    relu(gate)^2 up, norm               -> codes
//! gemv_ternary           down                                -> accumulators
//! ```
//!
//! A float network has the ops of a pass over one token.

use super::{Cache, Layer, Transformer};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Op, Submission, Tensor};
use crate::kernels::{self, BLOCK_LOGITS, GateFactors, Int8Tensor};
use crate::model::Precision;

/// How the next token is chosen, see [`kernels::sample_blocks`] and [`kernels::sample_least`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The temperature. 0 takes the largest logit.
    pub temperature: f32,
    /// The number of most probable tokens that are kept, or 0 for all.
    pub top_k: u32,
    /// The least probability that the tokens sum to which are kept. 1 keeps all.
    pub top_p: f32,
    /// The seed of the draws.
    pub seed: u64,
}

impl Choice {
    /// Whether some tokens are left out.
    fn narrows(&self) -> bool {
        self.temperature > 0.0 && (self.top_k > 0 || self.top_p < 1.0)
    }
}

/// The largest number of tokens of one submission.
pub const MOST_AT_ONCE: usize = 64;

/// The id that stands for no token: a logit was no number.
pub const NO_TOKEN: u32 = u32::MAX;

/// A bound list of ops that writes a text, see the module's description.
pub struct Decoder {
    clock: Tensor,
    settings: Tensor,
    least: Tensor,
    list: Tensor,
    /// `sample_least`, for choices that leave tokens out.
    narrow: Vec<Op>,
    ops: Vec<Op>,
    narrows: bool,
    /// Tokens since [`Decoder::begin`].
    count: usize,
}

/// Tokens of a submission that the device has not chosen yet.
#[cfg(not(target_arch = "wasm32"))]
struct Tokens {
    list: std::pin::Pin<Box<dyn Future<Output = Result<Vec<u32>, Error>>>>,
    marker: Submission,
    first: usize,
    count: usize,
}

/// Codes of a row with the real value of one of them.
struct Codes {
    codes: Int8Tensor,
    step: Tensor,
}

impl Codes {
    fn zeros(gpu: &Gpu, label: &str, cols: usize) -> Result<Codes, Error> {
        Ok(Codes {
            codes: Int8Tensor::zeros(gpu, label, 1, cols)?,
            step: gpu.zeros(&format!("{label}.step"), F32, &[1])?,
        })
    }
}

impl Transformer {
    /// Binds a list that writes a text whose tokens so far are in the cache.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn decoder(&self, gpu: &Gpu, cache: &Cache) -> Result<Decoder, Error> {
        let blocks = self.shape.vocabulary.div_ceil(BLOCK_LOGITS);
        let (keys, ids) = (gpu.zeros("keys", F32, &[blocks])?, gpu.zeros("best", U32, &[blocks])?);
        let settings = gpu.zeros("settings", U32, &[8])?;
        let least = gpu.zeros("least", F32, &[1])?;
        let list = gpu.zeros("list", U32, &[2 * MOST_AT_ONCE])?;
        let (token, h, mut body) = match self.shape.precision {
            Precision::Ternary => self.ternary_step(gpu, cache)?,
            Precision::F32 => {
                let body = self.body(gpu, cache, 1)?;
                (body.ids, body.h, body.ops)
            }
        };
        let clock = cache.clock.clone();
        let mut narrow = vec![kernels::sample_least(gpu, &cache.logits, &settings, &least)];
        let mut ops = vec![
            kernels::sample_blocks(gpu, &cache.logits, &settings, &clock, &least, &keys, &ids),
            kernels::sample_token(gpu, &keys, &ids, &token, &list, &clock),
        ];
        for ops in [&mut narrow, &mut ops] {
            Op::mark(ops, "choose");
        }
        let mut head = self.last_head(gpu, &h, cache)?;
        Op::mark(&mut head, "head");
        ops.append(&mut body);
        ops.append(&mut head);
        Ok(Decoder { clock, settings, least, list, narrow, ops, narrows: false, count: 0 })
    }

    /// The pass of a ternary network over one token: the tensor of its id, the output of the last layer, and the ops.
    fn ternary_step(&self, gpu: &Gpu, cache: &Cache) -> Result<(Tensor, Tensor, Vec<Op>), Error> {
        let (d, f, eps) = (self.shape.width, self.shape.ffn, self.shape.eps);
        let (heads, capacity) = (self.heads(), self.shape.context);
        let kv = heads.kv_heads * heads.width;
        let floats = |label: &str, shape: &[usize]| gpu.zeros(label, F32, shape);
        let integers = |label: &str, cols: usize| gpu.zeros(label, I32, &[1, cols]);
        let token = gpu.zeros("token", I32, &[1])?;
        let (h, out, norm) = (floats("h", &[1, d])?, floats("h.last", &[1, d])?, floats("norm", &[1])?);
        // Codes of the stream for q|k|v and gate|up, of attention for o, and of the gate for down.
        let (x, a_codes) = (Codes::zeros(gpu, "x", d)?, Codes::zeros(gpu, "a.codes", d)?);
        let (z, gate) = (Int8Tensor::zeros(gpu, "z", 1, f)?, GateFactors::zeros(gpu, "z", 1)?);
        let (qkv_acc, o_acc) = (integers("qkv.acc", d + 2 * kv)?, integers("o.acc", d)?);
        let (gate_up_acc, down_acc) = (integers("gate_up.acc", 2 * f)?, integers("down.acc", d)?);
        let parts = floats("parts", &[heads.heads * kernels::pieces(capacity), heads.width + 4])?;
        let a = floats("a", &[1, d])?;

        let mut ops = self.table.gather(gpu, &token, &h);
        Op::mark(&mut ops, "embedding");
        let mut before: Option<&Layer> = None;
        for (i, (layer, [k, v])) in self.layers.iter().zip(&cache.layers).enumerate() {
            let [g1, g2, g3, g4] = [0, 1, 2, 3].map(|i| layer.gain(i).value());
            let Layer { qkv, o, gate_up, down, .. } = layer;
            let mut of_layer = vec![
                match before {
                    None => kernels::rmsnorm_quantize_f32(gpu, &h, g1, eps, &x.codes, &norm, &x.step),
                    Some(Layer { down, .. }) => {
                        let beta = &down.packed().beta;
                        kernels::residual_quantize(
                            gpu, &down_acc, &gate.step, beta, g1, eps, &h, &x.codes, &x.step,
                        )
                    }
                },
                kernels::gemv_ternary(gpu, &x.codes, qkv.packed(), &qkv_acc),
                kernels::attention_step(
                    gpu,
                    heads,
                    &qkv_acc,
                    &x.step,
                    qkv.betas(),
                    &cache.angles,
                    &cache.first,
                    k,
                    v,
                    &parts,
                ),
                kernels::attention_join(
                    gpu,
                    heads,
                    &parts,
                    &cache.first,
                    g2,
                    eps,
                    &a,
                    &a_codes.codes,
                    &a_codes.step,
                ),
                kernels::gemv_ternary(gpu, &a_codes.codes, o.packed(), &o_acc),
                kernels::residual_quantize(
                    gpu,
                    &o_acc,
                    &a_codes.step,
                    &o.packed().beta,
                    g3,
                    eps,
                    &h,
                    &x.codes,
                    &x.step,
                ),
                kernels::gemv_ternary(gpu, &x.codes, gate_up.packed(), &gate_up_acc),
                kernels::relu2_gate_quantize(gpu, &gate_up_acc, &x.step, gate_up.betas(), g4, eps, &z, &gate),
                kernels::gemv_ternary(gpu, &z, down.packed(), &down_acc),
            ];
            Op::mark(&mut of_layer, &format!("layer {i}"));
            ops.append(&mut of_layer);
            before = Some(layer);
        }
        let last = before.expect("a network has a layer");
        let mut end = [kernels::residual(gpu, &h, &down_acc, &gate.step, &last.down.packed().beta, &out)];
        Op::mark(&mut end, &format!("layer {}", self.layers.len() - 1));
        ops.extend(end);
        Ok((token, out, ops))
    }
}

impl Decoder {
    /// Begins a text. The cache holds its last `position` tokens from position 0 on, and the logits after them. The next
    /// token is number `number` of the whole text, which determines its draw.
    ///
    /// # Panics
    /// If the cache holds no token.
    pub fn begin(&mut self, gpu: &Gpu, position: usize, number: usize, choice: &Choice) {
        assert!(position > 0, "Decoder: there is no token before the first");
        let Choice { temperature, top_k, top_p, seed } = *choice;
        gpu.write(&self.clock, &[position as u32 - 1, number as u32, 0, 0]);
        let bits = [temperature.to_bits(), top_k, top_p.to_bits(), seed as u32, (seed >> 32) as u32, 0, 0, 0];
        gpu.write(&self.settings, &bits);
        gpu.write(&self.least, &[f32::MIN]);
        (self.narrows, self.count) = (choice.narrows(), 0);
    }

    /// Sets the position back for ops that run outside of [`Decoder::write`].
    pub fn rewind(&self, gpu: &Gpu, position: usize) {
        gpu.write(&self.clock, &[position as u32 - 1, position as u32, 0, 0]);
        gpu.write(&self.least, &[f32::MIN]);
    }

    /// The ops of one token that is chosen among all.
    pub fn token(&self) -> &[Op] {
        &self.ops
    }

    /// The ops of one token.
    pub fn ops(&self) -> impl Iterator<Item = &Op> + Clone {
        self.narrow.iter().filter(|_| self.narrows).chain(&self.ops)
    }

    /// Writes `count` tokens, for which the caller ensures that the cache has room. A submission has `at_once` of them. The
    /// host reads one submission while the device works on the next. `each` gets the tokens of a submission, and ends the
    /// text by returning false; the device may then have gone on by two submissions. A token [`NO_TOKEN`] means that a logit
    /// was no number.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If `at_once` is 0 or more than [`MOST_AT_ONCE`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn write(
        &mut self,
        gpu: &Gpu,
        count: usize,
        at_once: usize,
        each: &mut dyn FnMut(Vec<u32>) -> bool,
    ) -> Result<(), Error> {
        assert!((1..=MOST_AT_ONCE).contains(&at_once), "Decoder: {at_once} tokens at once");
        let mut left = count;
        let mut submit = || {
            let now = at_once.min(left);
            left -= now;
            (now > 0).then(|| self.submit(gpu, now)).transpose()
        };
        let mut next = submit()?;
        while let Some(tokens) = next.take() {
            next = submit()?;
            if !each(tokens.wait(gpu)?) {
                break;
            }
        }
        // Some drivers crash if a process ends while the device works.
        next.map_or(Ok(()), |tokens| gpu.wait(Some(tokens.marker)))
    }

    /// Submits the choice of `count` tokens and the passes over them. At most two submissions may be unread.
    #[cfg(not(target_arch = "wasm32"))]
    fn submit(&mut self, gpu: &Gpu, count: usize) -> Result<Tokens, Error> {
        gpu.run((0..count).flat_map(|_| self.ops()))?;
        let list = Box::pin(gpu.download_async(&self.list));
        let first = self.count;
        self.count += count;
        // The marker follows the copy of the list.
        Ok(Tokens { list, marker: gpu.run([])?, first, count })
    }

    /// Bytes and operations of one token at this position.
    pub fn cost(&self, position: usize) -> Cost {
        let of = |op: &Op| {
            let cost = op.cost();
            let [k, capacity] = match op.name() {
                "attention_step" => [5, op.tensors()[5].shape()[0]],
                "attention" | "attention_broadcast" => [1, op.tensors()[1].shape()[0]],
                _ => return cost,
            };
            // The op states the cost of a full cache.
            let keys = 2 * op.tensors()[k].bytes();
            let seen = keys * (position + 1) as u64 / capacity as u64;
            Cost { bytes: cost.bytes - keys + seen, ops: cost.ops * (position + 1) as u64 / capacity as u64 }
        };
        self.ops().map(of).fold(Cost::default(), |sum, cost| Cost {
            bytes: sum.bytes + cost.bytes,
            ops: sum.ops + cost.ops,
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Tokens {
    fn wait(self, gpu: &Gpu) -> Result<Vec<u32>, Error> {
        gpu.wait(Some(self.marker))?;
        let list = pollster::block_on(self.list)?;
        Ok((self.first..self.first + self.count).map(|i| list[i % list.len()]).collect())
    }
}
