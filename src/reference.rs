//! The CPU twin of every kernel in the order of a training step. The code is plain and slow. It shows all the
//! mathematics of the engine. This module never imports `gpu` or `kernels`. Tests compare both sides.
//!
//! Matrices are row-major slices. Every length is an argument, or follows from one.

use half::f16;

use crate::augment::{self, Distortion};
use crate::random::{self, Stream};
pub use crate::ternary::abs_sums;
pub use crate::ternary::absmean;
use crate::ternary::{Base3, Bitplanes, LEAST, Packed, ternarize};

/// int8 activations of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    /// `[batch, cols]`.
    pub q: Vec<i8>,
    /// `[batch]`: `127 / max`.
    pub scale: Vec<f32>,
    /// `[batch]`: sum of `q` over the row.
    pub sum: Vec<i32>,
}

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

// --- forward ---------------------------------------------------------------------------------------

/// `x[b, c] = images[order[position + b], c]`, `y[b] = labels[order[position + b]]`.
pub fn gather_batch(
    position: usize,
    order: &[u32],
    images: &[u8],
    labels: &[u32],
    batch: usize,
) -> (Vec<i32>, Vec<u32>) {
    let pixels = images.len() / labels.len();
    let chosen = || order[position..position + batch].iter().map(|&i| i as usize);
    let x = chosen().flat_map(|i| images[i * pixels..][..pixels].iter().map(|&p| i32::from(p))).collect();
    (x, chosen().map(|i| labels[i]).collect())
}

/// [`gather_batch`], with an affine map for each image, drawn for this step. Interpolation is bilinear, and pixels
/// outside the image are zero.
#[allow(clippy::too_many_arguments)] // the arguments of gather_batch, and those of the transforms
pub fn augment_batch(
    by: &Distortion,
    seed: u64,
    step: u32,
    position: usize,
    order: &[u32],
    images: &[u8],
    labels: &[u32],
    [height, width]: [usize; 2],
    batch: usize,
) -> (Vec<i32>, Vec<u32>) {
    let (originals, labels) = gather_batch(position, order, images, labels, batch);
    let [right, bottom] = [width, height].map(|size| size as i32 - 1);
    let mut x = Vec::new();
    for (row, image) in originals.chunks_exact(height * width).enumerate() {
        let a = by.choose(random::draw(seed, Stream::Augment, step, row as u32));
        let pixel = |u: i32, v: i32| match (0..=right).contains(&u) && (0..=bottom).contains(&v) {
            true => image[v as usize * width + u as usize],
            false => 0,
        };
        for v in 0..=bottom {
            for u in 0..=right {
                // Distances from the centre are in half pixels, so the source has 13 fractional bits. 8 of them are
                // used.
                let [from_left, from_top] = [2 * u - right, 2 * v - bottom];
                let source_x = a.xx * from_left + a.xy * from_top + augment::ONE * right + 2 * a.x;
                let source_y = a.yx * from_left + a.yy * from_top + augment::ONE * bottom + 2 * a.y;
                let [left, top] = [source_x >> 13, source_y >> 13];
                let [to_right, down] = [(source_x >> 5) & 255, (source_y >> 5) & 255];
                let line = |v| pixel(left, v) * (256 - to_right) + pixel(left + 1, v) * to_right;
                x.push((line(top) * (256 - down) + line(top + 1) * down + (1 << 15)) >> 16);
            }
        }
    }
    (x, labels)
}

/// `T = clamp(round(w / beta), -1, 1)`, packed.
pub fn quantize_weights(w: &[f32], beta: f32, rows: usize, cols: usize) -> Packed {
    Packed::pack(&ternarize(w, beta), rows, cols, beta)
}

/// `w[r, c] = beta T[r, c]`.
pub fn dequantize_weights(packed: &Packed) -> Vec<f32> {
    packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect()
}

