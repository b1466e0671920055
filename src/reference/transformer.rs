//! A transformer language model with ternary matrices, or with float matrices for comparison: forward, backward and a
//! training step. The layer is that of BitNet b1.58 2B4T (arXiv 2504.12285). The twin accepts every shape.
//!
//! A layer has four parts of one form, a [`Stack`]: RMSNorm, then one or several matrices that read its output. The
//! rotary positions, the attention and the gate are between them:
//!
//! ```text
//! q|k|v   = qkv(h)                 q, k turned by their positions
//! mid     = h + o(attention(q, k, v))
//! gate|up = gate_up(mid)
//! y       = mid + down(f(gate) up)     f is relu^2, or silu in a float network
//! ```
//!
//! A float network of LLaMA's form has no norm before o and down ([`Config::sub_norms`]).
//!
//! The embedding gives the first `h`. After the last layer, `logits = RMSNorm(h) E^T` with the same embedding `E`, or with a
//! head of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

use super::*;
use crate::parameter::{Activation, Parameter, Role};
use crate::rotary::rope_table;
use crate::ternary::Packed;

/// The name of the embedding.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// The name of the gain of the last norm.
pub const NORM: &str = "model.norm.weight";
/// The name of a head that is not the embedding.
pub const HEAD: &str = "lm_head.weight";

/// The constants of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of layers.
    pub layers: usize,
    /// Number of values of a token between the layers.
    pub width: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of heads of keys and values.
    pub kv_heads: usize,
    /// Number of values of a token inside the gate.
    pub ffn: usize,
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// Base of the angles of rotary position embedding.
    pub theta: f64,
    /// The epsilon of every RMSNorm, under the root.
    pub eps: f32,
    /// Whether the matrices are ternary. Otherwise this is the float network of the same shape.
    pub ternary: bool,
    /// The function of the gate. A ternary network has [`Activation::Relu2`].
    pub activation: Activation,
    /// Whether a norm precedes o and down. A ternary network has these norms.
    pub sub_norms: bool,
    /// Whether the head is the embedding.
    pub tied: bool,
}

/// Values or gradients of parameters, by name.
pub type Tensors = BTreeMap<String, Vec<f32>>;

impl Config {
    /// Number of values in a head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// The layout of whole sequences, as in training.
    pub fn attention(&self, sequences: usize, tokens: usize) -> Attention {
        Attention::whole(sequences, tokens, [self.heads, self.kv_heads, self.head_width()])
    }

    /// The parameters with Hugging Face's names.
    pub fn parameters(&self) -> Vec<Parameter> {
        let stacks =
            (0..self.layers).flat_map(|layer| self.stacks(&format!("model.layers.{layer}.")).concat());
        let [embedding, gain, head] = self.ends();
        let head = (!self.tied).then_some(head);
        [embedding].into_iter().chain(stacks).chain([gain]).chain(head).collect()
    }

    /// The parameters of a layer whose names begin with `prefix`.
    pub fn layer(&self, prefix: &str) -> Vec<Parameter> {
        self.stacks(prefix).concat()
    }

    /// The embedding, the gain of the last norm, and the head, which is the embedding if they are tied.
    fn ends(&self) -> [Parameter; 3] {
        let rows = |name: &str| Parameter::new(name, &[self.vocabulary, self.width], Role::Float);
        let embedding = rows(EMBEDDING);
        let head = if self.tied { embedding.clone() } else { rows(HEAD) };
        [embedding, Parameter::new(NORM, &[self.width], Role::Gain), head]
    }

    /// The four stacks of a layer whose names begin with `prefix`. Each stack has its gain first, if it has a norm, then
    /// its matrices.
    fn stacks(&self, prefix: &str) -> [Vec<Parameter>; 4] {
        let Config { width, ffn, .. } = *self;
        let [queries, keys] = [self.heads, self.kv_heads].map(|heads| heads * self.head_width());
        let role = if self.ternary { Role::Ternary } else { Role::Float };
        let stack = |gain: &str, cols: usize, matrices: &[(&str, usize)]| {
            let gain = Parameter::new(format!("{prefix}{gain}.weight"), &[cols], Role::Gain);
            let matrix = |&(name, rows): &(&str, usize)| {
                Parameter::new(format!("{prefix}{name}.weight"), &[rows, cols], role)
            };
            let normed = self.sub_norms || !gain.name.contains("sub_norm");
            normed.then_some(gain).into_iter().chain(matrices.iter().map(matrix)).collect()
        };
        let qkv = [("self_attn.q_proj", queries), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys)];
        [
            stack("input_layernorm", width, &qkv),
            stack("self_attn.attn_sub_norm", queries, &[("self_attn.o_proj", width)]),
            stack("post_attention_layernorm", width, &[("mlp.gate_proj", ffn), ("mlp.up_proj", ffn)]),
            stack("mlp.ffn_sub_norm", ffn, &[("mlp.down_proj", width)]),
        ]
    }
}

