//! The network: [RMSNorm with gain, linear, ReLU] per hidden layer, RMSNorm and linear last.
//! Parameters as tensors; forward, backward and update as lists of ops. Knows no data set and no
//! schedule.
//!
//! Two networks share parameters, loss and optimizer: `ternary`, whose linear layers are BitLinear, and
//! its twin `float`, the same in f32 throughout.
//!
//! Ops that do not depend on each other stand side by side in the lists, so that a GPU may overlap
//! them.

mod float;
mod linear;
mod ternary;

pub use linear::Linear;

use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, AdamW, Int8Tensor, Moments, PackedTensor, Sgd, Totals};
use crate::random::{self, Stream};
use crate::ternary::Packed;

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

/// The network's parameters on the device.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// Its constants.
    pub shape: Shape,
    /// First layer first.
    pub layers: Vec<Layer>,
    /// Whether the trits came as they are, not from the shadow weights.
    stored: bool,
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
    /// Uploads parameters, one per layer of the shape.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn upload(gpu: &Gpu, shape: Shape, parameters: &[Parameters]) -> Result<Mlp, Error> {
        assert_eq!(parameters.len() + 1, shape.dims.len(), "Mlp: one set of parameters per layer");
        let layer = |(i, ([rows, cols], from)): (usize, ([usize; 2], &Parameters))| {
            let name = |what: &str| format!("layers.{i}.{what}");
            let weight = gpu.upload(&name("weight"), &[rows, cols], &from.weight)?;
            let gain = gpu.upload(&name("gain"), &[cols], &from.gain)?;
            Ok(Layer {
                packed: PackedTensor::zeros(gpu, &name("weight"), rows, cols)?,
                dweight: gpu.zeros(&name("weight.grad"), F32, &[rows, cols])?,
                dgain: gpu.zeros(&name("gain.grad"), F32, &[cols])?,
                weight_moments: Moments::zeros(gpu, &weight)?,
                gain_moments: Moments::zeros(gpu, &gain)?,
                weight,
                gain,
            })
        };
        let layers =
            shape.layers().into_iter().zip(parameters).enumerate().map(layer).collect::<Result<_, _>>()?;
        Ok(Mlp { shape, layers, stored: false })
    }

    /// A network of stored trits, to run: its packed weights are these to the bit, and [`Mlp::quantize`] leaves them
    /// so. The shadow weights are what they stand for, `beta T`.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn from_packed(gpu: &Gpu, shape: Shape, packed: &[Packed], gains: &[Vec<f32>]) -> Result<Mlp, Error> {
        let parameters = |(packed, gain): (&Packed, &Vec<f32>)| Parameters {
            weight: packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect(),
            gain: gain.clone(),
        };
        let parameters: Vec<Parameters> = packed.iter().zip(gains).map(parameters).collect();
        let mut mlp = Mlp { stored: true, ..Mlp::upload(gpu, shape, &parameters)? };
        for (i, (layer, packed)) in mlp.layers.iter_mut().zip(packed).enumerate() {
            layer.packed = PackedTensor::upload(gpu, &format!("layers.{i}.weight"), packed)?;
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

    /// `packed <- ternary(weight)` for every layer. Once before the forward passes that use it; nothing to do
    /// in a float network and in one of stored trits.
    ///
    /// # Errors
    /// If the adapter cannot bind the partial sums.
    pub fn quantize(&self, gpu: &Gpu) -> Result<Vec<Op>, Error> {
        if self.shape.precision == Precision::F32 || self.stored {
            return Ok(Vec::new());
        }
        let trees: Result<Vec<_>, _> =
            self.layers.iter().map(|l| kernels::absmean(gpu, &l.weight, &l.packed.beta)).collect();
        let mut trees = trees?;
        let mut ops = Vec::new();
        // Level by level, so that the layers' trees run side by side.
        while trees.iter().any(|tree| !tree.is_empty()) {
            ops.extend(trees.iter_mut().filter(|tree| !tree.is_empty()).map(|tree| tree.remove(0)));
        }
        ops.extend(self.layers.iter().map(|l| kernels::quantize_weights(gpu, &l.weight, &l.packed)));
        Ok(ops)
    }

    /// `weight <- beta T` for every layer, after [`Mlp::quantize`]: training then has no memory finer than a
    /// trit. It exists to be seen failing.
    pub fn forget_shadow(&self, gpu: &Gpu) -> Vec<Op> {
        self.layers.iter().map(|l| kernels::dequantize_weights(gpu, &l.packed, &l.weight)).collect()
    }

    /// `logits <- network(pixels)`, of a ternary network from the packed weights.
    pub fn forward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        match &on.trace {
            Trace::Ternary(layers) => self.ternary_forward(gpu, layers, &on.logits),
            Trace::Float(layers) => self.float_forward(gpu, layers, &on.pixels, &on.r),
        }
    }

    /// The loss and its gradient with respect to the logits, added to `totals`.
    pub fn loss(&self, gpu: &Gpu, on: &Activations, smoothing: f32, totals: &Totals) -> Op {
        kernels::softmax_xent(gpu, &on.logits, &on.labels, smoothing, &on.dlogits, totals)
    }

    /// Gradients of every weight and gain; of a ternary network straight through the quantisers.
    pub fn backward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        match &on.trace {
            Trace::Ternary(layers) => self.ternary_backward(gpu, layers),
            Trace::Float(layers) => self.float_backward(gpu, layers),
        }
    }

    /// One step of the optimizer for every parameter; gains do not decay.
    pub fn update(&self, gpu: &Gpu, by: Update, clock: &Tensor, schedule: &Tensor) -> Vec<Op> {
        let step = |by: Update, grad: &Tensor, value: &Tensor, moments: &Moments| match by {
            Update::AdamW(by) => kernels::adamw(gpu, by, clock, schedule, grad, value, moments),
            Update::Sgd(by) => kernels::sgd(gpu, by, clock, schedule, grad, value, &moments.m),
        };
        let undecayed = match by {
            Update::AdamW(by) => Update::AdamW(AdamW { decay: 0.0, ..by }),
            Update::Sgd(by) => Update::Sgd(Sgd { decay: 0.0, ..by }),
        };
        let weights = self.layers.iter().map(|l| step(by, &l.dweight, &l.weight, &l.weight_moments));
        let gains = self.layers.iter().map(|l| step(undecayed, &l.dgain, &l.gain, &l.gain_moments));
        weights.chain(gains).collect()
    }
}
