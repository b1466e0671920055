//! The passes of the float twin: the same network in f32, with one kernel for each step. This module knows the flow
//! of a batch through the layers, but no loss and no optimizer.

use super::Mlp;
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels;

/// The tensors of one layer for a batch.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// The input, `f32 [batch, cols]`: pixels / 255, or the ReLU of the previous layer.
    x: Tensor,
    /// The output of RMSNorm, `f32 [batch, cols]`, and its factor, `f32 [batch]`.
    n: Tensor,
    factor: Tensor,
    /// The output, `f32 [batch, rows]`. The output of the last layer is the logits.
    y: Tensor,
    /// Gradients of `y`, of `n` and of `x`.
    dy: Tensor,
    dn: Tensor,
    dx: Tensor,
}

impl Mlp {
    pub(super) fn float_trace(
        &self,
        gpu: &Gpu,
        logits: &Tensor,
        dlogits: &Tensor,
    ) -> Result<Vec<Trace>, Error> {
        let batch = logits.shape()[0];
        let last = self.layers.len() - 1;
        let layer = |(i, [rows, cols]): (usize, [usize; 2])| {
            let zeros =
                |what: &str, cols: usize| gpu.zeros(&format!("layers.{i}.{what}"), F32, &[batch, cols]);
            let (y, dy) = match i {
                _ if i == last => (logits.clone(), dlogits.clone()),
                _ => (zeros("y", rows)?, zeros("y.grad", rows)?),
            };
            Ok(Trace {
                x: zeros("x", cols)?,
                n: zeros("n", cols)?,
                factor: gpu.zeros(&format!("layers.{i}.factor"), F32, &[batch])?,
                y,
                dy,
                dn: zeros("n.grad", cols)?,
                dx: zeros("x.grad", cols)?,
            })
        };
        self.shape.layers().into_iter().enumerate().map(layer).collect()
    }

    pub(super) fn float_forward(&self, gpu: &Gpu, trace: &[Trace], pixels: &Tensor, r: &Tensor) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut before: Option<&Trace> = None;
        for (i, (layer, t)) in self.layers.iter().zip(trace).enumerate() {
            let first = ops.len();
            ops.push(match before {
                None => kernels::scale_rows(gpu, pixels, r, &t.x),
                Some(before) => kernels::relu(gpu, &before.y, &t.x),
            });
            ops.push(kernels::rmsnorm(gpu, &t.x, layer.gain.value(), self.shape.eps, &t.n, &t.factor));
            ops.push(kernels::matmul_f32(gpu, &t.n, layer.weight.value(), &t.y));
            before = Some(t);
            Op::mark(&mut ops[first..], &format!("forward / layer {i}"));
        }
        ops
    }

    pub(super) fn float_backward(&self, gpu: &Gpu, trace: &[Trace]) -> Vec<Op> {
        let mut ops = Vec::new();
        for (i, (layer, t)) in self.layers.iter().zip(trace).enumerate().rev() {
            let first = ops.len();
            ops.push(kernels::matmul_f32_dx(gpu, layer.weight.value(), &t.dy, &t.dn));
            ops.push(kernels::matmul_f32_dw(gpu, &t.dy, &t.n, layer.weight.grad()));
            if i > 0 {
                let before = &trace[i - 1];
                ops.push(kernels::rmsnorm_dx(gpu, &t.x, layer.gain.value(), &t.factor, &t.dn, &t.dx));
                ops.push(kernels::relu_dx(gpu, &before.y, &t.dx, &before.dy));
            }
            ops.push(kernels::rmsnorm_dgain(gpu, &t.x, &t.factor, &t.dn, layer.gain.grad()));
            Op::mark(&mut ops[first..], &format!("backward / layer {i}"));
        }
        ops
    }
}
