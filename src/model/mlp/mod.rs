//! The MLP: [RMSNorm with gain, linear, ReLU] per hidden layer, RMSNorm and linear last. Forward, loss and backward as
//! lists of ops. Knows no data set and no schedule.
//!
//! Two networks share parameters, loss and optimizer: `ternary`, whose linear layers are BitLinear, and
//! its twin `float`, the same in f32 throughout.
//!
//! Ops that do not depend on each other stand side by side in the lists, so that a GPU may overlap
//! them.

mod float;
mod ternary;

use super::{Network, Param, Params, Pass, Precision, Product, Scoring};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, PackedTensor, Totals};
use crate::parameter::{Parameter, Role};
use crate::random::{self, Stream};
#[cfg(feature = "files")]
use crate::store::{self, Arch, Model};

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

/// One linear layer with the RMSNorm before it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The matrix `[rows, cols]`; of a ternary network its shadow weights, and the trits that both passes use.
    pub weight: Param,
    /// RMSNorm's gain `[cols]`.
    pub gain: Param,
}

impl Layer {
    fn packed(&self) -> &PackedTensor {
        self.weight.packed()
    }
}

/// The network on the device.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// Its constants.
    pub shape: Shape,
    /// Its parameters: weight and gain of each layer, first layer first.
    pub params: Params,
    /// First layer first.
    pub layers: Vec<Layer>,
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
    /// The exact products of a ternary network, first layer first; none in its float twin.
    pub fn products(&self) -> Vec<Product> {
        let layers = match &self.trace {
            Trace::Ternary(layers) => &layers[..],
            Trace::Float(_) => &[],
        };
        layers.iter().enumerate().map(|(i, layer)| layer.product(i)).collect()
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

    /// Its parameters: weight and gain of each layer, first layer first.
    pub fn parameters(&self) -> Vec<Parameter> {
        let role = self.precision.role();
        let layer = |(i, [rows, cols]): (usize, [usize; 2])| {
            [
                Parameter::new(format!("layers.{i}.weight"), &[rows, cols], role),
                Parameter::new(format!("layers.{i}.gain"), &[cols], Role::Gain),
            ]
        };
        self.layers().into_iter().enumerate().flat_map(layer).collect()
    }

    /// Fresh values for each parameter: weights uniform within `1 / sqrt(cols)`, gains 1.
    pub fn initial(&self, seed: u64) -> Vec<Vec<f32>> {
        let fresh = |(i, [rows, cols]): (usize, [usize; 2])| {
            let bound = 1.0 / (cols as f32).sqrt();
            [random::uniform(seed, Stream::Weights, i as u32, rows * cols, bound), vec![1.0; cols]]
        };
        self.layers().into_iter().enumerate().flat_map(fresh).collect()
    }

    /// The header of its files.
    #[cfg(feature = "files")]
    pub fn arch(&self) -> Arch {
        store::mlp(&self.dims, self.eps, self.precision.name())
    }

    /// The shape of which a file's header speaks.
    ///
    /// # Errors
    /// A clause, if it is another network.
    #[cfg(feature = "files")]
    pub fn of(arch: &Arch) -> Result<Shape, String> {
        if arch.network != store::MLP {
            return Err(format!("holds a network {}, expected an {}", arch.network, store::MLP));
        }
        let precision: String = arch.setting("precision")?;
        Ok(Shape {
            dims: arch.setting("dims")?,
            eps: arch.setting("eps")?,
            precision: Precision::of(&precision).unwrap_or_default(),
        })
    }
}

impl Mlp {
    /// Uploads the values of each parameter and quantises them.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn upload<V: AsRef<[f32]>>(gpu: &Gpu, shape: Shape, values: &[V]) -> Result<Mlp, Error> {
        let params = Params::upload(gpu, &shape.parameters(), values)?;
        Ok(Mlp::new(shape, params))
    }

    /// A network of stored trits, to run: its packed weights are these to the bit.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If it is no MLP.
    #[cfg(feature = "files")]
    pub fn from_model(gpu: &Gpu, model: &Model) -> Result<Mlp, Error> {
        let shape = Shape::of(&model.arch).unwrap_or_else(|what| panic!("Mlp: the file {what}"));
        Ok(Mlp::new(shape, Params::stored(gpu, model)?))
    }

    /// The network with these parameters.
    ///
    /// # Panics
    /// If a parameter of the shape is missing.
    pub fn new(shape: Shape, params: Params) -> Mlp {
        let layer = |i: usize| Layer {
            weight: params.get(&format!("layers.{i}.weight")).clone(),
            gain: params.get(&format!("layers.{i}.gain")).clone(),
        };
        Mlp { layers: (0..shape.dims.len() - 1).map(layer).collect(), shape, params }
    }

    /// Reads the floats of each matrix back, with its columns; of a ternary network the shadow weights.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn weights(&self, gpu: &Gpu) -> Result<Vec<(Vec<f32>, usize)>, Error> {
        let read = |([_, cols], layer): ([usize; 2], &Layer)| Ok((gpu.download(&layer.weight.value)?, cols));
        self.shape.layers().into_iter().zip(&self.layers).map(read).collect()
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
}

impl Network for Mlp {
    fn params(&self) -> &Params {
        &self.params
    }

    fn inputs(&self) -> usize {
        self.shape.dims[0]
    }

    fn bind(&self, gpu: &Gpu, items: usize, scoring: Option<Scoring>) -> Result<Pass, Error> {
        let on = self.activations(gpu, items)?;
        let (loss, backward) = match scoring {
            Some(Scoring { totals, smoothing }) => {
                (vec![self.loss(gpu, &on, smoothing, totals)], self.backward(gpu, &on))
            }
            None => (Vec::new(), Vec::new()),
        };
        Ok(Pass {
            products: on.products(),
            forward: self.forward(gpu, &on),
            head: self.logits(gpu, &on).into_iter().collect(),
            loss,
            backward,
            input: on.pixels,
            labels: on.labels,
            logits: on.logits,
        })
    }
}
