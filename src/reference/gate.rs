//! The functions between two matrices other than norms, forward and backward. The gate also exists together with the
//! norm after it.

use super::attention::exp;
use super::norm::{quantize_normed, rmsnorm_dgain, rmsnorm_dx};
use super::product::scale_gradients;
use super::quantize::Int8;
use crate::parameter::Activation;

/// `y = max(x, 0)`.
pub fn relu(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.max(0.0)).collect()
}

/// `dx = dy where x > 0, else 0`.
pub fn relu_dx(x: &[f32], dy: &[f32]) -> Vec<f32> {
    x.iter().zip(dy).map(|(&x, &dy)| if x > 0.0 { dy } else { 0.0 }).collect()
}

/// `z = relu(gate)^2 up`. (BitNet b1.58 2B4T, arXiv 2504.12285; the squared ReLU comes from arXiv 2109.08668.)
pub fn relu2_gate(gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(&gate, up)| relu2(gate) * up).collect()
}

fn relu2(x: f32) -> f32 {
    x.max(0.0) * x.max(0.0)
}

/// The gradients of [`relu2_gate`]: `dgate = 2 relu(gate) up dz`, `dup = relu(gate)^2 dz`.
pub fn relu2_gate_dx(gate: &[f32], up: &[f32], dz: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let dgate = (0..dz.len()).map(|i| 2.0 * gate[i].max(0.0) * up[i] * dz[i]).collect();
    let dup = (0..dz.len()).map(|i| relu2(gate[i]) * dz[i]).collect();
    (dgate, dup)
}

/// `z = gate / (1 + exp(-gate)) up`. (SwiGLU, arXiv 2002.05202, equation 6, as in LLaMA.)
pub fn silu_gate(gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(&gate, up)| gate * sigmoid(gate) * up).collect()
}

/// `1 / (1 + exp(-x))`. No exponential is larger than 1.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// The gradients of [`silu_gate`], with `s = 1 / (1 + exp(-gate))`: `dgate = s (1 + gate (1 - s)) up dz`,
/// `dup = gate s dz`. `1 - s` is computed as `1 / (1 + exp(gate))`.
pub fn silu_gate_dx(gate: &[f32], up: &[f32], dz: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let slope = |g: f32| sigmoid(g) * (1.0 + g * sigmoid(-g));
    let dgate = (0..dz.len()).map(|i| slope(gate[i]) * up[i] * dz[i]).collect();
    let dup = (0..dz.len()).map(|i| gate[i] * sigmoid(gate[i]) * dz[i]).collect();
    (dgate, dup)
}

/// `z = f(gate) up`.
pub fn gate(by: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    match by {
        Activation::Relu2 => relu2_gate(gate, up),
        Activation::Silu => silu_gate(gate, up),
    }
}

/// The gradients of [`gate`]: `(dgate, dup)`.
pub fn gate_dx(by: Activation, gate: &[f32], up: &[f32], dz: &[f32]) -> (Vec<f32>, Vec<f32>) {
    match by {
        Activation::Relu2 => relu2_gate_dx(gate, up, dz),
        Activation::Silu => silu_gate_dx(gate, up, dz),
    }
}

/// The gate of integers. Rows of `acc [n, 2 f]` are gate|up, and `z = relu(gate)^2 up` is in units of the accumulators.
/// Each product is rounded to f32.
fn gate_of_integers(acc: &[i32], f: usize) -> Vec<f32> {
    let row = |acc: &[i32]| {
        let [gate, up] =
            [&acc[..f], &acc[f..]].map(|part| part.iter().map(|&a| a as f32).collect::<Vec<_>>());
        relu2_gate(&gate, &up)
    };
    acc.chunks_exact(2 * f).flat_map(row).collect()
}

/// The real value of one unit of [`gate_of_integers`] in each row: `(step beta_gate)^2 (step beta_up)`.
fn gate_units(step: &[f32], [gate, up]: [f32; 2]) -> Vec<f32> {
    step.iter().map(|step| (step * gate) * (step * gate) * (step * up)).collect()
}

/// Gate, RMSNorm and quantiser between two ternary products. `acc [n, 2 f]` is the stacked product gate|up of codes
/// with the real values `step`. So the real value of `z = relu(gate)^2 up` is `u` times `z` of the integers, with
/// `u = (step beta_gate)^2 (step beta_up)`. A positive factor of a row does not change its codes, so they are the codes
/// of `gain z` with `z` of the integers: `gain * ((relu(gate) * relu(gate)) * up)`, in f32, in this order.
/// The other results are `norm [n] = u / sqrt(mean (u z)^2 + eps)`, so that RMSNorm's output is `gain z norm`, and
/// `step [n] = norm / scale`, the real value of a code. The lower bound of the maximum is that of
/// [`rmsnorm_quantize_f32`](super::rmsnorm_quantize_f32).
pub fn relu2_gate_quantize(
    acc: &[i32],
    step: &[f32],
    betas: [f32; 2],
    gain: &[f32],
    eps: f32,
) -> (Int8, Vec<f32>, Vec<f32>) {
    let z = gate_of_integers(acc, gain.len());
    quantize_normed(&z, &gate_units(step, betas), gain, eps)
}

/// The gradients of RMSNorm and gate in [`relu2_gate_quantize`], from `dn [n, f]`, the gradient of RMSNorm's output. It
/// returns `(dy [n, 2 f], scaled [n, 2 f], dgain [f])`. With `n = z norm` and
/// `dz = norm / u (gain dn - n mean(gain dn n))`: `dy` is [`relu2_gate_dx`] of the real values, and `scaled` is each
/// part of `dy` times its beta.
pub fn relu2_gate_backward(
    acc: &[i32],
    step: &[f32],
    norm: &[f32],
    gain: &[f32],
    betas: [f32; 2],
    dn: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let f = gain.len();
    let z = gate_of_integers(acc, f);
    let units = gate_units(step, betas);
    // Real values are used here. The norm of integers is so small that products with it may leave the range of f32.
    let real: Vec<f32> = z.iter().enumerate().map(|(i, z)| units[i / f] * z).collect();
    let factor: Vec<f32> = norm.iter().zip(&units).map(|(norm, unit)| norm / unit).collect();
    let dz = rmsnorm_dx(&real, gain, &factor, dn);
    let mut dy = Vec::new();
    for (row, (acc, dz)) in acc.chunks_exact(2 * f).zip(dz.chunks_exact(f)).enumerate() {
        let real =
            |part: usize| acc[part * f..][..f].iter().map(move |&a| step[row] * betas[part] * a as f32);
        let (dgate, dup) = relu2_gate_dx(&real(0).collect::<Vec<_>>(), &real(1).collect::<Vec<_>>(), dz);
        dy.extend(dgate);
        dy.extend(dup);
    }
    let scaled = scale_gradients(&dy, &[f, f], &betas);
    (dy, scaled, rmsnorm_dgain(&z, norm, dn))
}
