//! RMSNorm of rows, forward and backward: alone, with the ReLU before it, and with the quantiser after it.

use super::quantize::{Int8, quantize_activations, quantize_rows};
use crate::ternary::LEAST;

/// The positive factors of each row, see [`rmsnorm_quantize`].
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// The factor of RMSNorm: its output is `gain max(x, 0) norm`.
    pub norm: Vec<f32>,
    /// The real value of one int8 step.
    pub step: Vec<f32>,
    /// The real value of one unit of the accumulators.
    pub y_scale: Vec<f32>,
}

/// `y = gain x factor`, `factor = 1 / sqrt(mean_c x^2 + eps)`; returns `(y, factor)`.
pub fn rmsnorm(x: &[f32], gain: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let cols = gain.len();
    let (mut y, mut factor) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(cols) {
        let mean = row.iter().map(|x| x * x).sum::<f32>() / cols as f32;
        let f = 1.0 / (mean + eps).sqrt();
        y.extend(row.iter().zip(gain).map(|(x, g)| g * x * f));
        factor.push(f);
    }
    (y, factor)
}

/// [`quantize_activations`] of `g = gain max(x, 0)` for integers `x`, and the factors `norm = r / sqrt(r^2 mean_c
/// max(x, 0)^2 + eps)`, `step = norm / scale` and `y_scale = beta step`. `r` is the real value of one unit of `x`.
pub fn rmsnorm_quantize(x: &[i32], r: &[f32], gain: &[f32], beta: f32, eps: f32) -> (Int8, Factors) {
    let cols = gain.len();
    let g: Vec<f32> = x.iter().enumerate().map(|(i, &x)| gain[i % cols] * x.max(0) as f32).collect();
    let codes = quantize_activations(&g, cols);
    let mut out = Factors { norm: Vec::new(), step: Vec::new(), y_scale: Vec::new() };
    for ((row, &r), &scale) in x.chunks_exact(cols).zip(r).zip(&codes.scale) {
        let squares: f32 = row.iter().map(|&x| r * x.max(0) as f32).map(|h| h * h).sum();
        let norm = r / (squares / cols as f32 + eps).sqrt();
        let step = norm / scale;
        out.norm.push(norm);
        out.step.push(step);
        out.y_scale.push(beta * step);
    }
    (codes, out)
}

/// `dx = factor (gain dy - n mean(gain dy n))`, `n = x factor`.
pub fn rmsnorm_dx(x: &[f32], gain: &[f32], factor: &[f32], dy: &[f32]) -> Vec<f32> {
    let cols = gain.len();
    let mut dx = Vec::new();
    for ((x, dy), f) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)).zip(factor) {
        let along: f32 = (0..cols).map(|c| gain[c] * dy[c] * (x[c] * f)).sum();
        let mean = along / cols as f32;
        dx.extend((0..cols).map(|c| f * (gain[c] * dy[c] - (x[c] * f) * mean)));
    }
    dx
}

/// `dgain[c] = sum_b dy[b, c] x[b, c] factor[b]`.
pub fn rmsnorm_dgain(x: &[f32], factor: &[f32], dy: &[f32]) -> Vec<f32> {
    let cols = x.len() / factor.len();
    let mut dgain = vec![0.0; cols];
    for (i, (x, dy)) in x.iter().zip(dy).enumerate() {
        dgain[i % cols] += dy * (x * factor[i / cols]);
    }
    dgain
}

/// The gradients of RMSNorm and of the ReLU before it: `dx = norm / r (gain dy - n mean(gain dy n))` where `x > 0`,
/// else 0, with `n = max(x, 0) norm`, and [`rmsnorm_relu_dgain`].
pub fn rmsnorm_relu_backward(
    x: &[i32],
    gain: &[f32],
    r: &[f32],
    norm: &[f32],
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let cols = gain.len();
    let real: Vec<f32> = x.iter().map(|&x| x.max(0) as f32).collect();
    let dx = rmsnorm_dx(&real, gain, norm, dy);
    let passed = |(i, dx): (usize, &f32)| if x[i] > 0 { dx / r[i / cols] } else { 0.0 };
    (dx.iter().enumerate().map(passed).collect(), rmsnorm_relu_dgain(x, norm, dy))
}

