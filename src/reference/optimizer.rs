//! The updates of weights from gradients.

use super::quantize::abs_sums;

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

/// `sums[k] = sum g[i]^2` over block `k` of 1024 values, in the fixed order of [`abs_sums`].
pub fn square_sums(g: &[f32]) -> Vec<f32> {
    abs_sums(&g.iter().map(|g| g * g).collect::<Vec<_>>())
}

/// `[factor, norm]`: `norm = sqrt(sum of the partial sums)`, `factor = min(1, most / (norm + 1e-6))`. The gradient
/// times `factor` has at most the norm `most`. (torch.nn.utils.clip_grad_norm_ computes the same over all tensors
/// together.)
pub fn clip_factor(partials: &[f32], most: f32) -> [f32; 2] {
    let mut level = partials.to_vec();
    while level.len() > 1 {
        level = abs_sums(&level);
    }
    let norm = level.first().copied().unwrap_or(0.0).sqrt();
    [(most / (norm + 1e-6)).min(1.0), norm]
}