// --- a stack ---------------------------------------------------------------------------------------

/// RMSNorm, and the matrices `[rows_i, cols]` that read its output, stacked as one matrix:
/// `y [n, rows] = RMSNorm(x) W^T`. A float stack may have no norm: `y = x W^T`. The columns of `y` are those of the first matrix, then those of the second, and so
/// on.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The matrices.
    matrices: Vec<Parameter>,
    /// The name and the values of the gain, if there is a norm.
    gain: Option<(String, Vec<f32>)>,
    cols: usize,
    weights: Weights,
}

#[derive(Clone, Debug)]
enum Weights {
    /// The trits of all matrices as one matrix, and the beta of each matrix.
    Ternary(Packed, Vec<f32>),
    Float(Vec<f32>),
}

/// The rows that the matrices read.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Codes, and the real value of a code in each row.
    Codes(Int8, Vec<f32>),
    /// The output of RMSNorm.
    Floats(Vec<f32>),
}

/// The results of a stack for its rows, kept for the backward pass.
#[derive(Clone, Debug)]
pub struct Product {
    /// `[n, cols]`: the input rows.
    pub x: Vec<f32>,
    /// `[n]`: RMSNorm's factor of each row, `1 / sqrt(mean x^2 + eps)`. It is 1 without a norm.
    pub norm: Vec<f32>,
    /// The rows after RMSNorm.
    pub input: Input,
    /// `[n, rows]`: the accumulators. It is empty in a float network.
    pub acc: Vec<i32>,
    /// `[n, rows]`: the product in real values.
    pub y: Vec<f32>,
}