/// `s = 127 / max(max |x[b, :]|, 1e-5)`, `q = clamp(round(x s), -128, 127)`, ties to even.
pub fn quantize_activations(x: &[f32], cols: usize) -> Int8 {
    let mut out = Int8 { q: Vec::new(), scale: Vec::new(), sum: Vec::new() };
    for row in x.chunks_exact(cols) {
        let largest = row.iter().fold(LEAST, |largest, x| largest.max(x.abs()));
        let s = 127.0 / largest;
        let q = row.iter().map(|x| (x * s).round_ties_even().clamp(-128.0, 127.0) as i8);
        out.q.extend(q);
        out.scale.push(s);
        out.sum.push(out.q[out.q.len() - cols..].iter().map(|&q| i32::from(q)).sum());
    }
    out
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

/// `acc[b, r] = sum_k T[r, k] q[b, k]`. It adds for 1, subtracts for -1 and skips for 0.
pub fn matmul_ternary(q: &[i8], w: &Packed) -> Vec<i32> {
    let trits = w.unpack();
    let mut acc = Vec::new();
    for x in q.chunks_exact(w.cols) {
        for row in trits.chunks_exact(w.cols) {
            let mut sum = 0;
            for (&t, &q) in row.iter().zip(x) {
                match t {
                    1 => sum += i32::from(q),
                    -1 => sum -= i32::from(q),
                    _ => {}
                }
            }
            acc.push(sum);
        }
    }
    acc
}

/// `acc[r] = sum_k T[r, k] q[k]`: [`matmul_ternary`] of one row.
pub fn gemv_ternary(q: &[i8], w: &Packed) -> Vec<i32> {
    assert_eq!(q.len(), w.cols, "gemv_ternary: one row of activations");
    matmul_ternary(q, w)
}

/// [`gemv_ternary`]. The twin uses only additions and subtractions in both cases.
pub fn gemv_ternary_addsub(q: &[i8], w: &Packed) -> Vec<i32> {
    gemv_ternary(q, w)
}

/// [`matmul_ternary`] for the same trits with five per byte.
pub fn matmul_base3(q: &[i8], w: &Base3) -> Vec<i32> {
    matmul_ternary(q, &Packed::pack(&w.unpack(), w.rows, w.cols, w.scale))
}

/// [`matmul_base3`] of one row.
pub fn gemv_base3(q: &[i8], w: &Base3) -> Vec<i32> {
    assert_eq!(q.len(), w.cols, "gemv_base3: one row of activations");
    matmul_base3(q, w)
}

/// `acc[r] = sum_k T[r, k] t[k]`. The activations `t` are trits too, as a matrix of one row.
pub fn gemv_bitplane(x: &Bitplanes, w: &Bitplanes) -> Vec<i32> {
    gemv_ternary(&x.unpack(), &Packed::pack(&w.unpack(), w.rows, w.cols, w.scale))
}

/// `acc[b, r] = sum_k w[r, k] q[b, k]`.
pub fn matmul_i8(q: &[i8], w: &[i8], cols: usize) -> Vec<i32> {
    let dot = |q: &[i8], w: &[i8]| w.iter().zip(q).map(|(&w, &q)| i32::from(w) * i32::from(q)).sum();
    q.chunks_exact(cols).flat_map(|q| w.chunks_exact(cols).map(move |w| dot(q, w))).collect()
}

/// `acc[r] = sum_k w[r, k] q[k]`: [`matmul_i8`] of one row.
pub fn gemv_i8(q: &[i8], w: &[i8]) -> Vec<i32> {
    matmul_i8(q, w, q.len())
}

/// `y[b, r] = scale[b] acc[b, r]`.
pub fn scale_rows(acc: &[i32], scale: &[f32]) -> Vec<f32> {
    let rows = acc.len() / scale.len();
    acc.iter().enumerate().map(|(i, &a)| scale[i / rows] * a as f32).collect()
}

/// `y[b, r] = acc[b, r] beta / scale[b]`.
pub fn descale_rows(acc: &[i32], scale: &[f32], beta: f32) -> Vec<f32> {
    let units: Vec<f32> = scale.iter().map(|scale| beta / scale).collect();
    scale_rows(acc, &units)
}

/// `y = max(x, 0)`.
pub fn relu(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.max(0.0)).collect()
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

/// `y[b, r] = sum_k x[b, k] w[r, k]`.
pub fn matmul_f32(x: &[f32], w: &[f32], cols: usize) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum();
    x.chunks_exact(cols).flat_map(|x| w.chunks_exact(cols).map(move |w| dot(x, w))).collect()
}

/// `y[r] = sum_k x[k] w[r, k]`.
pub fn gemv_f32(x: &[f32], w: &[f32]) -> Vec<f32> {
    matmul_f32(x, w, x.len())
}

