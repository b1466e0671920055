//! The transformer of BitNet b1.58 2B4T at any size (arXiv 2504.12285): forward pass, loss and backward pass as lists
//! of ops. This module knows no text and no schedule.
//!
//! With `n` tokens, RMSNorm `RMS(x; g)` and BitLinear `BL(x; W)`, one layer computes
//!
//! ```text
//! a   = attention(rope(BL(RMS(h; g1); Wq)), rope(BL(RMS(h; g1); Wk)), BL(RMS(h; g1); Wv))
//! mid = h + BL(RMS(a; g2); Wo)
//! z   = relu(BL(RMS(mid; g3); Wgate))^2 BL(RMS(mid; g3); Wup)
//! out = mid + BL(RMS(z; g4); Wdown)
//! ```
//!
//! A float network may have the form of LLaMA (arXiv 2302.13971) instead: without the norms `g2` and `g4`, and with
//! `silu(x) = x / (1 + exp(-x))` in the place of `relu(x)^2`.
//!
//! The first `h` is the embedding of the tokens. The head is the embedding `E`, so `logits = E RMS(h; g)` with the last
//! `h`. A network that is not trained here may have a head of its own.
//! `ternary` holds the layer of the ternary network, `float` the same layer in f32 throughout.
//!
//! q, k and v read the same rows, so they are one stacked matrix, and so are gate and up.

mod cache;
mod decode;
mod float;
mod table;
mod ternary;

pub use cache::{Cache, Extension, PIECE, Scored};
pub use decode::{Choice, Decoder, MOST_AT_ONCE, NO_TOKEN};

use self::table::Table;
#[cfg(feature = "files")]
use super::load::{LoadError, Pending, WeightSource};
use super::{Network, Param, Params, Pass, Precision, Product, Scoring, Stacked};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, Heads, Sequences};
use crate::parameter::{Activation, Parameter, Role};
use crate::random::{self, Stream};
use crate::rotary::rope_table;
#[cfg(feature = "files")]
use crate::store::{Arch, Floats, number};
use crate::ternary::BLOCK;
#[cfg(feature = "files")]
use crate::text::Vocabulary;

/// The constants of a transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformerShape {
    /// Number of layers.
    pub layers: usize,
    /// Width `d` of the residual stream.
    pub width: usize,
    /// Number of query heads, `H`.
    pub heads: usize,
    /// Number of heads of keys and values, `K`.
    pub kv_heads: usize,
    /// Width `f` between gate and down.
    pub ffn: usize,
    /// Number of tokens in the vocabulary, `V`.
    pub vocabulary: usize,
    /// Number of tokens in a sequence.
    pub context: usize,
    /// Base of the angles of rotary position embedding.
    pub theta: f64,
    /// RMSNorm's epsilon.
    pub eps: f32,
    /// Trits, or f32 in the float twin.
    pub precision: Precision,
    /// The function of the gate. A ternary network has [`Activation::Relu2`].
    pub activation: Activation,
    /// Whether a norm precedes o and down. A ternary network has these norms.
    pub sub_norms: bool,
    /// Whether the head is the embedding. A network that is trained here has no other head.
    pub tied: bool,
}

/// The name of this network in [`Arch::network`](crate::store::Arch::network).
pub const TRANSFORMER: &str = "transformer";