impl Stack {
    /// Makes a stack from values by name. A matrix is quantised, unless its trits are stored.
    fn new(parameters: Vec<Parameter>, values: &Tensors, stored: &BTreeMap<String, Packed>) -> Stack {
        let (gain, matrices): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|p| p.role == Role::Gain);
        let cols = matrices[0].matrix()[1];
        let float = |p: &Parameter| {
            let found = values.get(&p.name).unwrap_or_else(|| panic!("no values of {}", p.name));
            assert_eq!(found.len(), p.count(), "values of {}", p.name);
            &found[..]
        };
        let weights = if matrices[0].role == Role::Ternary {
            let quantize = |p: &Parameter| {
                let [rows, cols] = p.matrix();
                let fresh = || quantize_weights(float(p), absmean(float(p)), rows, cols);
                stored.get(&p.name).cloned().unwrap_or_else(fresh)
            };
            let packed: Vec<Packed> = matrices.iter().map(quantize).collect();
            let trits: Vec<i8> = packed.iter().flat_map(Packed::unpack).collect();
            let rows = packed.iter().map(|packed| packed.rows).sum();
            let betas = packed.iter().map(|packed| packed.scale).collect();
            Weights::Ternary(Packed::pack(&trits, rows, cols, 1.0), betas)
        } else {
            Weights::Float(matrices.iter().flat_map(float).copied().collect())
        };
        let gain = gain.first().map(|gain| (gain.name.clone(), float(gain).to_vec()));
        Stack { gain, matrices, cols, weights }
    }

    /// Number of rows of each matrix.
    fn parts(&self) -> Vec<usize> {
        self.matrices.iter().map(|p| p.matrix()[0]).collect()
    }

    /// One row of its matrices, counted over all of them: the weights, which are trits where a trit's worth is returned
    /// beside them.
    pub fn row(&self, row: usize) -> (Vec<f32>, Option<f32>) {
        let cols = self.cols;
        match &self.weights {
            Weights::Ternary(packed, betas) => {
                let mut ends = self.parts().into_iter().scan(0, |end, rows| {
                    *end += rows;
                    Some(*end)
                });
                let part = ends.position(|end| row < end).expect("a row of the stack");
                let trits = (0..cols).map(|col| f32::from(packed.trit(row, col))).collect();
                (trits, Some(betas[part]))
            }
            Weights::Float(w) => (w[row * cols..][..cols].to_vec(), None),
        }
    }

    /// RMSNorm of rows `x [n, cols]`, quantised if the matrices are ternary, and its factor for each row.
    pub fn input(&self, x: &[f32], eps: f32) -> (Input, Vec<f32>) {
        match (&self.weights, &self.gain) {
            (Weights::Ternary(..), _) => {
                let (codes, norm, step) = rmsnorm_quantize_f32(x, self.ternary_gain(), eps);
                (Input::Codes(codes, step), norm)
            }
            (Weights::Float(..), Some((_, gain))) => {
                let (y, norm) = rmsnorm(x, gain, eps);
                (Input::Floats(y), norm)
            }
            (Weights::Float(..), None) => (Input::Floats(x.to_vec()), vec![1.0; x.len() / self.cols]),
        }
    }

    fn ternary_gain(&self) -> &[f32] {
        &self.gain.as_ref().expect("a norm precedes every ternary matrix").1
    }

    /// The product of rows `x [n, cols]`.
    pub fn forward(&self, x: Vec<f32>, eps: f32) -> Product {
        let (input, norm) = self.input(&x, eps);
        self.multiply(x, norm, input)
    }

    /// The product of `f(gate) up`, where gate|up is the product of another stack. The codes come from the integers of
    /// that product, so this half of a layer is exact.
    fn forward_gated(&self, gate_up: &Product, of: &Stack, by: Activation, eps: f32) -> Product {
        let [g, up] = gate_up.columns(&of.parts()).try_into().expect("two matrices");
        let z = gate(by, &g, &up);
        let (input, norm) = match (&gate_up.input, &of.weights) {
            (Input::Codes(_, step), Weights::Ternary(_, betas)) => {
                assert_eq!(by, Activation::Relu2, "the gate of integers");
                let (betas, gain) = ([betas[0], betas[1]], self.ternary_gain());
                let (codes, _, step) = relu2_gate_quantize(&gate_up.acc, step, betas, gain, eps);
                let (_, norm) = rmsnorm(&z, gain, eps);
                (Input::Codes(codes, step), norm)
            }
            _ => self.input(&z, eps),
        };
        self.multiply(z, norm, input)
    }

    fn multiply(&self, x: Vec<f32>, norm: Vec<f32>, input: Input) -> Product {
        let (acc, y) = match (&self.weights, &input) {
            (Weights::Ternary(packed, betas), Input::Codes(codes, step)) => {
                let acc = matmul_ternary(&codes.q, packed);
                let y = scale_parts(&acc, step, &self.parts(), betas);
                (acc, y)
            }
            (Weights::Float(w), Input::Floats(x)) => (Vec::new(), matmul_f32(x, w, self.cols)),
            _ => panic!("trits read codes, and floats read floats"),
        };
        Product { x, norm, input, acc, y }
    }

    /// Computes the gradient of the input rows from `dy [n, rows]`. The gradient passes straight through both
    /// quantisers. The gradients of the parameters go to `gradients`.
    fn backward(&self, product: &Product, dy: &[f32], gradients: &mut Tensors) -> Vec<f32> {
        let parts = self.parts();
        let (dn, dw) = match (&self.weights, &product.input) {
            (Weights::Ternary(packed, betas), Input::Codes(codes, step)) => (
                matmul_ternary_dx(packed, &scale_gradients(dy, &parts, betas)),
                matmul_ternary_dw(dy, step, &codes.q),
            ),
            (Weights::Float(w), Input::Floats(x)) => (
                matmul_f32_dx(w, dy, [parts.iter().sum(), self.cols]),
                matmul_f32_dw(dy, x, product.norm.len()),
            ),
            _ => panic!("trits read codes, and floats read floats"),
        };
        let mut dw = &dw[..];
        for p in &self.matrices {
            let (own, rest) = dw.split_at(p.count());
            gradients.insert(p.name.clone(), own.to_vec());
            dw = rest;
        }
        let Some((name, gain)) = &self.gain else { return dn };
        let (dx, dgain) = rmsnorm_backward(&product.x, gain, &product.norm, &dn);
        gradients.insert(name.clone(), dgain);
        dx
    }
}

