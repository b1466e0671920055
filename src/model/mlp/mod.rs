//! The MLP. A hidden layer is RMSNorm with gain, a linear layer and ReLU. The last layer is RMSNorm and a linear
//! layer. Forward pass, loss and backward pass are lists of ops. This module knows no data set and no schedule.
//!
//! Two networks share parameters, loss and optimizer: `ternary`, whose linear layers are BitLinear, and its twin
//! `float`, which is the same in f32.
//!
//! Independent ops are next to each other in the lists, so that a GPU may overlap them.

mod float;
mod ternary;

use super::{Network, Param, Params, Pass, Precision, Product, Scoring};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, PackedTensor, Totals};
use crate::parameter::{Parameter, Role};
use crate::random::{self, Stream};
#[cfg(feature = "files")]
use crate::store::{self, Arch, Model};

/// The constants of the network: widths, the epsilon of RMSNorm, and the precision of its matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The widths: inputs, hidden layers, classes. Example: `[784, 256, 128, 10]`.
    pub dims: Vec<usize>,
    /// The epsilon of RMSNorm.
    pub eps: f32,
    /// The kind of network: ternary or float.
    pub precision: Precision,
}

/// One linear layer with the RMSNorm before it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The matrix `[rows, cols]`. In a ternary network it consists of shadow weights, and of trits for both passes.
    pub weight: Param,
    /// The gain of RMSNorm, `[cols]`.
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
    /// The layers, first layer first.
    pub layers: Vec<Layer>,
}

/// The activations for one batch size.
#[derive(Clone, Debug)]
pub struct Activations {
    /// The input: pixels 0 to 255, `i32 [batch, dims[0]]`.
    pub pixels: Tensor,
    /// The real value of one unit of `pixels`, `f32 [batch]`.
    r: Tensor,
    /// The labels, `u32 [batch]`.
    pub labels: Tensor,
    /// The logits, `f32 [batch, classes]`.
    pub logits: Tensor,
    /// The gradient of the logits, `f32 [batch, classes]`.
    dlogits: Tensor,
    trace: Trace,
}

/// The tensors of the layers for a batch, first layer first.
#[derive(Clone, Debug)]
enum Trace {
    Ternary(Vec<ternary::Trace>),
    Float(Vec<float::Trace>),
}

impl Activations {
    /// The exact integer products of a ternary network, first layer first. The float twin has none.
    pub fn products(&self) -> Vec<Product> {
        let layers = match &self.trace {
            Trace::Ternary(layers) => &layers[..],
            Trace::Float(_) => &[],
        };
        layers.iter().enumerate().map(|(i, layer)| layer.product(i)).collect()
    }
}

/// The real value of one unit of a pixel: images are divided by 255.
const PIXEL: f32 = 1.0 / 255.0;

impl Shape {
    /// Rows and columns of each layer's matrix.
    pub fn layers(&self) -> Vec<[usize; 2]> {
        self.dims.windows(2).map(|pair| [pair[1], pair[0]]).collect()
    }

    /// Number of weights in all matrices.
    pub fn weights(&self) -> usize {
        self.layers().into_iter().map(|[rows, cols]| rows * cols).sum()
    }

    /// Checks that the kernels can run the network.
    ///
    /// # Errors
    /// A sentence with the width that is out of range.
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

    /// Initial values for each parameter: weights uniform within `1 / sqrt(cols)`, gains 1.
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

    /// The shape that a file's header describes.
    ///
    /// # Errors
    /// If the header describes another network. The text does not name the file.
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

    /// A network with stored trits for inference. Its packed weights have the same bits as those of `model`.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If the model is not an MLP.
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

    /// Reads back the float weights of each matrix, with its number of columns. For a ternary network they are the
    /// shadow weights.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn weights(&self, gpu: &Gpu) -> Result<Vec<(Vec<f32>, usize)>, Error> {
        let read = |([_, cols], layer): ([usize; 2], &Layer)| Ok((gpu.download(layer.weight.value())?, cols));
        self.shape.layers().into_iter().zip(&self.layers).map(read).collect()
    }

    /// Tensors for batches of one size. Tensors of two sizes are independent, so both can stay bound.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, because `batch` is too large for it.
    pub fn activations(&self, gpu: &Gpu, batch: usize) -> Result<Activations, Error> {
        self.activations_of(gpu, gpu.zeros("pixels", I32, &[batch, self.shape.dims[0]])?)
    }

    /// [`Mlp::activations`] for pixels that the caller keeps on the device: `i32 [batch, dims[0]]`, each from 0 to
    /// 255.
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

    /// The forward pass from `on.pixels`. A ternary network uses its packed weights and ends with the accumulators of
    /// the last layer. A float network ends with the logits.
    pub fn forward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        match &on.trace {
            Trace::Ternary(layers) => self.ternary_forward(gpu, layers),
            Trace::Float(layers) => self.float_forward(gpu, layers, &on.pixels, &on.r),
        }
    }

    /// The op after [`Mlp::forward`] that computes `on.logits`, for a caller without labels. [`Mlp::loss`] computes
    /// the logits too. It is `None` for a float network.
    pub fn logits(&self, gpu: &Gpu, on: &Activations) -> Option<Op> {
        match &on.trace {
            Trace::Ternary(layers) => {
                let (acc, scale) = ternary::out(layers);
                Some(kernels::scale_rows(gpu, acc, scale, &on.logits))
            }
            Trace::Float(_) => None,
        }
    }

    /// Logits, loss and the loss's gradient. Loss, hits and number of images are added to `totals`.
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

    /// The gradients of every weight and gain. In a ternary network they pass straight through the quantisers.
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
            Some(Scoring { totals, smoothing, learns }) => {
                let backward = if learns { self.backward(gpu, &on) } else { Vec::new() };
                (vec![self.loss(gpu, &on, smoothing, totals)], backward)
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