/// The products of a layer, in the order of a step. Each has the gain of the norm before it, and its matrices. The
/// second and the fourth norm are the sub-norms, which a network may lack.
const PRODUCTS: [(&str, &[&str]); 4] = [
    ("input_layernorm", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    ("self_attn.attn_sub_norm", &["self_attn.o_proj"]),
    ("post_attention_layernorm", &["mlp.gate_proj", "mlp.up_proj"]),
    ("mlp.ffn_sub_norm", &["mlp.down_proj"]),
];

/// The name of the parameter `what` of layer `i` in Hugging Face's files.
fn name(i: usize, what: &str) -> String {
    format!("model.layers.{i}.{what}.weight")
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm.weight";
const HEAD: &str = "lm_head.weight";

impl TransformerShape {
    /// Width `e` of a head.
    pub fn head(&self) -> usize {
        self.width / self.heads
    }

    /// For each product of a layer, the number of columns of its matrices, and the number of rows of each matrix.
    fn products(&self) -> [(usize, Vec<usize>); 4] {
        let (d, f, kv) = (self.width, self.ffn, self.kv_heads * self.head());
        [(d, vec![d, kv, kv]), (d, vec![d]), (d, vec![f, f]), (f, vec![d])]
    }

    /// The products of a layer with the rows and columns of their matrices. q, k and v are one product, and so are gate
    /// and up.
    pub fn stacked(&self) -> [(&'static str, [usize; 2]); 4] {
        let [qkv, o, gate_up, down] = self.products().map(|(cols, rows)| [rows.iter().sum(), cols]);
        [("qkv", qkv), ("o", o), ("gate_up", gate_up), ("down", down)]
    }

    /// Whether a norm precedes each product of a layer.
    fn normed(&self) -> [bool; 4] {
        [true, self.sub_norms, true, self.sub_norms]
    }

    /// Number of weights in all matrices of all layers.
    pub fn weights(&self) -> usize {
        let product = |(cols, rows): &(usize, Vec<usize>)| cols * rows.iter().sum::<usize>();
        self.layers * self.products().iter().map(product).sum::<usize>()
    }

    /// Checks that the kernels can run the network.
    ///
    /// # Errors
    /// A clause with the constant that is out of range and its valid values.
    pub fn validate(&self) -> Result<(), String> {
        let most = kernels::MOST_COLS;
        let within =
            |what: &str, value: usize, least: usize, most: usize| match (least..=most).contains(&value) {
                true => Ok(()),
                false => Err(format!("{what} {value}: it must lie between {least} and {most}")),
            };
        let whole = |what: &str, value: usize, of: usize| match value.is_multiple_of(of) {
            true => Ok(()),
            false => Err(format!("{what} {value}: it must be a multiple of {of}")),
        };
        within("a number of layers", self.layers, 1, 1000)?;
        within("a width", self.width, 64, most)?;
        whole("a width", self.width, 64)?;
        within("an ffn width", self.ffn, 16, most)?;
        // Matrices that are neighbours in memory must consist of whole blocks of weights.
        whole("an ffn width", self.ffn, BLOCK >> self.width.trailing_zeros().min(BLOCK.ilog2()))?;
        within("a number of heads", self.heads, 1, self.width / 16)?;
        if !self.width.is_multiple_of(self.heads) {
            return Err(format!("a width {}, which its {} heads do not divide", self.width, self.heads));
        }
        within("a head width", self.head(), 16, 128)?;
        whole("a head width", self.head(), 16)?;
        within("a number of key/value heads", self.kv_heads, 1, self.heads)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} heads, which its {} key/value heads do not divide",
                self.heads, self.kv_heads
            ));
        }
        within("a vocabulary of size", self.vocabulary, 2, 1 << 20)?;
        within("a context", self.context, 1, 1 << 20)?;
        if !(self.theta > 0.0 && self.theta.is_finite()) {
            return Err(format!("a theta {}: it must be a positive number", self.theta));
        }
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return Err(format!("an eps {}: it must be a number that is not negative", self.eps));
        }
        if self.precision == Precision::Ternary && self.activation != Activation::Relu2 {
            return Err(format!(
                "ternary matrices and the activation {}: only relu2 has a gate of integers",
                self.activation.name()
            ));
        }
        if self.precision == Precision::Ternary && !self.sub_norms {
            return Err(
                "ternary matrices without norms before o and down: the kernels quantise after a norm".into(),
            );
        }
        Ok(())
    }

    /// The parameters of the network: the embedding, the gains and matrices of each layer in the order of a step, the
    /// last gain, and the head if it is not the embedding. The names are those of Hugging Face's BitNet.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = vec![Parameter::new(EMBEDDING, &[self.vocabulary, self.width], Role::Float)];
        for i in 0..self.layers {
            let products = PRODUCTS.into_iter().zip(self.products()).zip(self.normed());
            for (((gain, matrices), (cols, rows)), normed) in products {
                if normed {
                    all.push(Parameter::new(name(i, gain), &[cols], Role::Gain));
                }
                let matrix = |(what, rows): (&&str, usize)| {
                    Parameter::new(name(i, what), &[rows, cols], self.precision.role())
                };
                all.extend(matrices.iter().zip(rows).map(matrix));
            }
        }
        all.push(Parameter::new(NORM, &[self.width], Role::Gain));
        if !self.tied {
            all.push(Parameter::new(HEAD, &[self.vocabulary, self.width], Role::Float));
        }
        all
    }

    /// Initial values for each parameter. Embedding and matrices are normal with the standard deviation 0.02. For o and
    /// down, which write into the residual stream, it is divided by `sqrt(2 layers)`. Gains are 1. (This is the
    /// initialisation of GPT-2, as in nanoGPT.)
    pub fn initial(&self, seed: u64) -> Vec<Vec<f32>> {
        let deviation =
            |name: &str| match name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
                true => 0.02 / (2.0 * self.layers as f32).sqrt(),
                false => 0.02,
            };
        let fresh = |(i, parameter): (usize, Parameter)| match parameter.role {
            Role::Gain => vec![1.0; parameter.count()],
            Role::Ternary | Role::Float => {
                random::normal(seed, Stream::Weights, i as u32, parameter.count(), deviation(&parameter.name))
            }
        };
        self.parameters().into_iter().enumerate().map(fresh).collect()
    }

    /// The header of the network's files. A network of text also stores its vocabulary there, see
    /// [`TransformerShape::arch_of_text`].
    #[cfg(feature = "files")]
    pub fn arch(&self) -> Arch {
        let settings = serde_json::json!({
            "layers": self.layers, "width": self.width, "heads": self.heads, "kv_heads": self.kv_heads,
            "ffn": self.ffn, "vocabulary": self.vocabulary, "context": self.context, "theta": self.theta,
            "eps": number(self.eps), "precision": self.precision.name(),
        });
        let mut arch = Arch::new(TRANSFORMER, settings);
        // Files of networks of the usual form do not have these settings.
        if self.activation != Activation::default() {
            arch.settings.insert("activation".into(), self.activation.name().into());
        }
        if !self.sub_norms {
            arch.settings.insert("sub_norms".into(), false.into());
        }
        if !self.tied {
            arch.settings.insert("tied".into(), false.into());
        }
        arch
    }

    /// The header of the files of a network of text: that of [`TransformerShape::arch`], with the vocabulary as the
    /// setting `tokens`. `arch.setting::<Vocabulary>("tokens")` reads it.
    #[cfg(feature = "files")]
    pub fn arch_of_text(&self, vocabulary: &Vocabulary) -> Arch {
        let mut arch = self.arch();
        arch.settings.insert("tokens".into(), serde_json::json!(vocabulary));
        arch
    }

    /// The constants from a file's header.
    ///
    /// # Errors
    /// A clause, if the header describes another network, or if a setting is missing.
    #[cfg(feature = "files")]
    pub fn of(arch: &Arch) -> Result<TransformerShape, String> {
        if arch.network != TRANSFORMER {
            return Err(format!("holds a network {}, expected a {TRANSFORMER}", arch.network));
        }
        let precision: String = arch.setting("precision")?;
        let known = Precision::of(&precision);
        let activation = match arch.settings.contains_key("activation") {
            true => arch.setting::<String>("activation")?,
            false => Activation::default().name().into(),
        };
        Ok(TransformerShape {
            layers: arch.setting("layers")?,
            width: arch.setting("width")?,
            heads: arch.setting("heads")?,
            kv_heads: arch.setting("kv_heads")?,
            ffn: arch.setting("ffn")?,
            vocabulary: arch.setting("vocabulary")?,
            context: arch.setting("context")?,
            theta: arch.setting("theta")?,
            eps: arch.setting("eps")?,
            precision: known
                .ok_or(format!("its arch has the precision {precision}, expected ternary or f32"))?,
            activation: Activation::of(&activation)
                .ok_or(format!("its arch has the activation {activation}, expected relu2 or silu"))?,
            sub_norms: !arch.settings.contains_key("sub_norms") || arch.setting("sub_norms")?,
            tied: !arch.settings.contains_key("tied") || arch.setting("tied")?,
        })
    }
}

