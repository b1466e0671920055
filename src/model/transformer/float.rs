//! One layer of the float network. It computes the same as the ternary layer, but in f32 throughout, and each step is a
//! kernel of its own. It may also have the form of LLaMA: without norms before o and down, and with SiLU in the gate.

use super::{Batch, Bound, Gradients, Layer, Transformer, TransformerShape};
use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels;
use crate::parameter::Activation;

/// The host function of a gate, and that of its gradients.
type Gate = fn(&Gpu, &Tensor, &Tensor) -> Op;
type GateDx = fn(&Gpu, &Tensor, &Tensor, &Tensor) -> Op;

/// The output of a norm, `f32 [n, cols]`, and its factor, `f32 [n]`.
struct Normed {
    y: Tensor,
    factor: Tensor,
}

/// The tensors of a layer.
pub(super) struct Activations {
    /// The rows that the products read. It is `None` where no norm precedes the product.
    normed: [Option<Normed>; 4],
    /// The products with q|k|v, o, gate|up and down.
    y: [Tensor; 4],
    q: Tensor,
    a: Tensor,
    lse: Tensor,
    mid: Tensor,
    z: Tensor,
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
        let floats = |what: &str, cols: usize| gpu.zeros(&name(what), F32, &[n, cols]);
        let normed = |i: usize, cols: usize| -> Result<Option<Normed>, Error> {
            let what = format!("x{}", i + 1);
            let zeros = || {
                let factor = gpu.zeros(&name(&format!("{what}.factor")), F32, &[n])?;
                Ok(Normed { y: floats(&what, cols)?, factor })
            };
            shape.normed()[i].then(zeros).transpose()
        };
        Ok(Activations {
            normed: [normed(0, d)?, normed(1, d)?, normed(2, d)?, normed(3, f)?],
            y: [floats("qkv", d + 2 * kv)?, floats("o", d)?, floats("gate_up", 2 * f)?, floats("down", d)?],
            q: floats("q", d)?,
            a: floats("a", d)?,
            lse: floats("lse", shape.heads)?,
            mid: floats("mid", d)?,
            z: floats("z", f)?,
        })
    }
}

impl Transformer {
    /// Binds layer `i`, which computes `out` from `h`, and its backward pass, which computes the gradients of its
    /// parameters from the gradient of `out`.
    #[allow(clippy::too_many_arguments)] // a layer, its input and its output
    pub(super) fn float_layer(
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
        let Activations { normed, y: [y1, y2, y3, y4], q, a, lse, mid, z } = on;
        let (gate, gate_dx): (Gate, GateDx) = match self.shape.activation {
            Activation::Relu2 => (kernels::relu2_gate, kernels::relu2_gate_dx),
            Activation::Silu => (kernels::silu_gate, kernels::silu_gate_dx),
        };

        // The rows that product `i` reads, if they come from `x`.
        let input = |i: usize, x: &Tensor| normed[i].as_ref().map_or(x, |of| &of.y).clone();
        let norm = |x: &Tensor, i: usize| {
            let bind = |to: &Normed| kernels::rmsnorm(gpu, x, layer.gain(i).value(), eps, &to.y, &to.factor);
            normed[i].as_ref().map(bind)
        };
        let mut forward = Vec::new();
        forward.extend(norm(h, 0));
        forward.extend([
            kernels::matmul_f32(gpu, &input(0, h), qkv.value(), y1),
            kernels::rope(gpu, heads, sequences, y1, angles, first, q, k, v),
            kernels::attention(gpu, heads, sequences, q, k, v, first, a, lse),
        ]);
        forward.extend(norm(a, 1));
        forward.extend([
            kernels::matmul_f32(gpu, &input(1, a), o.value(), y2),
            kernels::residual_f32(gpu, h, y2, mid),
        ]);
        forward.extend(norm(mid, 2));
        forward.extend([kernels::matmul_f32(gpu, &input(2, mid), gate_up.value(), y3), gate(gpu, y3, z)]);
        forward.extend(norm(z, 3));
        forward.extend([
            kernels::matmul_f32(gpu, &input(3, z), down.value(), y4),
            kernels::residual_f32(gpu, mid, y4, out),
        ]);

        let backward = gradients.map_or(Vec::new(), |on| {
            let Gradients { dh, dn, da, dq, dk, dv, delta, df, .. } = on;
            let ([dqkv, _], [dgate_up, dz]) = (&on.dqkv, &on.dgate_up);
            // A float network has no betas, so the second tensor of the pair is free.
            let dz = dz.part("z.grad", 0, &[n, f]);
            let norm_backward = |x: &Tensor, i: usize, dy: &Tensor, dx: &Tensor, accumulate: bool| {
                let bind = |of: &Normed| {
                    let (gain, dgain) = (layer.gain(i).value(), layer.gain(i).grad());
                    kernels::rmsnorm_backward(gpu, x, gain, &of.factor, dy, dx, dgain, accumulate)
                };
                normed[i].as_ref().map(bind)
            };
            // Without a norm, the gradient of a product's input is written where the norm's would be.
            let [to_z, to_a] =
                [(3, df, &dz), (1, dn, da)].map(|(i, normed, plain)| match self.shape.normed()[i] {
                    true => normed,
                    false => plain,
                });
            let mut ops = vec![
                kernels::matmul_f32_dx(gpu, down.value(), dh, to_z),
                kernels::matmul_f32_dw(gpu, dh, &input(3, z), down.grad()),
            ];
            ops.extend(norm_backward(z, 3, df, &dz, false));
            ops.extend([
                gate_dx(gpu, y3, &dz, dgate_up),
                kernels::matmul_f32_dx(gpu, gate_up.value(), dgate_up, dn),
                kernels::matmul_f32_dw(gpu, dgate_up, &input(2, mid), gate_up.grad()),
            ]);
            ops.extend(norm_backward(mid, 2, dn, dh, true));
            ops.extend([
                kernels::matmul_f32_dx(gpu, o.value(), dh, to_a),
                kernels::matmul_f32_dw(gpu, dh, &input(1, a), o.grad()),
            ]);
            ops.extend(norm_backward(a, 1, dn, da, false));
            ops.extend([
                kernels::attention_dq(gpu, heads, sequences, q, k, v, a, lse, da, dq, delta),
                kernels::attention_dkv(gpu, heads, sequences, q, k, v, lse, delta, da, dk, dv),
                kernels::rope_backward(gpu, heads, sequences, dq, dk, dv, angles, dqkv),
                kernels::matmul_f32_dx(gpu, qkv.value(), dqkv, dn),
                kernels::matmul_f32_dw(gpu, dqkv, &input(0, h), qkv.grad()),
            ]);
            ops.extend(norm_backward(h, 0, dn, dh, true));
            ops
        });
        Bound { forward, backward, products: Vec::new() }
    }
}