impl Product {
    /// The columns of `y` of each matrix.
    fn columns(&self, parts: &[usize]) -> Vec<Vec<f32>> {
        let mut columns = vec![Vec::new(); parts.len()];
        for row in self.y.chunks_exact(parts.iter().sum()) {
            let mut row = row.iter();
            for (column, &cols) in columns.iter_mut().zip(parts) {
                column.extend(row.by_ref().take(cols));
            }
        }
        columns
    }
}

/// `[n, 2 cols]` from two matrices `[n, cols]`, side by side.
fn side_by_side(left: &[f32], right: &[f32], cols: usize) -> Vec<f32> {
    left.chunks_exact(cols).zip(right.chunks_exact(cols)).flat_map(|rows| [rows.0, rows.1].concat()).collect()
}

// --- a layer ---------------------------------------------------------------------------------------

/// One layer.
#[derive(Clone, Debug)]
pub struct Block {
    /// Queries, keys and values.
    pub qkv: Stack,
    /// The projection of the attention's output to the residual stream.
    pub o: Stack,
    /// The matrices gate and up.
    pub gate_up: Stack,
    /// The projection of the gate's output to the residual stream.
    pub down: Stack,
    activation: Activation,
}

/// Keys and values of a layer. [`Attention`] describes their layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Keys, rotated by their positions.
    pub k: Vec<f32>,
    /// Values.
    pub v: Vec<f32>,
}

impl Cache {
    /// A cache of zeros with the size that `a` needs.
    pub fn new(a: &Attention) -> Cache {
        Cache { k: vec![0.0; a.cache()], v: vec![0.0; a.cache()] }
    }
}

/// The results of a layer for its rows, kept for the backward pass.
#[derive(Clone, Debug)]
pub struct BlockPass {
    /// Its `x` is `h`, the input rows of the layer.
    pub qkv: Product,
    /// Queries, rotated by their positions.
    pub q: Vec<f32>,
    /// Keys and values.
    pub cache: Cache,
    /// `ln sum exp` of the scores of each head.
    pub lse: Vec<f32>,
    /// Its `x` is the output of the attention.
    pub o: Product,
    /// Its `x` is `mid`.
    pub gate_up: Product,
    /// Its `x` is `f(gate) up`.
    pub down: Product,
    /// `[n, width]`: the output rows of the layer.
    pub y: Vec<f32>,
}

impl Block {
    /// The layer whose parameters' names begin with `prefix`, from values by name. Matrices whose trits are `stored`
    /// are not quantised.
    pub fn new(config: &Config, prefix: &str, values: &Tensors, stored: &BTreeMap<String, Packed>) -> Block {
        let [qkv, o, gate_up, down] = config.stacks(prefix).map(|stack| Stack::new(stack, values, stored));
        Block { qkv, o, gate_up, down, activation: config.activation }
    }

    /// Computes the layer for rows `h [n, width]`. `table` has a row for each position in `a`. `cache` holds the keys
    /// and values of earlier tokens.
    pub fn forward(
        &self,
        a: &Attention,
        table: &[f32],
        eps: f32,
        h: Vec<f32>,
        mut cache: Cache,
    ) -> BlockPass {
        let qkv = self.qkv.forward(h, eps);
        let q = rope(a, &qkv.y, table, &mut cache.k, &mut cache.v);
        let (attended, lse) = attention(a, &q, &cache.k, &cache.v);
        let o = self.o.forward(attended, eps);
        let gate_up = self.gate_up.forward(residual_f32(&qkv.x, &o.y), eps);
        let down = self.down.forward_gated(&gate_up, &self.gate_up, self.activation, eps);
        let y = residual_f32(&gate_up.x, &down.y);
        BlockPass { qkv, q, cache, lse, o, gate_up, down, y }
    }

    /// Computes the gradient of `h` from `dy [n, width]`. The gradients of the parameters go to `gradients`.
    pub fn backward(
        &self,
        a: &Attention,
        table: &[f32],
        pass: &BlockPass,
        dy: &[f32],
        gradients: &mut Tensors,
    ) -> Vec<f32> {
        let dz = self.down.backward(&pass.down, dy, gradients);
        let [g, up] = pass.gate_up.columns(&self.gate_up.parts()).try_into().expect("two matrices");
        let (dgate, dup) = gate_dx(self.activation, &g, &up, &dz);
        let dgate_up = side_by_side(&dgate, &dup, self.down.cols);
        let dmid = residual_f32(dy, &self.gate_up.backward(&pass.gate_up, &dgate_up, gradients));

        let dout = self.o.backward(&pass.o, &dmid, gradients);
        let Cache { k, v } = &pass.cache;
        let (dq, delta) = attention_dq(a, &pass.q, k, v, &pass.o.x, &pass.lse, &dout);
        let (dk, dv) = attention_dkv(a, &pass.q, k, v, &pass.lse, &delta, &dout);
        let dqkv = rope_backward(a, &dq, &dk, &dv, table);
        residual_f32(&dmid, &self.qkv.backward(&pass.qkv, &dqkv, gradients))
    }
}