/// The network on the device.
#[derive(Clone, Debug)]
pub struct Transformer {
    /// Its constants.
    pub shape: TransformerShape,
    /// Its parameters, in the order of [`TransformerShape::parameters`]. Embedding and head are not among them if
    /// [`Transformer::load`] stored them in another form.
    pub params: Params,
    table: Table,
    head: Table,
    layers: Vec<Layer>,
    norm: Param,
}

/// The parameters of one layer.
#[derive(Clone, Debug)]
struct Layer {
    qkv: Stacked,
    o: Param,
    gate_up: Stacked,
    down: Param,
    /// The gains of the norms before q, k and v; before o; before gate and up; before down.
    gains: [Option<Param>; 4],
}

impl Layer {
    /// The gain of the norm before product `i`.
    ///
    /// # Panics
    /// If the layer has no such norm.
    fn gain(&self, i: usize) -> &Param {
        self.gains[i].as_ref().expect("the shape has this norm")
    }
}

/// The tensors of a layer for a batch. In training each layer has its own, because the backward pass reads them. For
/// inference all layers share one set.
enum Activations {
    Ternary(Box<ternary::Activations>),
    Float(Box<float::Activations>),
}

/// The tensors of a batch that all layers read.
struct Batch {
    /// Number of tokens in all sequences.
    n: usize,
    heads: Heads,
    sequences: Sequences,
    /// The angles of each position, `f32 [context, e]`.
    angles: Tensor,
    /// Position of the first token of a sequence, `u32 [1]`. It is 0, unless a cache holds earlier tokens.
    first: Tensor,
    /// Keys and values of each layer in a cache. It is empty without a cache: then each layer has its own keys and
    /// values.
    cached: Vec<[Tensor; 2]>,
}

