//! The network: [RMSNorm with gain, linear, ReLU] per hidden layer, RMSNorm and linear last.
//! Parameters as tensors; forward, backward and update as lists of ops. Knows no data set and no
//! schedule.
//!
//! Two networks share parameters, loss and optimizer: `ternary`, whose linear layers are BitLinear, and
//! its twin `float`, the same in f32 throughout.
//!
//! Ops that do not depend on each other stand side by side in the lists, so that a GPU may overlap
//! them. Parameters lie in few tensors, of which each layer's are parts: one dispatch updates all layers, and one
//! quantises them.

mod float;
mod linear;
mod ternary;

pub use linear::Linear;

use crate::gpu::{Dtype::*, Error, Gpu, Op, PART, Tensor};
use crate::kernels::{self, AdamW, Int8Tensor, Moments, PackedTensor, Sgd, Stack, Totals, Trainable};
use crate::random::{self, Stream};
use crate::ternary::{BLOCK, Packed, words};

/// The network's constants: layer widths, RMSNorm's epsilon, and what its matrices hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Inputs, hidden widths, classes: `[784, 256, 128, 10]`.
    pub dims: Vec<usize>,
    /// RMSNorm's epsilon.
    pub eps: f32,
    /// Which of the two networks.
    pub precision: Precision,
}

/// What the matrices of a network hold when it computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize, clap::ValueEnum))]
#[cfg_attr(feature = "cli", serde(rename_all = "lowercase"))]
pub enum Precision {
    /// Trits, multiplied by int8 activations (BitNet b1.58).
    #[default]
    Ternary,
    /// 32-bit floats, and so are the activations: what the ternary network is compared with.
    F32,
}

impl Precision {
    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Ternary => "ternary",
            Precision::F32 => "f32",
        }
    }
}

/// How gradients move the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
}

/// Shadow weights and gain of one layer, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// `[rows, cols]`.
    pub weight: Vec<f32>,
    /// `[cols]`.
    pub gain: Vec<f32>,
}

/// One linear layer with the RMSNorm before it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Weights `f32 [rows, cols]`; of a ternary network the shadow weights.
    pub weight: Tensor,
    /// RMSNorm's gain `f32 [cols]`.
    pub gain: Tensor,
    /// The trits that both passes of a ternary network use; zeros in its float twin.
    pub packed: PackedTensor,
    /// Gradient of the shadow weights.
    pub dweight: Tensor,
    /// Gradient of the gain.
    pub dgain: Tensor,
    /// Optimizer state of the weights.
    pub weight_moments: Moments,
    /// Optimizer state of the gain.
    pub gain_moments: Moments,
}

/// The network's parameters on the device. The trits of a ternary network always are those of its shadow weights:
/// [`Mlp::upload`] and [`Mlp::update`] quantise.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// Its constants.
    pub shape: Shape,
    /// First layer first.
    pub layers: Vec<Layer>,
    groups: Vec<Group>,
}

/// Neighbouring layers whose parameters one tensor holds: all of them, unless the adapter binds less.
#[derive(Clone, Debug)]
struct Group {
    /// Their matrices within the parameters.
    stack: Stack,
    /// The matrices, which may decay, then the gains.
    parameters: Trainable,
    /// A beta for each matrix, and the packed words.
    beta: Tensor,
    words: Tensor,
}

/// The activations of one batch size.
#[derive(Clone, Debug)]
pub struct Activations {
    /// The input: pixels 0 to 255, `i32 [batch, dims[0]]`.
    pub pixels: Tensor,
    /// Real value of one unit of `pixels`, `f32 [batch]`.
    r: Tensor,
    /// `u32 [batch]`.
    pub labels: Tensor,
    /// `f32 [batch, classes]`.
    pub logits: Tensor,
    /// Gradient of the logits, `f32 [batch, classes]`.
    dlogits: Tensor,
    trace: Trace,
}

/// What the layers leave behind for a batch, first layer first.
#[derive(Clone, Debug)]
enum Trace {
    Ternary(Vec<ternary::Trace>),
    Float(Vec<float::Trace>),
}

impl Activations {
    /// The codes that each layer of a ternary network multiplies and the accumulators that come out, first
    /// layer first; none in its float twin.
    pub fn integers(&self) -> impl Iterator<Item = (&Int8Tensor, &Tensor)> {
        let layers = match &self.trace {
            Trace::Ternary(layers) => &layers[..],
            Trace::Float(_) => &[],
        };
        layers.iter().map(|layer| (&layer.codes, &layer.acc))
    }
}

/// What a pixel's unit is worth: images are divided by 255.
const PIXEL: f32 = 1.0 / 255.0;