/// `dgain[c] = sum_b dy[b, c] max(x[b, c], 0) norm[b]`.
pub fn rmsnorm_relu_dgain(x: &[i32], norm: &[f32], dy: &[f32]) -> Vec<f32> {
    let real: Vec<f32> = x.iter().map(|&x| x.max(0) as f32).collect();
    rmsnorm_dgain(&real, norm, dy)
}

/// RMSNorm and quantiser of float rows `x [n, cols]`: the codes of `gain x norm` with `norm = 1 / sqrt(mean_c x^2 + eps)`.
///
/// A positive factor of a row cannot change its codes, so they are computed from `gain x` with
/// `scale = 127 / max(max |gain x|, 1e-5 / norm)`. The lower bound 1e-5 is a bound for RMSNorm's output. It returns
/// `(codes, norm [n], step [n])`, where `step = norm / scale` is the real value of a code. So the quantiser's `s` in
/// BitNet b1.58 is `1 / step`.
pub fn rmsnorm_quantize_f32(x: &[f32], gain: &[f32], eps: f32) -> (Int8, Vec<f32>, Vec<f32>) {
    quantize_normed(x, &vec![1.0; x.len() / gain.len()], gain, eps)
}

/// [`rmsnorm_quantize_f32`] of rows in which one unit has the real value `units [n]`:
/// `norm = u / sqrt(mean_c (u x)^2 + eps)`.
pub(super) fn quantize_normed(
    x: &[f32],
    units: &[f32],
    gain: &[f32],
    eps: f32,
) -> (Int8, Vec<f32>, Vec<f32>) {
    let cols = gain.len();
    let norm: Vec<f32> = x
        .chunks_exact(cols)
        .zip(units)
        .map(|(x, u)| {
            let squares: f32 = x.iter().map(|x| (u * x) * (u * x)).sum();
            u / (squares / cols as f32 + eps).sqrt()
        })
        .collect();
    let g: Vec<f32> = x.iter().enumerate().map(|(i, x)| gain[i % cols] * x).collect();
    let codes = quantize_rows(&g, cols, |row| LEAST / norm[row]);
    let step = norm.iter().zip(&codes.scale).map(|(norm, scale)| norm / scale).collect();
    (codes, norm, step)
}

/// The gradients of RMSNorm of float rows: `(dx [n, cols], dgain [cols])`. They are [`rmsnorm_dx`] and
/// [`rmsnorm_dgain`].
pub fn rmsnorm_backward(x: &[f32], gain: &[f32], norm: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    (rmsnorm_dx(x, gain, norm, dy), rmsnorm_dgain(x, norm, dy))
}

/// `y[n, c] = h[n, c] + beta step[n] acc[n, c]`: adds a ternary product to the residual stream.
pub fn residual(h: &[f32], acc: &[i32], step: &[f32], beta: f32) -> Vec<f32> {
    let cols = h.len() / step.len();
    h.iter().zip(acc).enumerate().map(|(i, (h, &a))| h + (beta * step[i / cols]) * a as f32).collect()
}

/// `y = h + x`.
pub fn residual_f32(h: &[f32], x: &[f32]) -> Vec<f32> {
    h.iter().zip(x).map(|(h, x)| h + x).collect()
}

/// [`residual`], then [`rmsnorm_quantize_f32`] of its result: `(h, codes, norm, step)`.
pub fn residual_quantize(
    h: &[f32],
    acc: &[i32],
    step_in: &[f32],
    beta: f32,
    gain: &[f32],
    eps: f32,
) -> (Vec<f32>, Int8, Vec<f32>, Vec<f32>) {
    let h = residual(h, acc, step_in, beta);
    let (codes, norm, step) = rmsnorm_quantize_f32(&h, gain, eps);
    (h, codes, norm, step)
}
