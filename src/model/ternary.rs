//! The ternary network's passes: RMSNorm folded into one factor per row, BitLinear on integers. Knows how a
//! batch flows through the layers, nothing of loss and optimizer.

use super::Mlp;
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, Factors, Int8Tensor};

/// What one layer leaves behind for a batch.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// Integers in: pixels, or the accumulators of the layer before. `i32 [batch, cols]`.
    x: Tensor,
    /// Real value of one unit of `x`. `f32 [batch]`.
    r: Tensor,
    pub(super) codes: Int8Tensor,
    factors: Factors,
    /// Integers out, `i32 [batch, rows]`; the next layer's `x`.
    pub(super) acc: Tensor,
    /// Gradient of the layer's real output, `f32 [batch, rows]`.
    dy: Tensor,
    /// Gradient of RMSNorm's output, `f32 [batch, cols]`.
    dx: Tensor,
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

    pub(super) fn ternary_forward(&self, gpu: &Gpu, trace: &[Trace], logits: &Tensor) -> Vec<Op> {
        let mut ops = Vec::new();
        for (i, (layer, t)) in self.layers.iter().zip(trace).enumerate() {
            let first = ops.len();
            let beta = &layer.packed.beta;
            ops.push(kernels::quantize_relu(gpu, &t.x, &layer.gain, &t.codes));
            ops.push(kernels::matmul_ternary(gpu, &t.codes, &layer.packed, &t.acc));
            ops.push(kernels::rms_factor(gpu, &t.x, &t.r, &t.codes.scale, beta, self.shape.eps, &t.factors));
            Op::mark(&mut ops[first..], &format!("forward / layer {i}"));
        }
        let last = trace.last().expect("a network has a layer");
        ops.push(kernels::scale_rows(gpu, &last.acc, &last.factors.y_scale, logits));
        let logits = ops.len() - 1;
        Op::mark(&mut ops[logits..], "forward / logits");
        ops
    }

    pub(super) fn ternary_backward(&self, gpu: &Gpu, trace: &[Trace]) -> Vec<Op> {
        let mut ops = Vec::new();
        for (i, (layer, t)) in self.layers.iter().zip(trace).enumerate().rev() {
            let first = ops.len();
            ops.push(kernels::matmul_ternary_dx(gpu, &layer.packed, &t.dy, &t.dx));
            ops.push(kernels::matmul_ternary_dw(gpu, &t.dy, &t.factors.step, &t.codes, &layer.dweight));
            if i > 0 {
                let dy = &trace[i - 1].dy;
                ops.push(kernels::rmsnorm_relu_dx(gpu, &t.x, &layer.gain, &t.r, &t.factors.norm, &t.dx, dy));
            }
            ops.push(kernels::rmsnorm_relu_dgain(gpu, &t.x, &t.factors.norm, &t.dx, &layer.dgain));
            Op::mark(&mut ops[first..], &format!("backward / layer {i}"));
        }
        ops
    }
}
