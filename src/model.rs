//! The network: [RMSNorm with gain, BitLinear, ReLU] per hidden layer, RMSNorm and BitLinear last.
//! Parameters as tensors; forward, backward and update as lists of ops. Knows no data set and no
//! schedule.
//!
//! Ops that do not depend on each other stand side by side in the lists, so that a GPU may overlap
//! them.

use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, AdamW, Factors, Int8Tensor, Moments, PackedTensor, Totals};
use crate::random::{self, Stream};
use crate::ternary::Packed;

/// The network's constants: layer widths and RMSNorm's epsilon.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Inputs, hidden widths, classes: `[784, 256, 128, 10]`.
    pub dims: Vec<usize>,
    /// RMSNorm's epsilon.
    pub eps: f32,
}

/// Shadow weights and gain of one layer, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// `[rows, cols]`.
    pub weight: Vec<f32>,
    /// `[cols]`.
    pub gain: Vec<f32>,
}

/// One BitLinear with the RMSNorm before it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Shadow weights `f32 [rows, cols]`.
    pub weight: Tensor,
    /// RMSNorm's gain `f32 [cols]`.
    pub gain: Tensor,
    /// The trits that both passes use.
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
}

/// What one layer leaves behind for a batch.
#[derive(Clone, Debug)]
struct Trace {
    /// Integers in: pixels, or the accumulators of the layer before. `i32 [batch, cols]`.
    x: Tensor,
    /// Real value of one unit of `x`. `f32 [batch]`.
    r: Tensor,
    codes: Int8Tensor,
    factors: Factors,
    /// Integers out, `i32 [batch, rows]`; the next layer's `x`.
    acc: Tensor,
    /// Gradient of the layer's real output, `f32 [batch, rows]`.
    dy: Tensor,
    /// Gradient of RMSNorm's output, `f32 [batch, cols]`.
    dx: Tensor,
}

/// The activations of one batch size.
#[derive(Clone, Debug)]
pub struct Activations {
    /// The input: pixels 0 to 255, `i32 [batch, dims[0]]`.
    pub pixels: Tensor,
    /// `u32 [batch]`.
    pub labels: Tensor,
    /// `f32 [batch, classes]`.
    pub logits: Tensor,
    trace: Vec<Trace>,
}

/// What a pixel's unit is worth: images are divided by 255.
const PIXEL: f32 = 1.0 / 255.0;