/// [`matmul_f32`] after rounding both inputs to f16.
pub fn matmul_f16(x: &[f32], w: &[f32], cols: usize) -> Vec<f32> {
    let stored = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x).to_f32()).collect::<Vec<_>>();
    matmul_f32(&stored(x), &stored(w), cols)
}

/// [`matmul_f16`] of one row.
pub fn gemv_f16(x: &[f32], w: &[f32]) -> Vec<f32> {
    matmul_f16(x, w, x.len())
}

// --- loss ------------------------------------------------------------------------------------------

/// The summed softmax cross-entropy with label smoothing, the gradient of the batch's mean, and the number of hits.
pub fn softmax_xent(z: &[f32], labels: &[u32], smoothing: f32) -> (f32, Vec<f32>, u32) {
    let classes = z.len() / labels.len();
    let off = smoothing / classes as f32;
    let on = 1.0 - smoothing;
    let (mut loss, mut dz, mut hits) = (0.0, Vec::new(), 0);
    for (z, &label) in z.chunks_exact(classes).zip(labels) {
        let label = label as usize;
        let mut best = 0;
        for k in 1..classes {
            if z[k] > z[best] {
                best = k;
            }
        }
        let shifted: Vec<f32> = z.iter().map(|x| x - z[best]).collect();
        let exponentials: f32 = shifted.iter().map(|x| x.exp()).sum();
        for (k, x) in shifted.iter().enumerate() {
            let target = off + if k == label { on } else { 0.0 };
            dz.push((x.exp() / exponentials - target) / labels.len() as f32);
        }
        loss += exponentials.ln() - on * shifted[label] - off * shifted.iter().sum::<f32>();
        hits += u32::from(best == label);
    }
    (loss, dz, hits)
}

/// `z[b, k] = scale[b] acc[b, k]`, then [`softmax_xent`] of `z`. Returns the logits `z` first.
pub fn scale_softmax_xent(
    acc: &[i32],
    scale: &[f32],
    labels: &[u32],
    smoothing: f32,
) -> (Vec<f32>, (f32, Vec<f32>, u32)) {
    let z = scale_rows(acc, scale);
    let loss = softmax_xent(&z, labels, smoothing);
    (z, loss)
}

// --- backward --------------------------------------------------------------------------------------

/// `dx[b, c] = beta sum_r dy[b, r] T[r, c]`.
pub fn matmul_ternary_dx(w: &Packed, dy: &[f32]) -> Vec<f32> {
    let trits = w.unpack();
    let mut dx = Vec::new();
    for dy in dy.chunks_exact(w.rows) {
        let mut row = vec![0.0; w.cols];
        for (&d, t) in dy.iter().zip(trits.chunks_exact(w.cols)) {
            for (sum, &t) in row.iter_mut().zip(t) {
                *sum += d * f32::from(t);
            }
        }
        dx.extend(row.iter().map(|sum| w.scale * sum));
    }
    dx
}

/// `dw[r, c] = sum_b dy[b, r] step[b] q[b, c]`.
pub fn matmul_ternary_dw(dy: &[f32], step: &[f32], q: &[i8]) -> Vec<f32> {
    let batch = step.len();
    let (rows, cols) = (dy.len() / batch, q.len() / batch);
    let mut dw = vec![0.0; rows * cols];
    for b in 0..batch {
        for r in 0..rows {
            let d = step[b] * dy[b * rows + r];
            for c in 0..cols {
                dw[r * cols + c] += d * f32::from(q[b * cols + c]);
            }
        }
    }
    dw
}

/// The gradients through RMSNorm and the ReLU before it: `dx = norm / r (gain dy - n mean(gain dy n))` where `x > 0`,
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

/// `dx = dy where x > 0, else 0`.
pub fn relu_dx(x: &[f32], dy: &[f32]) -> Vec<f32> {
    x.iter().zip(dy).map(|(&x, &dy)| if x > 0.0 { dy } else { 0.0 }).collect()
}

