//! One layer of the ternary transformer. A norm turns rows of floats into int8 codes, and the products of codes and
//! trits are integers. The codes for down are computed from the integers of gate|up.

use super::{Batch, Bound, Gradients, Layer, Transformer, TransformerShape};
use crate::gpu::{Dtype::*, Error, Gpu, Tensor};
use crate::kernels::{self, GateFactors, Int8Tensor};
use crate::model::Product;

/// The int8 rows that a product reads.
struct Quantized {
    codes: Int8Tensor,
    /// RMSNorm's factor, `f32 [n]`.
    norm: Tensor,
    /// The real value of a code, `f32 [n]`.
    step: Tensor,
}

impl Quantized {
    fn zeros(gpu: &Gpu, label: &str, n: usize, cols: usize) -> Result<Quantized, Error> {
        Ok(Quantized {
            codes: Int8Tensor::zeros(gpu, label, n, cols)?,
            norm: gpu.zeros(&format!("{label}.norm"), F32, &[n])?,
            step: gpu.zeros(&format!("{label}.step"), F32, &[n])?,
        })
    }
}

/// The tensors of a layer.
pub(super) struct Activations {
    x1: Quantized,
    x2: Quantized,
    x3: Quantized,
    x4: Int8Tensor,
    gate: GateFactors,
    /// The accumulators of q|k|v, o, gate|up and down.
    acc: [Tensor; 4],
    q: Tensor,
    a: Tensor,
    lse: Tensor,
    mid: Tensor,
}

impl Activations {
    pub(super) fn zeros(
        gpu: &Gpu,
        shape: &TransformerShape,
        label: &str,
        n: usize,
    ) -> Result<Activations, Error> {
        let (d, f, kv) = (shape.width, shape.ffn, shape.kv_heads * shape.head());
        let name = |what: &str| format!("{label}.{what}");
        let quantized = |what: &str| Quantized::zeros(gpu, &name(what), n, d);
        let floats = |what: &str, cols: usize| gpu.zeros(&name(what), F32, &[n, cols]);
        let integers = |what: &str, cols: usize| gpu.zeros(&name(what), I32, &[n, cols]);
        Ok(Activations {
            x1: quantized("x1")?,
            x2: quantized("x2")?,
            x3: quantized("x3")?,
            x4: Int8Tensor::zeros(gpu, &name("x4"), n, f)?,
            gate: GateFactors::zeros(gpu, &name("x4"), n)?,
            acc: [
                integers("qkv.acc", d + 2 * kv)?,
                integers("o.acc", d)?,
                integers("gate_up.acc", 2 * f)?,
                integers("down.acc", d)?,
            ],
            q: floats("q", d)?,
            a: floats("a", d)?,
            lse: floats("lse", shape.heads)?,
            mid: floats("mid", d)?,
        })
    }
}