// --- a network -------------------------------------------------------------------------------------

/// A whole network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its constants.
    pub config: Config,
    /// `[vocabulary, width]`: the embedding.
    pub embedding: Vec<f32>,
    /// `[vocabulary, width]`: the head, if it is not the embedding.
    pub head: Option<Vec<f32>>,
    /// Its layers.
    pub blocks: Vec<Block>,
    /// `[width]`: the gain of the last norm.
    pub gain: Vec<f32>,
}

/// The results of a network for its tokens, kept for the backward pass.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The results of each layer.
    pub blocks: Vec<BlockPass>,
    /// `[n, width]`: the output of the last layer.
    pub h: Vec<f32>,
    /// `[n]`: the factor of the last norm.
    pub norm: Vec<f32>,
    /// `[n, width]`: the output of the last norm.
    pub normed: Vec<f32>,
    /// `[n, vocabulary]`: the logits.
    pub logits: Vec<f32>,
}

/// A network whose layers are made when they are needed, so that one of them at a time is in memory.
pub trait Layers {
    /// The reason why a part cannot be made.
    type Error;

    /// Its constants.
    fn config(&self) -> &Config;

    /// Layer `i`.
    ///
    /// # Errors
    /// If its parameters cannot be read. So for all parts.
    fn block(&self, i: usize) -> Result<Cow<'_, Block>, Self::Error>;

