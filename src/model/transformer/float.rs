//! One layer of the float twin. It computes the same as the ternary layer, but in f32 throughout, and each step is a
//! kernel of its own.

use super::{Batch, Bound, Gradients, Layer, Transformer};
use crate::gpu::{Dtype::*, Error, Gpu, Tensor};
use crate::kernels;

/// The output of a norm, `f32 [n, cols]`, and its factor, `f32 [n]`.
struct Normed {
    y: Tensor,
    factor: Tensor,
}

impl Transformer {
    /// Binds layer `i`, which computes `out` from `h`, and its backward pass, which computes the gradients of its
    /// parameters from the gradient of `out`.
    pub(super) fn float_layer(
        &self,
        gpu: &Gpu,
        i: usize,
        batch: &Batch,
        h: &Tensor,
        out: &Tensor,
        gradients: Option<&Gradients>,
    ) -> Result<Bound, Error> {
        let Layer { qkv, o, gate_up, down, gains } = &self.layers[i];
        let &Batch { n, heads, sequences, ref angles, ref first, .. } = batch;
        let (d, f, eps) = (self.shape.width, self.shape.ffn, self.shape.eps);
        let kv = heads.kv_heads * heads.width;
        let name = |what: &str| format!("layers.{i}.{what}");
        let floats = |what: &str, cols: usize| gpu.zeros(&name(what), F32, &[n, cols]);
        let normed = |what: &str, cols: usize| -> Result<Normed, Error> {
            let factor = gpu.zeros(&name(&format!("{what}.factor")), F32, &[n])?;
            Ok(Normed { y: floats(what, cols)?, factor })
        };

        let (x1, x2) = (normed("x1", d)?, normed("x2", d)?);
        let (x3, x4) = (normed("x3", d)?, normed("x4", f)?);
        let (y1, y2) = (floats("qkv", d + 2 * kv)?, floats("o", d)?);
        let (y3, z, y4) = (floats("gate_up", 2 * f)?, floats("z", f)?, floats("down", d)?);
        let (q, [k, v]) = (floats("q", d)?, batch.keys(gpu, i)?);
        let (a, lse, mid) = (floats("a", d)?, floats("lse", heads.heads)?, floats("mid", d)?);

        let norm = |x: &Tensor, i: usize, to: &Normed| {
            kernels::rmsnorm(gpu, x, gains[i].value(), eps, &to.y, &to.factor)
        };
        let forward = vec![
            norm(h, 0, &x1),
            kernels::matmul_f32(gpu, &x1.y, qkv.value(), &y1),
            kernels::rope(gpu, heads, sequences, &y1, angles, first, &q, &k, &v),
            kernels::attention(gpu, heads, sequences, &q, &k, &v, first, &a, &lse),
            norm(&a, 1, &x2),
            kernels::matmul_f32(gpu, &x2.y, o.value(), &y2),
            kernels::residual_f32(gpu, h, &y2, &mid),
            norm(&mid, 2, &x3),
            kernels::matmul_f32(gpu, &x3.y, gate_up.value(), &y3),
            kernels::relu2_gate(gpu, &y3, &z),
            norm(&z, 3, &x4),
            kernels::matmul_f32(gpu, &x4.y, down.value(), &y4),
            kernels::residual_f32(gpu, &mid, &y4, out),
        ];

        let backward = gradients.map_or(Vec::new(), |on| {
            let Gradients { dh, dn, da, dq, dk, dv, delta, df, .. } = on;
            let ([dqkv, _], [dgate_up, dz]) = (&on.dqkv, &on.dgate_up);
            // A float network has no betas, so the second tensor of the pair is free.
            let dz = dz.part("z.grad", 0, &[n, f]);
            let norm_backward =
                |x: &Tensor, i: usize, of: &Normed, dy: &Tensor, dx: &Tensor, accumulate: bool| {
                    let (gain, dgain) = (gains[i].value(), gains[i].grad());
                    kernels::rmsnorm_backward(gpu, x, gain, &of.factor, dy, dx, dgain, accumulate)
                };
            vec![
                kernels::matmul_f32_dx(gpu, down.value(), dh, df),
                kernels::matmul_f32_dw(gpu, dh, &x4.y, down.grad()),
                norm_backward(&z, 3, &x4, df, &dz, false),
                kernels::relu2_gate_dx(gpu, &y3, &dz, dgate_up),
                kernels::matmul_f32_dx(gpu, gate_up.value(), dgate_up, dn),
                kernels::matmul_f32_dw(gpu, dgate_up, &x3.y, gate_up.grad()),
                norm_backward(&mid, 2, &x3, dn, dh, true),
                kernels::matmul_f32_dx(gpu, o.value(), dh, dn),
                kernels::matmul_f32_dw(gpu, dh, &x2.y, o.grad()),
                norm_backward(&a, 1, &x2, dn, da, false),
                kernels::attention_dq(gpu, heads, sequences, &q, &k, &v, &a, &lse, da, dq, delta),
                kernels::attention_dkv(gpu, heads, sequences, &q, &k, &v, &lse, delta, da, dk, dv),
                kernels::rope_backward(gpu, heads, sequences, dq, dk, dv, angles, dqkv),
                kernels::matmul_f32_dx(gpu, qkv.value(), dqkv, dn),
                kernels::matmul_f32_dw(gpu, dqkv, &x1.y, qkv.grad()),
                norm_backward(h, 0, &x1, dn, dh, true),
            ]
        });
        Ok(Bound { forward, backward, products: Vec::new() })
    }
}