impl Shape {
    /// Rows and columns of each layer's matrix.
    pub fn layers(&self) -> Vec<[usize; 2]> {
        self.dims.windows(2).map(|pair| [pair[1], pair[0]]).collect()
    }

    /// Weights in all matrices.
    pub fn weights(&self) -> usize {
        self.layers().into_iter().map(|[rows, cols]| rows * cols).sum()
    }

    /// Whether the kernels can run it.
    ///
    /// # Errors
    /// A sentence that names the width which is out of range.
    pub fn validate(&self) -> Result<(), String> {
        match self.dims.iter().find(|width| !(1..=kernels::MOST_COLS).contains(*width)) {
            Some(width) => {
                Err(format!("a layer of width {width}: it must lie between 1 and {}", kernels::MOST_COLS))
            }
            None => Ok(()),
        }
    }

    /// Fresh parameters: weights uniform within `1 / sqrt(cols)`, gains 1.
    pub fn initial(&self, seed: u64) -> Vec<Parameters> {
        let fresh = |(i, [rows, cols]): (usize, [usize; 2])| {
            let bound = 1.0 / (cols as f32).sqrt();
            let weight = random::uniform(seed, Stream::Weights, i as u32, rows * cols, bound);
            Parameters { weight, gain: vec![1.0; cols] }
        };
        self.layers().into_iter().enumerate().map(fresh).collect()
    }
}