    /// Some rows of the embedding.
    fn embedding(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>, Self::Error>;

    /// Some rows of the head.
    fn head(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>, Self::Error>;

    /// `[width]`: the gain of the last norm.
    fn gain(&self) -> Result<Cow<'_, [f32]>, Self::Error>;

    /// Computes the logits `[n, vocabulary]` of whole sequences of tokens `ids [n]`. `each` gets every layer and its results.
    fn follow(
        &self,
        a: &Attention,
        ids: &[u32],
        mut each: impl FnMut(usize, &Block, &BlockPass),
    ) -> Result<Vec<f32>, Self::Error> {
        /// Rows of the head that are read at once.
        const ROWS: usize = 1024;
        let &Config { layers, width, vocabulary, theta, eps, .. } = self.config();
        let table = rope_table(0..a.tokens, a.width, theta);
        let mut h = Vec::new();
        for &id in ids {
            h.extend_from_slice(&self.embedding(id as usize..id as usize + 1)?);
        }
        for i in 0..layers {
            let block = self.block(i)?;
            let pass = block.forward(a, &table, eps, h, Cache::new(a));
            each(i, &block, &pass);
            h = pass.y;
        }
        let (normed, _) = rmsnorm(&h, &self.gain()?, eps);
        let mut logits = vec![0.0; ids.len() * vocabulary];
        for at in (0..vocabulary).step_by(ROWS) {
            let rows = ROWS.min(vocabulary - at);
            let part = matmul_f32(&normed, &self.head(at..at + rows)?, width);
            for (to, from) in logits.chunks_exact_mut(vocabulary).zip(part.chunks_exact(rows)) {
                to[at..at + rows].copy_from_slice(from);
            }
        }
        Ok(logits)
    }
}

impl Layers for Network {
    type Error = Infallible;

    fn config(&self) -> &Config {
        &self.config
    }

    fn block(&self, i: usize) -> Result<Cow<'_, Block>, Infallible> {
        Ok(Cow::Borrowed(&self.blocks[i]))
    }

    fn embedding(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>, Infallible> {
        let width = self.config.width;
        Ok(self.embedding[rows.start * width..rows.end * width].into())
    }

    fn head(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>, Infallible> {
        let width = self.config.width;
        Ok(Network::head(self)[rows.start * width..rows.end * width].into())
    }

    fn gain(&self) -> Result<Cow<'_, [f32]>, Infallible> {
        Ok((&self.gain[..]).into())
    }
}

impl Network {
    /// Makes a network from values by name. Matrices whose trits are `stored` are not quantised.
    pub fn new(config: &Config, values: &Tensors, stored: &BTreeMap<String, Packed>) -> Network {
        let block = |layer| Block::new(config, &format!("model.layers.{layer}."), values, stored);
        let [embedding, gain, head] = config.ends();
        let [embedding, gain] = [embedding, gain].map(|p| values[&p.name].clone());
        let head = (!config.tied).then(|| values[&head.name].clone());
        Network {
            config: config.clone(),
            embedding,
            head,
            blocks: (0..config.layers).map(block).collect(),
            gain,
        }
    }

    /// Computes the logits of tokens `ids [n]`. `caches` hold the keys and values of earlier tokens, layer by layer.
    pub fn forward(&self, a: &Attention, ids: &[u32], caches: Vec<Cache>) -> Pass {
        let Config { width, theta, eps, .. } = self.config;
        let table = rope_table(0..a.first + a.tokens, a.width, theta);
        let mut h = embed_gather(ids, &self.embedding, width);
        let mut blocks = Vec::new();
        for (block, cache) in self.blocks.iter().zip(caches) {
            let pass = block.forward(a, &table, eps, h, cache);
            h = pass.y.clone();
            blocks.push(pass);
        }
        let (normed, norm) = rmsnorm(&h, &self.gain, eps);
        let logits = matmul_f32(&normed, self.head(), width);
        Pass { blocks, h, norm, normed, logits }
    }

    /// `[vocabulary, width]`: the matrix that gives the logits.
    pub fn head(&self) -> &[f32] {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Empty caches for all layers, with the size that `a` needs.
    pub fn caches(&self, a: &Attention) -> Vec<Cache> {
        vec![Cache::new(a); self.blocks.len()]
    }

    /// Computes the gradients of all parameters from `dlogits [n, vocabulary]`.
    pub fn backward(&self, a: &Attention, ids: &[u32], pass: &Pass, dlogits: &[f32]) -> Tensors {
        let Config { vocabulary, width, theta, .. } = self.config;
        let table = rope_table(0..a.first + a.tokens, a.width, theta);
        let mut gradients = Tensors::new();
        let dhead = matmul_f32_dw(dlogits, &pass.normed, ids.len());
        let dnormed = matmul_f32_dx(self.head(), dlogits, [vocabulary, width]);
        let (mut dh, dgain) = rmsnorm_backward(&pass.h, &self.gain, &pass.norm, &dnormed);
        for (block, pass) in self.blocks.iter().zip(&pass.blocks).rev() {
            dh = block.backward(a, &table, pass, &dh, &mut gradients);
        }
        let [embedding, gain, head] = self.config.ends();
        gradients.insert(gain.name, dgain);
        gradients.insert(head.name, dhead);
        // A tied network uses the embedding twice, so the gradient of the embedding is a sum of two parts.
        let dembedding = gradients.entry(embedding.name).or_insert_with(|| vec![0.0; vocabulary * width]);
        embed_grad(ids, &dh, width, dembedding);
        gradients
    }
}

// --- training --------------------------------------------------------------------------------------

/// The constants of all steps of a training run.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Decay rate of the first moment.
    pub beta1: f32,
    /// Decay rate of the second moment.
    pub beta2: f32,
    /// A constant that is added to the root of the second moment.
    pub eps: f32,
    /// The largest allowed norm of the gradient of all parameters together.
    pub most: f32,
}

/// A network in training.
#[derive(Clone, Debug)]
pub struct Training {
    config: Config,
    recipe: Recipe,
    /// Values of the parameters.
    pub values: Tensors,
    /// First and second moments.
    moments: [Tensors; 2],
    steps: i32,
}

impl Training {
    /// Begins a training from initial values.
    pub fn new(config: &Config, recipe: Recipe, values: Tensors) -> Training {
        let zeros: Tensors =
            values.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
        Training { config: config.clone(), recipe, values, moments: [zeros.clone(), zeros], steps: 0 }
    }

    /// One step on `sequences` of tokens `ids [n]`. `labels [n]` are the tokens that follow them. Weight decay applies
    /// to matrices and the embedding, and not to gains. It returns the mean loss before the update, and the norm of the
    /// gradient before clipping.
    pub fn step(
        &mut self,
        rate: f64,
        decay: f32,
        sequences: usize,
        ids: &[u32],
        labels: &[u32],
    ) -> (f32, f32) {
        let a = self.config.attention(sequences, ids.len() / sequences);
        let network = Network::new(&self.config, &self.values, &BTreeMap::new());
        let pass = network.forward(&a, ids, network.caches(&a));
        let rows = xent_rows(&pass.logits, labels, self.config.vocabulary, 0.0);
        let counted = labels.iter().filter(|&&label| label != IGNORE).count();
        let gradients = network.backward(&a, ids, &pass, &rows.dz);

        let squares: Vec<f32> = gradients.values().flat_map(|gradient| square_sums(gradient)).collect();
        let [factor, norm] = clip_factor(&squares, self.recipe.most);
        self.steps += 1;
        let Recipe { beta1, beta2, eps, .. } = self.recipe;
        let correction = |beta: f32| 1.0 - f64::from(beta).powi(self.steps);
        let now = [rate, 1.0 / correction(beta1), 1.0 / correction(beta2).sqrt()].map(|x| x as f32);
        for Parameter { name, role, .. } in self.config.parameters() {
            let decay = if role == Role::Gain { 0.0 } else { decay };
            let clipped: Vec<f32> = gradients[&name].iter().map(|gradient| factor * gradient).collect();
            let [m, v] = &mut self.moments;
            let [value, m, v] = [&mut self.values, m, v]
                .map(|tensors| tensors.get_mut(&name).expect("every parameter has values"));
            adamw(AdamW { beta1, beta2, eps, decay, now }, &clipped, value, m, v);
        }
        (rows.losses.iter().sum::<f32>() / counted as f32, norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, uniform};

    fn unit(tensor: u32, count: usize) -> Vec<f32> {
        let x = uniform(7, Stream::Weights, tensor, count, 1.0);
        let length = norm(&x) as f32;
        x.iter().map(|x| x / length).collect()
    }

    fn norm(x: &[f32]) -> f64 {
        x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    }

    /// The loss of a float network is smooth, so its derivative along a direction equals the gradient's component in
    /// that direction.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        finite_differences(Activation::Relu2, true, true);
        finite_differences(Activation::Silu, false, false);
    }

    fn finite_differences(activation: Activation, sub_norms: bool, tied: bool) {
        let config = Config {
            layers: 2,
            width: 24,
            heads: 4,
            kv_heads: 2,
            ffn: 20,
            vocabulary: 11,
            theta: 1e4,
            eps: 1e-5,
            ternary: false,
            activation,
            sub_norms,
            tied,
        };
        let (sequences, tokens) = (2, 7);
        let a = config.attention(sequences, tokens);
        let ids: Vec<u32> = (0..14).map(|i| i * 5 % 11).collect();
        let labels: Vec<u32> = (0..14).map(|i| if i == 6 { IGNORE } else { (i * 3 + 1) % 11 }).collect();
        let value = |(i, p): (u32, Parameter)| {
            let bound = if p.role == Role::Gain { 0.5 } else { 0.6 };
            let offset = if p.role == Role::Gain { 1.0 } else { 0.0 };
            let values = uniform(1, Stream::Weights, i, p.count(), bound);
            (p.name.clone(), values.iter().map(|x| x + offset).collect())
        };
        let values: Tensors = (0..).zip(config.parameters()).map(value).collect();
        let pass = |values: &Tensors| {
            let network = Network::new(&config, values, &BTreeMap::new());
            let pass = network.forward(&a, &ids, network.caches(&a));
            let rows = xent_rows(&pass.logits, &labels, config.vocabulary, 0.1);
            (rows.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / 13.0, (network, pass, rows))
        };
        let (_, (network, at, rows)) = pass(&values);
        let gradients = network.backward(&a, &ids, &at, &rows.dz);
        assert!(gradients.keys().eq(values.keys()), "every parameter has a gradient");

        for (name, gradient) in &gradients {
            let length = norm(gradient);
            let along = gradient.iter().map(|g| g / length as f32).collect();
            let directions = [along, unit(1, gradient.len()), unit(2, gradient.len())];
            for direction in directions {
                const STEP: f32 = 4e-3;
                let loss = |step: f32| {
                    let mut moved = values.clone();
                    let value = moved.get_mut(name).expect("a parameter");
                    value.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
                    pass(&moved).0
                };
                let change = (loss(STEP) - loss(-STEP)) / f64::from(2.0 * STEP);
                let expected: f64 =
                    gradient.iter().zip(&direction).map(|(&g, &d)| f64::from(g) * f64::from(d)).sum();
                assert!(
                    (change - expected).abs() <= 0.01 * length,
                    "{name}: the loss changes by {change}, expected {expected} of a gradient as long as {length}"
                );
            }
        }
    }

    /// The gate of the integers agrees with the gate of their real values.
    #[test]
    fn the_gate_of_integers_is_the_gate_of_real_values() {
        let (n, f, eps) = (5, 37, 1e-5);
        let mut acc: Vec<i32> =
            uniform(3, Stream::Weights, 0, n * 2 * f, 900.0).iter().map(|&x| x as i32).collect();
        // No gate of the first row is open. The accumulators of the second row are as large as those of a large
        // network.
        acc[..f].iter_mut().for_each(|gate| *gate = -gate.abs());
        acc[2 * f..4 * f].iter_mut().for_each(|a| *a *= 350);
        let step = [0.01, 0.002, 0.01, 1e-5, 0.3];
        let betas = [0.02, 0.05];
        let gain: Vec<f32> = uniform(3, Stream::Weights, 1, f, 0.4).iter().map(|x| x + 1.0).collect();
        let dn = uniform(3, Stream::Weights, 2, n * f, 1.0);

        let y = scale_parts(&acc, &step, &[f, f], &betas);
        let product =
            Product { x: Vec::new(), norm: Vec::new(), input: Input::Floats(Vec::new()), acc: Vec::new(), y };
        let [gate, up] = product.columns(&[f, f]).try_into().expect("two parts");
        let z = relu2_gate(&gate, &up);
        let (codes, norm, code) = relu2_gate_quantize(&acc, &step, betas, &gain, eps);
        let (real_codes, real_norm, real_code) = rmsnorm_quantize_f32(&z, &gain, eps);
        let off = codes.q.iter().zip(&real_codes.q).filter(|(a, b)| a != b).count();
        assert!(off <= 1, "{off} codes differ; one may, where it lies on the edge");
        assert!(codes.q[..f].iter().all(|&q| q == 0) && codes.q[f..2 * f].iter().any(|&q| q.abs() == 127));
        near(&code, &real_code, 1e-6);
        let units: Vec<f32> = step.iter().map(|s| (s * betas[0]).powi(2) * (s * betas[1])).collect();
        near(&norm.iter().zip(&units).map(|(norm, unit)| norm / unit).collect::<Vec<_>>(), &real_norm, 1e-6);

        let (dy, scaled, dgain) = relu2_gate_backward(&acc, &step, &norm, &gain, betas, &dn);
        let (dz, real_dgain) = rmsnorm_backward(&z, &gain, &real_norm, &dn);
        let (dgate, dup) = relu2_gate_dx(&gate, &up, &dz);
        let real_dy = side_by_side(&dgate, &dup, f);
        for row in 0..n {
            let row = row * 2 * f..(row + 1) * 2 * f;
            near(&dy[row.clone()], &real_dy[row.clone()], 1e-5);
            let real: Vec<f32> =
                real_dy[row.clone()].iter().enumerate().map(|(i, dy)| betas[i / f] * dy).collect();
            near(&scaled[row], &real, 1e-5);
        }
        near(&dgain, &real_dgain, 1e-5);
    }

    fn near(got: &[f32], want: &[f32], tolerance: f32) {
        let largest = want.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!(
                (got - want).abs() <= tolerance * largest,
                "{got} is not {want} within {tolerance} of {largest}"
            );
        }
    }

    /// If every row counts, `xent_rows` equals the loss of the batch.
    #[test]
    fn rows_of_a_loss_are_its_batch() {
        let (z, labels) = (uniform(5, Stream::Weights, 0, 6 * 9, 4.0), [8, 0, 3, 3, 7, 1]);
        let (loss, dz, hits) = softmax_xent(&z, &labels, 0.1);
        let rows = xent_rows(&z, &labels, 9, 0.1);
        near(&[rows.losses.iter().sum()], &[loss], 1e-6);
        near(&rows.dz, &dz, 1e-6);
        assert_eq!(rows.hits.iter().sum::<u32>(), hits);
        let ignored = xent_rows(&z, &[IGNORE; 6], 9, 0.1);
        assert_eq!((ignored.losses, ignored.dz, ignored.hits), (vec![0.0; 6], vec![0.0; 54], vec![0; 6]));
        near(&ignored.lse, &rows.lse, 0.0);
    }
}