impl Shape {
    /// Rows and columns of each layer's matrix.
    pub fn layers(&self) -> Vec<[usize; 2]> {
        self.dims.windows(2).map(|pair| [pair[1], pair[0]]).collect()
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

impl Activations {
    /// What the last forward pass left in every layer: its codes in and its accumulators out.
    pub fn integers(&self) -> impl Iterator<Item = (&Int8Tensor, &Tensor)> {
        self.trace.iter().map(|t| (&t.codes, &t.acc))
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
        Ok(Mlp { shape, layers })
    }

    /// A network of stored trits, to run: its packed weights are these to the bit. The shadow weights are
    /// what they stand for, `beta T`; [`Mlp::quantize`] would find another beta in those.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn from_packed(gpu: &Gpu, shape: Shape, packed: &[Packed], gains: &[Vec<f32>]) -> Result<Mlp, Error> {
        let parameters = |(packed, gain): (&Packed, &Vec<f32>)| Parameters {
            weight: packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect(),
            gain: gain.clone(),
        };
        let parameters: Vec<Parameters> = packed.iter().zip(gains).map(parameters).collect();
        let mut mlp = Mlp::upload(gpu, shape, &parameters)?;
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

    /// Reads the trits back, as they were last quantised.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn packed(&self, gpu: &Gpu) -> Result<Vec<Packed>, Error> {
        self.layers.iter().map(|layer| layer.packed.download(gpu)).collect()
    }

    /// Tensors for batches of one size. Two sizes share nothing, so both plans stay bound.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor; `batch` is then too large for it.
    pub fn activations(&self, gpu: &Gpu, batch: usize) -> Result<Activations, Error> {
        let pixels = gpu.zeros("pixels", I32, &[batch, self.shape.dims[0]])?;
        let labels = gpu.zeros("labels", U32, &[batch])?;
        let classes = *self.shape.dims.last().expect("a shape has an input and an output");
        let logits = gpu.zeros("logits", F32, &[batch, classes])?;
        let mut trace: Vec<Trace> = Vec::new();
        for (i, [rows, cols]) in self.shape.layers().into_iter().enumerate() {
            let name = |what: &str| format!("layers.{i}.{what}");
            let (x, r) = match trace.last() {
                Some(before) => (before.acc.clone(), before.factors.y_scale.clone()),
                None => (pixels.clone(), gpu.upload("pixels.r", &[batch], &vec![PIXEL; batch])?),
            };
            trace.push(Trace {
                x,
                r,
                codes: Int8Tensor::zeros(gpu, &name("x"), batch, cols)?,
                factors: Factors::zeros(gpu, &name("x"), batch)?,
                acc: gpu.zeros(&name("acc"), I32, &[batch, rows])?,
                dy: gpu.zeros(&name("y.grad"), F32, &[batch, rows])?,
                dx: gpu.zeros(&name("x.grad"), F32, &[batch, cols])?,
            });
        }
        Ok(Activations { pixels, labels, logits, trace })
    }

    /// `packed <- ternary(weight)` for every layer. Once before the forward passes that use it.
    ///
    /// # Errors
    /// If the adapter cannot bind the partial sums.
    pub fn quantize(&self, gpu: &Gpu) -> Result<Vec<Op>, Error> {
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

    /// `logits <- network(pixels)`, from the packed weights.
    pub fn forward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        let mut ops = Vec::new();
        for (layer, t) in self.layers.iter().zip(&on.trace) {
            let beta = &layer.packed.beta;
            ops.push(kernels::quantize_relu(gpu, &t.x, &layer.gain, &t.codes));
            ops.push(kernels::matmul_ternary(gpu, &t.codes, &layer.packed, &t.acc));
            ops.push(kernels::rms_factor(gpu, &t.x, &t.r, &t.codes.scale, beta, self.shape.eps, &t.factors));
        }
        let last = on.trace.last().expect("a network has a layer");
        ops.push(kernels::scale_rows(gpu, &last.acc, &last.factors.y_scale, &on.logits));
        ops
    }

    /// The loss and its gradient with respect to the logits, added to `totals`.
    pub fn loss(&self, gpu: &Gpu, on: &Activations, smoothing: f32, totals: &Totals) -> Op {
        let last = on.trace.last().expect("a network has a layer");
        kernels::softmax_xent(gpu, &on.logits, &on.labels, smoothing, &last.dy, totals)
    }

    /// Gradients of every weight and gain, straight through the quantisers.
    pub fn backward(&self, gpu: &Gpu, on: &Activations) -> Vec<Op> {
        let mut ops = Vec::new();
        for i in (0..self.layers.len()).rev() {
            let (layer, t) = (&self.layers[i], &on.trace[i]);
            ops.push(kernels::matmul_ternary_dx(gpu, &layer.packed, &t.dy, &t.dx));
            ops.push(kernels::matmul_ternary_dw(gpu, &t.dy, &t.factors.step, &t.codes, &layer.dweight));
            if i > 0 {
                let dy = &on.trace[i - 1].dy;
                ops.push(kernels::rmsnorm_relu_dx(gpu, &t.x, &layer.gain, &t.r, &t.factors.norm, &t.dx, dy));
            }
            ops.push(kernels::rmsnorm_relu_dgain(gpu, &t.x, &t.factors.norm, &t.dx, &layer.dgain));
        }
        ops
    }

    /// One AdamW step of every parameter; gains do not decay.
    pub fn update(&self, gpu: &Gpu, constants: AdamW, clock: &Tensor, schedule: &Tensor) -> Vec<Op> {
        let weights = self.layers.iter().map(|l| (constants, &l.dweight, &l.weight, &l.weight_moments));
        let undecayed = AdamW { decay: 0.0, ..constants };
        let gains = self.layers.iter().map(|l| (undecayed, &l.dgain, &l.gain, &l.gain_moments));
        weights
            .chain(gains)
            .map(|(constants, grad, value, moments)| {
                kernels::adamw(gpu, constants, clock, schedule, grad, value, moments)
            })
            .collect()
    }
}