/// `dx[b, c] = sum_r dy[b, r] w[r, c]`.
pub fn matmul_f32_dx(w: &[f32], dy: &[f32], [rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut dx = vec![0.0; dy.len() / rows * cols];
    for (dy, dx) in dy.chunks_exact(rows).zip(dx.chunks_exact_mut(cols)) {
        for (&d, w) in dy.iter().zip(w.chunks_exact(cols)) {
            dx.iter_mut().zip(w).for_each(|(sum, w)| *sum += d * w);
        }
    }
    dx
}

/// `dw[r, c] = sum_b dy[b, r] x[b, c]`.
pub fn matmul_f32_dw(dy: &[f32], x: &[f32], batch: usize) -> Vec<f32> {
    let (rows, cols) = (dy.len() / batch, x.len() / batch);
    let mut dw = vec![0.0; rows * cols];
    for (dy, x) in dy.chunks_exact(rows).zip(x.chunks_exact(cols)) {
        for (&d, dw) in dy.iter().zip(dw.chunks_exact_mut(cols)) {
            dw.iter_mut().zip(x).for_each(|(sum, x)| *sum += d * x);
        }
    }
    dw
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

// --- update ----------------------------------------------------------------------------------------

/// The constants of AdamW, as in `kernels::AdamW`, with one row of the schedule.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Decay rate of the first moment.
    pub beta1: f32,
    /// Decay rate of the second moment.
    pub beta2: f32,
    /// A constant that is added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub decay: f32,
    /// `{lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t)}`.
    pub now: [f32; 3],
}

/// One AdamW step, in place.
pub fn adamw(constants: AdamW, g: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
    let AdamW { beta1, beta2, eps, decay, now: [lr, m_correction, v_correction] } = constants;
    for i in 0..w.len() {
        m[i] = beta1 * m[i] + (1.0 - beta1) * g[i];
        v[i] = beta2 * v[i] + (1.0 - beta2) * (g[i] * g[i]);
        let update = (m[i] * m_correction) / (v[i].sqrt() * v_correction + eps);
        w[i] = (1.0 - lr * decay) * w[i] - lr * update;
    }
}

/// One step of gradient descent with momentum, in place: `m <- momentum m + g`, `w <- w - lr (m + decay w)`.
pub fn sgd(momentum: f32, decay: f32, lr: f32, g: &[f32], w: &mut [f32], m: &mut [f32]) {
    for i in 0..w.len() {
        m[i] = momentum * m[i] + g[i];
        w[i] -= lr * (m[i] + decay * w[i]);
    }
}

/// The values of one layer for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The input codes, `[batch, cols]`.
    pub codes: Int8,
    /// The real values of units of codes and accumulators.
    pub factors: Factors,
    /// The accumulators, `[batch, rows]`.
    pub acc: Vec<i32>,
}

/// A ternary MLP over images with pixels 0 to 255, layer by layer. The float factors and the epsilon do not affect
/// the integers.
///
/// # Panics
/// If the shapes do not chain.
pub fn mlp(packed: &[Packed], gains: &[Vec<f32>], eps: f32, images: &[u8]) -> Vec<Layer> {
    let pixels = packed[0].cols;
    assert!(images.len().is_multiple_of(pixels), "mlp: {} pixels in images of {pixels}", images.len());
    let mut x: Vec<i32> = images.iter().map(|&pixel| i32::from(pixel)).collect();
    let mut r = vec![1.0 / 255.0; images.len() / pixels];
    let layer = |(packed, gain): (&Packed, &Vec<f32>)| {
        assert_eq!(gain.len(), packed.cols, "mlp: gains of a layer");
        let (codes, factors) = rmsnorm_quantize(&x, &r, gain, packed.scale, eps);
        let acc = matmul_ternary(&codes.q, packed);
        (x, r) = (acc.clone(), factors.y_scale.clone());
        Layer { codes, factors, acc }
    };
    packed.iter().zip(gains).map(layer).collect()
}

/// The float twin of [`mlp`]. For each layer it returns RMSNorm's output `[batch, cols]`, and its product with the
/// matrix `[rows, cols]`, which is `[batch, rows]`.
///
/// If the shapes do not chain.
/// If shapes do not chain.
pub fn mlp_f32(
    weights: &[Vec<f32>],
    gains: &[Vec<f32>],
    eps: f32,
    images: &[u8],
) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut x: Vec<f32> = images.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let layer = |(weights, gain): (&Vec<f32>, &Vec<f32>)| {
        let (n, _) = rmsnorm(&x, gain, eps);
        let y = matmul_f32(&n, weights, gain.len());
        x = relu(&y);
        (n, y)
    };
    weights.iter().zip(gains).map(layer).collect()
}