impl Batch {
    /// Keys and values of layer `i`, `f32 [rows, K e]`.
    fn keys(&self, gpu: &Gpu, i: usize) -> Result<[Tensor; 2], Error> {
        if let Some(cached) = self.cached.get(i) {
            return Ok(cached.clone());
        }
        let shape = [self.n, self.heads.kv_heads * self.heads.width];
        let zeros = |what: &str| gpu.zeros(&format!("layers.{i}.{what}"), F32, &shape);
        Ok([zeros("k")?, zeros("v")?])
    }
}

/// Gradients between the kernels, all f32. All layers use the same tensors, one after another.
struct Gradients {
    /// Gradient of the residual stream, `[n, d]`. A layer reads the gradient of its output here and leaves the gradient of
    /// its input here.
    dh: Tensor,
    /// Gradient of the output of a norm of width `d`, `[n, d]`.
    dn: Tensor,
    /// Gradient of the output of attention, `[n, d]`.
    da: Tensor,
    /// Gradients of q, `[n, d]`, and of k and v, `[n, K e]`.
    dq: Tensor,
    dk: Tensor,
    dv: Tensor,
    /// `do . o` of each head, `[n, H]`.
    delta: Tensor,
    /// Gradient of the product with q|k|v, `[n, d + 2 K e]`, and the same gradient with each part times its beta.
    dqkv: [Tensor; 2],
    /// Gradient of the output of the norm before down, `[n, f]`.
    df: Tensor,
    /// Gradient of the product with gate|up, `[n, 2 f]`, and the same gradient with each part times its beta.
    dgate_up: [Tensor; 2],
}

/// The ops of one layer for a batch.
struct Bound {
    forward: Vec<Op>,
    /// The backward ops. It is empty without [`Scoring`].
    backward: Vec<Op>,
    /// The products. [`Product::ops`] counts from the first op of the layer.
    products: Vec<Product>,
}