impl Transformer {
    /// Binds layer `i`, which computes `out` from `h`, and its backward pass, which computes the gradients of its
    /// parameters from the gradient of `out`.
    #[allow(clippy::too_many_arguments)] // a layer, its input and its output
    pub(super) fn ternary_layer(
        &self,
        gpu: &Gpu,
        i: usize,
        batch: &Batch,
        on: &Activations,
        [k, v]: &[Tensor; 2],
        h: &Tensor,
        out: &Tensor,
        gradients: Option<&Gradients>,
    ) -> Bound {
        let layer = &self.layers[i];
        let Layer { qkv, o, gate_up, down, .. } = layer;
        let &Batch { n, heads, sequences, ref angles, ref first, .. } = batch;
        let (f, eps) = (self.shape.ffn, self.shape.eps);
        let Activations { x1, x2, x3, x4, gate, acc: [acc1, acc2, acc3, acc4], q, a, lse, mid } = on;
        let [g1, g2, g3, g4] = [0, 1, 2, 3].map(|i| layer.gain(i).value());
        let quantize = |x: &Tensor, gain: &Tensor, to: &Quantized| {
            kernels::rmsnorm_quantize_f32(gpu, x, gain, eps, &to.codes, &to.norm, &to.step)
        };
        let multiply = if n == 1 { kernels::gemv_ternary } else { kernels::matmul_ternary };
        let forward = vec![
            quantize(h, g1, x1),
            multiply(gpu, &x1.codes, qkv.packed(), acc1),
            kernels::rope_ternary(gpu, heads, sequences, acc1, &x1.step, qkv.betas(), angles, first, q, k, v),
            kernels::attention(gpu, heads, sequences, q, k, v, first, a, lse),
            quantize(a, g2, x2),
            multiply(gpu, &x2.codes, o.packed(), acc2),
            kernels::residual(gpu, h, acc2, &x2.step, &o.packed().beta, mid),
            quantize(mid, g3, x3),
            multiply(gpu, &x3.codes, gate_up.packed(), acc3),
            kernels::relu2_gate_quantize(gpu, acc3, &x3.step, gate_up.betas(), g4, eps, x4, gate),
            multiply(gpu, x4, down.packed(), acc4),
            kernels::residual(gpu, mid, acc4, &gate.step, &down.packed().beta, out),
        ];

        let backward = gradients.map_or(Vec::new(), |on| {
            let Gradients { dh, dn, da, dq, dk, dv, delta, df, .. } = on;
            let ([dqkv, dqkv_scaled], [dgate_up, dgate_up_scaled]) = (&on.dqkv, &on.dgate_up);
            let norm_backward = |x: &Tensor, i: usize, of: &Quantized, dx: &Tensor, accumulate: bool| {
                let (gain, dgain) = (layer.gain(i).value(), layer.gain(i).grad());
                kernels::rmsnorm_backward(gpu, x, gain, &of.norm, dn, dx, dgain, accumulate)
            };
            vec![
                kernels::matmul_ternary_dx(gpu, down.packed(), dh, df),
                kernels::matmul_ternary_dw(gpu, dh, &gate.step, x4, down.grad()),
                kernels::relu2_gate_backward(
                    gpu,
                    acc3,
                    gate,
                    g4,
                    gate_up.betas(),
                    df,
                    dgate_up,
                    dgate_up_scaled,
                    layer.gain(3).grad(),
                ),
                kernels::matmul_ternary_dx(gpu, gate_up.packed(), dgate_up_scaled, dn),
                kernels::matmul_ternary_dw(gpu, dgate_up, &x3.step, &x3.codes, gate_up.grad()),
                norm_backward(mid, 2, x3, dh, true),
                kernels::matmul_ternary_dx(gpu, o.packed(), dh, dn),
                kernels::matmul_ternary_dw(gpu, dh, &x2.step, &x2.codes, o.grad()),
                norm_backward(a, 1, x2, da, false),
                kernels::attention_dq(gpu, heads, sequences, q, k, v, a, lse, da, dq, delta),
                kernels::attention_dkv(gpu, heads, sequences, q, k, v, lse, delta, da, dk, dv),
                kernels::rope_backward_ternary(
                    gpu,
                    heads,
                    sequences,
                    dq,
                    dk,
                    dv,
                    angles,
                    qkv.betas(),
                    dqkv,
                    dqkv_scaled,
                ),
                kernels::matmul_ternary_dx(gpu, qkv.packed(), dqkv_scaled, dn),
                kernels::matmul_ternary_dw(gpu, dqkv, &x1.step, &x1.codes, qkv.grad()),
                norm_backward(h, 0, x1, dh, true),
            ]
        });
        let product = |input: &Tensor, at: usize, codes: &Int8Tensor, acc: &Tensor| {
            let cols = input.shape()[1];
            Product { input: input.clone(), ops: at..at + 2, codes: codes.clone(), cols, acc: acc.clone() }
        };
        let products = vec![
            product(h, 0, &x1.codes, acc1),
            product(a, 4, &x2.codes, acc2),
            product(mid, 7, &x3.codes, acc3),
            // Rows of gate|up are twice as long as the rows of codes after the gate.
            Product { cols: f, ..product(acc3, 9, x4, acc4) },
        ];
        Bound { forward, backward, products }
    }
}