impl Mlp {
    /// Uploads parameters, one per layer of the shape, and quantises them.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn upload(gpu: &Gpu, shape: Shape, parameters: &[Parameters]) -> Result<Mlp, Error> {
        let mlp = Mlp::written(gpu, shape, parameters)?;
        gpu.run(&mlp.quantize(gpu))?;
        Ok(mlp)
    }

    /// Parameters on the device, not quantised.
    fn written(gpu: &Gpu, shape: Shape, parameters: &[Parameters]) -> Result<Mlp, Error> {
        assert_eq!(parameters.len() + 1, shape.dims.len(), "Mlp: one set of parameters per layer");
        let mut mlp = Mlp { layers: Vec::new(), groups: Vec::new(), shape };
        let shapes = mlp.shape.layers();
        while mlp.layers.len() < shapes.len() {
            let first = mlp.layers.len();
            // As many layers as the adapter binds at once, and one at least: then it says itself what is too large.
            let fits = |end: &usize| gpu.fits("parameters", &[Group::count(&shapes[first..*end])]).is_ok();
            let end = (first + 1..=shapes.len()).rev().find(fits).unwrap_or(first + 1);
            let (group, layers) = Group::new(gpu, first, &shapes[first..end])?;
            mlp.groups.push(group);
            mlp.layers.extend(layers);
        }
        for (layer, from) in mlp.layers.iter().zip(parameters) {
            gpu.write(&layer.weight, &from.weight);
            gpu.write(&layer.gain, &from.gain);
        }
        Ok(mlp)
    }

    /// A network of stored trits, to run: its packed weights are these to the bit. The shadow weights are
    /// what they stand for, `beta T`, in which [`Mlp::quantize`] would find another beta.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn from_packed(gpu: &Gpu, shape: Shape, packed: &[Packed], gains: &[Vec<f32>]) -> Result<Mlp, Error> {
        let parameters = |(packed, gain): (&Packed, &Vec<f32>)| Parameters {
            weight: packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect(),
            gain: gain.clone(),
        };
        let parameters: Vec<Parameters> = packed.iter().zip(gains).map(parameters).collect();
        let mlp = Mlp::written(gpu, shape, &parameters)?;
        for (layer, packed) in mlp.layers.iter().zip(packed) {
            gpu.write(&layer.packed.words, &packed.words);
            gpu.write(&layer.packed.beta, &[packed.scale]);
        }
        Ok(mlp)
    }

    /// Reads the shadow weights and gains back.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download(&self, gpu: &Gpu) -> Result<Vec<Parameters>, Error> {
        let read = |layer: &Layer| {
            Ok(Parameters { weight: gpu.download(&layer.weight)?, gain: gpu.download(&layer.gain)? })
        };
        self.layers.iter().map(read).collect()
    }

    /// Reads the trits back, as they were last quantised; a float network has none.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn packed(&self, gpu: &Gpu) -> Result<Vec<Packed>, Error> {
        match self.shape.precision {
            Precision::Ternary => self.layers.iter().map(|layer| layer.packed.download(gpu)).collect(),
            Precision::F32 => Ok(Vec::new()),
        }
    }

    /// The largest batch of at most `most` rows, by halves, that the adapter binds.
    pub fn batch_that_fits(&self, gpu: &Gpu, most: usize) -> usize {
        let widest = self.shape.dims.iter().copied().max().unwrap_or(1);
        let halves = std::iter::successors(Some(most), |&batch| (batch > 1).then_some(batch / 2));
        halves.into_iter().find(|&batch| gpu.fits("activations", &[batch, widest]).is_ok()).unwrap_or(1)
    }

    /// Tensors for batches of one size. Two sizes share nothing, so both plans stay bound.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor; `batch` is then too large for it.
    pub fn activations(&self, gpu: &Gpu, batch: usize) -> Result<Activations, Error> {
        self.activations_of(gpu, gpu.zeros("pixels", I32, &[batch, self.shape.dims[0]])?)
    }

    /// [`Mlp::activations`] of pixels that are already on the device, where the caller leaves them:
    /// `i32 [batch, dims[0]]`, each from 0 to 255.
    ///
    /// # Errors
    /// As [`Mlp::activations`].
    ///
    /// # Panics
    /// If the tensor has another type or width.
    pub fn activations_of(&self, gpu: &Gpu, pixels: Tensor) -> Result<Activations, Error> {
        let &[batch, width] = pixels.shape() else { panic!("Mlp: pixels are {:?}", pixels.shape()) };
        assert_eq!((pixels.dtype(), width), (I32, self.shape.dims[0]), "Mlp: type and width of the pixels");
        let labels = gpu.zeros("labels", U32, &[batch])?;
        let classes = *self.shape.dims.last().expect("a shape has an input and an output");
        let logits = gpu.zeros("logits", F32, &[batch, classes])?;
        let dlogits = gpu.zeros("logits.grad", F32, &[batch, classes])?;
        let r = gpu.upload("pixels.r", &[batch], &vec![PIXEL; batch])?;
        let trace = match self.shape.precision {
            Precision::Ternary => Trace::Ternary(self.ternary_trace(gpu, &pixels, &r, &dlogits)?),
            Precision::F32 => Trace::Float(self.float_trace(gpu, &logits, &dlogits)?),
        };
        Ok(Activations { pixels, r, labels, logits, dlogits, trace })
    }

    /// `packed <- ternary(weight)` for every layer, after someone wrote weights; nothing to do in a float network.
    pub fn quantize(&self, gpu: &Gpu) -> Vec<Op> {
        if self.shape.precision == Precision::F32 {
            return Vec::new();
        }
        let sums = |group: &Group| kernels::abs_sums(gpu, &group.parameters.value, &group.parameters.sums);
        let mut ops: Vec<Op> = self.groups.iter().map(sums).collect();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops, "quantize");
        ops
    }

    /// [`Mlp::quantize`] where an optimizer left the sums.
    fn ternarize(&self, gpu: &Gpu) -> impl Iterator<Item = Op> {
        self.groups.iter().flat_map(|group| {
            let Group { stack, parameters: Trainable { value, sums, .. }, beta, words } = group;
            [
                kernels::absmean(gpu, stack, sums, beta),
                kernels::quantize_weights(gpu, stack, value, beta, words),
            ]
        })
    }

    /// `weight <- beta T` for every layer, before a step: training then has no memory finer than a trit. It exists to
    /// be seen failing.
    pub fn forget_shadow(&self, gpu: &Gpu) -> Vec<Op> {
        let forget = |l: &Layer| kernels::dequantize_weights(gpu, &l.packed, &l.weight);
        let mut ops: Vec<Op> = self.layers.iter().map(forget).collect();
        Op::mark(&mut ops, "forget the shadow");
        ops
    }

    /// The network on `on.pixels`, of a ternary one from the packed weights: up to the last layer's accumulators, or
    /// the logits of a float one.
    pub fn forward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        match &on.trace {
            Trace::Ternary(layers) => self.ternary_forward(gpu, layers),
            Trace::Float(layers) => self.float_forward(gpu, layers, &on.pixels, &on.r),
        }
    }

    /// After [`Mlp::forward`], for whoever has no labels: `on.logits`, which [`Mlp::loss`] makes by itself.
    pub fn logits(&self, gpu: &Gpu, on: &Activations) -> Option<Op> {
        match &on.trace {
            Trace::Ternary(layers) => {
                let (acc, scale) = ternary::out(layers);
                Some(kernels::scale_rows(gpu, acc, scale, &on.logits))
            }
            Trace::Float(_) => None,
        }
    }

    /// The logits, their loss and its gradient; loss, hits and images are added to `totals`.
    pub fn loss(&self, gpu: &Gpu, on: &Activations, smoothing: f32, totals: &Totals) -> Op {
        let Activations { logits, dlogits, labels, trace, .. } = on;
        let mut op = match trace {
            Trace::Ternary(layers) => {
                let (acc, scale) = ternary::out(layers);
                kernels::scale_softmax_xent(gpu, acc, scale, labels, smoothing, logits, dlogits, totals)
            }
            Trace::Float(_) => kernels::softmax_xent(gpu, logits, labels, smoothing, dlogits, totals),
        };
        Op::mark(std::slice::from_mut(&mut op), "loss");
        op
    }

    /// Gradients of every weight and gain; of a ternary network straight through the quantisers.
    pub fn backward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        match &on.trace {
            Trace::Ternary(layers) => self.ternary_backward(gpu, layers),
            Trace::Float(layers) => self.float_backward(gpu, layers),
        }
    }

    /// One step of the optimizer for every parameter, and the trits of the new weights; gains do not decay.
    pub fn update(&self, gpu: &Gpu, by: Update, clock: &Tensor, schedule: &Tensor) -> Vec<Op> {
        let step = |group: &Group| match by {
            Update::AdamW(by) => kernels::adamw(gpu, by, clock, schedule, &group.parameters),
            Update::Sgd(by) => kernels::sgd(gpu, by, clock, schedule, &group.parameters),
        };
        let mut ops: Vec<Op> = self.groups.iter().map(step).collect();
        Op::mark(&mut ops, "update");
        if self.shape.precision == Precision::Ternary {
            let first = ops.len();
            ops.extend(self.ternarize(gpu));
            Op::mark(&mut ops[first..], "quantize");
        }
        ops
    }

    /// The layers' own tensors within one that holds parameters of several.
    pub fn parts<'a>(&'a self, of: &Tensor) -> Vec<&'a Tensor> {
        let own = |layer: &'a Layer| {
            let Layer { weight, gain, dweight, dgain, weight_moments: w, gain_moments: g, .. } = layer;
            [weight, gain, dweight, dgain, &w.m, &g.m, &w.v, &g.v]
        };
        let within = |part: &&Tensor| part.buffer() == of.buffer() && part.len() < of.len();
        self.layers.iter().flat_map(own).filter(within).collect()
    }
}