impl Transformer {
    /// Uploads the values of each parameter and quantises them.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn upload<V: AsRef<[f32]>>(
        gpu: &Gpu,
        shape: TransformerShape,
        values: &[V],
    ) -> Result<Transformer, Error> {
        let params = Params::upload(gpu, &shape.parameters(), values)?;
        Transformer::new(gpu, shape, params)
    }

    /// Makes the network from these parameters.
    ///
    /// # Errors
    /// If the adapter cannot bind q, k and v, or gate and up, as one matrix.
    ///
    /// # Panics
    /// If a parameter of the shape is missing.
    pub fn new(gpu: &Gpu, shape: TransformerShape, params: Params) -> Result<Transformer, Error> {
        let table = |name: &str| Table::of(params.get(name).value());
        let tables = [table(EMBEDDING), table(if shape.tied { EMBEDDING } else { HEAD })];
        Transformer::assemble(gpu, shape, params, tables)
    }

    /// Loads a network for inference, one parameter after another. Embedding and head are stored as `head`, in pieces that
    /// the adapter can bind. A caller may lower the context of the shape, so that caches need less memory.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor or has no memory for it, if the device failed, if the source cannot be read,
    /// or if f16 cannot hold a value of the embedding or of the head.
    #[cfg(feature = "files")]
    pub fn load(
        gpu: &Gpu,
        shape: TransformerShape,
        source: &dyn WeightSource,
        head: Floats,
    ) -> Result<Transformer, LoadError> {
        let parameters = shape.parameters();
        // All tensors are made before the files are read, so an error of the device comes early.
        let zeros = || Table::zeros(gpu, [shape.vocabulary, shape.width], head);
        let embedding = zeros()?;
        let own_head = (!shape.tied).then(zeros).transpose()?;
        // The embedding is the first parameter, and a head of its own is the last one.
        let last = parameters.len() - usize::from(!shape.tied);
        let params = Params::frozen(gpu, &parameters[1..last])?;
        let mut pending = Pending::new(gpu);
        for (i, table) in [(0, Some(&embedding)), (last, own_head.as_ref())] {
            let Some(table) = table else { continue };
            let read = |rows| {
                let values = source.floats(i, rows)?;
                match values.iter().find(|&&value| head == Floats::F16 && value.abs() >= 65_520.0) {
                    None => Ok(values),
                    Some(value) => Err(LoadError::Value(format!(
                        "{} has the value {value}, which f16 cannot hold: store the head as int8",
                        parameters[i].name
                    ))),
                }
            };
            table.fill(gpu, shape.width, read, |bytes| Ok(pending.wrote(bytes)?))?;
        }
        params.fill(gpu, 1, source)?;
        let head = own_head.unwrap_or_else(|| embedding.clone());
        Ok(Transformer::assemble(gpu, shape, params, [embedding, head])?)
    }

    fn assemble(
        gpu: &Gpu,
        shape: TransformerShape,
        params: Params,
        [table, head]: [Table; 2],
    ) -> Result<Transformer, Error> {
        let get = |i: usize, what: &str| params.get(&name(i, what)).clone();
        let layer = |i: usize| {
            let stacked = |product: usize| {
                let names: Vec<String> = PRODUCTS[product].1.iter().map(|what| name(i, what)).collect();
                params.stacked(gpu, &names)
            };
            Ok(Layer {
                qkv: stacked(0)?,
                o: get(i, PRODUCTS[1].1[0]),
                gate_up: stacked(2)?,
                down: get(i, PRODUCTS[3].1[0]),
                gains: std::array::from_fn(|at| shape.normed()[at].then(|| get(i, PRODUCTS[at].0))),
            })
        };
        Ok(Transformer {
            layers: (0..shape.layers).map(layer).collect::<Result<_, Error>>()?,
            table,
            head,
            norm: params.get(NORM).clone(),
            shape,
            params,
        })
    }

    fn heads(&self) -> Heads {
        Heads { heads: self.shape.heads, kv_heads: self.shape.kv_heads, width: self.shape.head() }
    }

    /// Checks that no kernel needs more iterations of loops than the adapter runs, in a pass that also learns if `learns`
    /// holds.
    fn bounded(&self, gpu: &Gpu, learns: bool) -> Result<(), Error> {
        let Some(iterations) = gpu.most_iterations() else { return Ok(()) };
        let (e, group) = (self.shape.head(), self.shape.heads / self.shape.kv_heads);
        // Workgroups of eight lanes meet eight keys at a time: they load the vectors of the keys, each lane as many as a
        // key has, add up the parts of a row, and the turn itself counts too. The gradients of keys meet all queries of a
        // group, and add up parts twice.
        let for_eight = match learns {
            false => e / 4 + e / 16 + 1,
            true => group * (e / 2 + e / 8 + 1),
        };
        let context = iterations / for_eight * 8;
        // The gradient of the head's input has four rows of the embedding a turn.
        let vocabulary = if learns { 4 * iterations } else { 5 * iterations };
        let adapter = gpu.name();
        let all =
            [("a context", self.shape.context, context), ("a vocabulary", self.shape.vocabulary, vocabulary)];
        match all.into_iter().find(|(_, length, most)| length > most) {
            None => Ok(()),
            Some((what, length, most)) => Err(Error::TooLong { what, length, most, iterations, adapter }),
        }
    }

    /// The angles of each position, `f32 [context, e]`.
    fn angles(&self, gpu: &Gpu) -> Result<Tensor, Error> {
        let (context, width) = (self.shape.context, self.shape.head());
        gpu.upload("angles", &[context, width], &rope_table(0..context, width, self.shape.theta))
    }

    fn batch(&self, gpu: &Gpu, sequences: usize) -> Result<Batch, Error> {
        let context = self.shape.context;
        Ok(Batch {
            n: sequences * context,
            heads: self.heads(),
            sequences: Sequences::whole(context),
            angles: self.angles(gpu)?,
            first: gpu.upload("first", &[1], &[0u32])?,
            cached: Vec::new(),
        })
    }

    /// The tensors of a layer for `n` tokens.
    fn activations(&self, gpu: &Gpu, label: &str, n: usize) -> Result<Activations, Error> {
        Ok(match self.shape.precision {
            Precision::Ternary => {
                Activations::Ternary(Box::new(ternary::Activations::zeros(gpu, &self.shape, label, n)?))
            }
            Precision::F32 => {
                Activations::Float(Box::new(float::Activations::zeros(gpu, &self.shape, label, n)?))
            }
        })
    }

    /// Binds layer `i`, which computes `out` from `h` with the tensors `on`, and its backward pass, which computes the
    /// gradients of its parameters from the gradient of `out`.
    #[allow(clippy::too_many_arguments)] // a layer, its input and its output
    fn layer(
        &self,
        gpu: &Gpu,
        i: usize,
        batch: &Batch,
        on: &Activations,
        h: &Tensor,
        out: &Tensor,
        gradients: Option<&Gradients>,
    ) -> Result<Bound, Error> {
        let keys = batch.keys(gpu, i)?;
        Ok(match on {
            Activations::Ternary(on) => self.ternary_layer(gpu, i, batch, on, &keys, h, out, gradients),
            Activations::Float(on) => self.float_layer(gpu, i, batch, on, &keys, h, out, gradients),
        })
    }

    /// Binds layer `i` alone for the first `tokens` positions: its ops, and its products. The input of the first product
    /// is the input of the layer.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn bind_layer(&self, gpu: &Gpu, i: usize, tokens: usize) -> Result<(Vec<Op>, Vec<Product>), Error> {
        let batch = Batch { sequences: Sequences::whole(tokens), n: tokens, ..self.batch(gpu, 1)? };
        let on = self.activations(gpu, &format!("layers.{i}"), tokens)?;
        let [h, out] = ["h", "out"].map(|name| gpu.zeros(name, F32, &[tokens, self.shape.width]));
        let Bound { forward, products, .. } = self.layer(gpu, i, &batch, &on, &h?, &out?, None)?;
        Ok((forward, products))
    }

    fn gradients(&self, gpu: &Gpu, n: usize) -> Result<Gradients, Error> {
        let (d, f, heads) = (self.shape.width, self.shape.ffn, self.shape.heads);
        let kv = self.shape.kv_heads * self.shape.head();
        let zeros = |name: &str, cols: usize| gpu.zeros(&format!("{name}.grad"), F32, &[n, cols]);
        Ok(Gradients {
            dh: zeros("h", d)?,
            dn: zeros("n", d)?,
            da: zeros("a", d)?,
            dq: zeros("q", d)?,
            dk: zeros("k", kv)?,
            dv: zeros("v", kv)?,
            delta: gpu.zeros("delta", F32, &[n, heads])?,
            dqkv: [zeros("qkv", d + 2 * kv)?, zeros("qkv.scaled", d + 2 * kv)?],
            df: zeros("f", f)?,
            dgate_up: [zeros("gate_up", 2 * f)?, zeros("gate_up.scaled", 2 * f)?],
        })
    }
}

