//! The passes of the ternary network: RMSNorm as one factor per row, and BitLinear on integers. This module knows the
//! flow of a batch through the layers, but no loss and no optimizer.

use super::{Mlp, Product};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, Factors, Int8Tensor};

/// The tensors of one layer for a batch.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// The input integers, `i32 [batch, cols]`: pixels, or the accumulators of the previous layer.
    x: Tensor,
    /// The real value of one unit of `x`, `f32 [batch]`.
    r: Tensor,
    codes: Int8Tensor,
    factors: Factors,
    /// The output integers, `i32 [batch, rows]`. They are the `x` of the next layer.
    pub(super) acc: Tensor,
    /// The gradient of the layer's real output, `f32 [batch, rows]`.
    dy: Tensor,
    /// The gradient of RMSNorm's output, `f32 [batch, cols]`.
    dx: Tensor,
}

impl Trace {
    /// Layer `i` has two ops in the forward pass.
    pub(super) fn product(&self, i: usize) -> Product {
        let (input, codes, acc) = (self.x.clone(), self.codes.clone(), self.acc.clone());
        Product { cols: input.shape()[1], input, ops: 2 * i..2 * i + 2, codes, acc }
    }
}

/// The accumulators of the last layer, and the real value of one unit in each row.
pub(super) fn out(layers: &[Trace]) -> (&Tensor, &Tensor) {
    let last = layers.last().expect("a network has a layer");
    (&last.acc, &last.factors.y_scale)
}

impl Mlp {
    pub(super) fn ternary_trace(
        &self,
        gpu: &Gpu,
        pixels: &Tensor,
        r: &Tensor,
        dlogits: &Tensor,
    ) -> Result<Vec<Trace>, Error> {
        let batch = r.len();
        let last = self.layers.len() - 1;
        let mut trace: Vec<Trace> = Vec::new();
        for (i, [rows, cols]) in self.shape.layers().into_iter().enumerate() {
            let name = |what: &str| format!("layers.{i}.{what}");
            let (x, r) = match trace.last() {
                Some(before) => (before.acc.clone(), before.factors.y_scale.clone()),
                None => (pixels.clone(), r.clone()),
            };
            trace.push(Trace {
                x,
                r,
                codes: Int8Tensor::zeros(gpu, &name("x"), batch, cols)?,
                factors: Factors::zeros(gpu, &name("x"), batch)?,
                acc: gpu.zeros(&name("acc"), I32, &[batch, rows])?,
                dy: match i {
                    _ if i == last => dlogits.clone(),
                    _ => gpu.zeros(&name("y.grad"), F32, &[batch, rows])?,
                },
                dx: gpu.zeros(&name("x.grad"), F32, &[batch, cols])?,
            });
        }
        Ok(trace)
    }

    pub(super) fn ternary_forward(&self, gpu: &Gpu, trace: &[Trace]) -> Vec<Op> {
        let mut ops = Vec::new();
        for (i, (layer, t)) in self.layers.iter().zip(trace).enumerate() {
            let first = ops.len();
            let (gain, packed, eps) = (layer.gain.value(), layer.packed(), self.shape.eps);
            ops.push(kernels::rmsnorm_quantize(
                gpu,
                &t.x,
                &t.r,
                gain,
                &packed.beta,
                eps,
                &t.codes,
                &t.factors,
            ));
            ops.push(kernels::matmul_ternary(gpu, &t.codes, packed, &t.acc));
            Op::mark(&mut ops[first..], &format!("forward / layer {i}"));
        }
        ops
    }

    pub(super) fn ternary_backward(&self, gpu: &Gpu, trace: &[Trace]) -> Vec<Op> {
        let mut ops = Vec::new();
        for (i, (layer, t)) in self.layers.iter().zip(trace).enumerate().rev() {
            let first = ops.len();
            ops.push(kernels::matmul_ternary_dx(gpu, layer.packed(), &t.dy, &t.dx));
            ops.push(kernels::matmul_ternary_dw(gpu, &t.dy, &t.factors.step, &t.codes, layer.weight.grad()));
            let (norm, dgain) = (&t.factors.norm, layer.gain.grad());
            ops.push(match i.checked_sub(1).map(|before| &trace[before].dy) {
                Some(dy) => kernels::rmsnorm_relu_backward(
                    gpu,
                    &t.x,
                    layer.gain.value(),
                    &t.r,
                    norm,
                    &t.dx,
                    dy,
                    dgain,
                ),
                None => kernels::rmsnorm_relu_dgain(gpu, &t.x, norm, &t.dx, dgain),
            });
            Op::mark(&mut ops[first..], &format!("backward / layer {i}"));
        }
        ops
    }
}