impl Group {
    /// Values of these layers: the matrices in whole blocks, then the gains, each where a part may begin.
    fn count(shapes: &[[usize; 2]]) -> usize {
        let matrices: usize = shapes.iter().map(|[rows, cols]| (rows * cols).next_multiple_of(BLOCK)).sum();
        matrices + shapes.iter().map(|[_, cols]| cols.next_multiple_of(PART)).sum::<usize>()
    }

    /// Zeros for neighbouring layers, the first of them number `first`.
    fn new(gpu: &Gpu, first: usize, shapes: &[[usize; 2]]) -> Result<(Group, Vec<Layer>), Error> {
        let all = match shapes.len() {
            1 => format!("layers.{first}"),
            count => format!("layers.{first}-{}", first + count - 1),
        };
        let stack = Stack::new(gpu, &all, shapes)?;
        let parameters = Trainable {
            decayed: stack.values(),
            ..Trainable::zeros(gpu, &format!("{all}.parameters"), Group::count(shapes))?
        };
        let beta = gpu.zeros(&format!("{all}.beta"), F32, &[stack.betas()])?;
        let packed = gpu.zeros(&format!("{all}.packed"), U32, &[stack.words()])?;
        let mut next_gain = stack.values();
        let mut layers = Vec::new();
        for (i, place) in stack.places().iter().enumerate() {
            let kernels::Place { rows, cols, weight, word, .. } = *place;
            let name = |what: &str| format!("layers.{}.{what}", first + i);
            let parts = |of: &Tensor, what: &str| {
                let matrix = of.part(&name(&format!("weight{what}")), weight, &[rows, cols]);
                (matrix, of.part(&name(&format!("gain{what}")), next_gain, &[cols]))
            };
            let (weight, gain) = parts(&parameters.value, "");
            let (dweight, dgain) = parts(&parameters.grad, ".grad");
            let (weight_m, gain_m) = parts(&parameters.moments.m, ".m");
            let (weight_v, gain_v) = parts(&parameters.moments.v, ".v");
            let packed = PackedTensor {
                words: packed.part(&name("weight.packed"), word, &[rows, words(cols)]),
                beta: beta.part(&name("weight.beta"), place.beta, &[1]),
                cols,
            };
            let weight_moments = Moments { m: weight_m, v: weight_v };
            let gain_moments = Moments { m: gain_m, v: gain_v };
            layers.push(Layer { weight, gain, packed, dweight, dgain, weight_moments, gain_moments });
            next_gain += cols.next_multiple_of(PART);
        }
        Ok((Group { stack, parameters, beta, words: packed }, layers))
    }
}