impl Network for Transformer {
    fn params(&self) -> &Params {
        &self.params
    }

    fn inputs(&self) -> usize {
        self.shape.context
    }

    fn rows(&self) -> usize {
        self.shape.context
    }

    fn transformer(&self) -> Option<&Transformer> {
        Some(self)
    }

    fn bind(&self, gpu: &Gpu, items: usize, scoring: Option<Scoring>) -> Result<Pass, Error> {
        let TransformerShape { width, vocabulary, context, eps, .. } = self.shape;
        let batch = self.batch(gpu, items)?;
        let n = batch.n;
        let input = gpu.zeros("ids", I32, &[items, context])?;
        let ids = input.part("ids", 0, &[n]);
        let labels = gpu.zeros("labels", U32, &[n])?;
        let zeros = |name: &str, cols: usize| gpu.zeros(name, F32, &[n, cols]);
        let logits = zeros("logits", vocabulary)?;
        let learns = scoring.is_some_and(|scoring| scoring.learns);
        self.bounded(gpu, learns)?;
        assert!(self.shape.tied || !learns, "Transformer: a head that is not the embedding is not trained");
        let gradients = learns.then(|| self.gradients(gpu, n)).transpose()?;

        let mut h = zeros("layers.0.h", width)?;
        let mut forward = self.table.gather(gpu, &ids, &h);
        Op::mark(&mut forward, "forward / embedding");
        let (mut products, mut layers) = (Vec::new(), Vec::new());
        for i in 0..self.layers.len() {
            let out = zeros(&format!("layers.{}.h", i + 1), width)?;
            let on = self.activations(gpu, &format!("layers.{i}"), n)?;
            let mut bound = self.layer(gpu, i, &batch, &on, &h, &out, gradients.as_ref())?;
            Op::mark(&mut bound.forward, &format!("forward / layer {i}"));
            Op::mark(&mut bound.backward, &format!("backward / layer {i}"));
            let first = forward.len();
            forward.extend(bound.forward);
            products.extend(bound.products.into_iter().map(|product| Product {
                ops: product.ops.start + first..product.ops.end + first,
                ..product
            }));
            layers.push(bound.backward);
            h = out;
        }
        let (normed, factor) = (zeros("normed", width)?, gpu.zeros("normed.factor", F32, &[n])?);
        let first = forward.len();
        forward.push(kernels::rmsnorm(gpu, &h, self.norm.value(), eps, &normed, &factor));
        forward.extend(self.head.head(gpu, &normed, &logits));
        Op::mark(&mut forward[first..], "forward / head");

        let (mut loss, mut backward) = (Vec::new(), Vec::new());
        if let Some(Scoring { totals, smoothing, .. }) = scoring {
            let dlogits = zeros("logits.grad", vocabulary)?;
            let (losses, hits) = (gpu.zeros("losses", F32, &[n])?, gpu.zeros("hits", U32, &[n])?);
            loss = vec![
                kernels::xent_rows(gpu, &logits, &labels, smoothing, n, &dlogits, &losses, &hits),
                kernels::xent_totals(gpu, &losses, &hits, items, totals),
            ];
            Op::mark(&mut loss, "loss");
            if let Some(Gradients { dh, dn, .. }) = &gradients {
                let (embedding, norm) = (self.params.get(EMBEDDING), &self.norm);
                backward = vec![
                    kernels::matmul_f32_dx(gpu, embedding.value(), &dlogits, dn),
                    kernels::matmul_f32_dw(gpu, &dlogits, &normed, embedding.grad()),
                    kernels::rmsnorm_backward(gpu, &h, norm.value(), &factor, dn, dh, norm.grad(), false),
                ];
                Op::mark(&mut backward, "backward / head");
                backward.extend(layers.into_iter().rev().flatten());
                // The head is the embedding. Its part of the embedding's gradient was written before.
                let first = backward.len();
                backward.push(kernels::embed_grad(gpu, &ids, dh, embedding.grad()));
                Op::mark(&mut backward[first..], "backward / embedding");
            }
        }
        Ok(Pass { input, labels, logits, products, forward, head: Vec::new(), loss, backward })
    }
}
