//! RMSNorm with gain, on floats. Shader: `shaders/train/rmsnorm.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32, eps: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "rmsnorm",
    concat!(
        include_str!("../../shaders/train/rmsnorm.wgsl"),
        include_str!("../../shaders/snippets/row_sum.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
)
.rowwise();

/// `y[batch, cols] <- gain[cols] x[batch, cols] factor[batch]`,
/// `factor[b] <- 1 / sqrt(mean_c x[b, c]^2 + eps)`.
pub fn rmsnorm(gpu: &Gpu, x: &Tensor, gain: &Tensor, eps: f32, y: &Tensor, factor: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm", x);
    expect("rmsnorm", x, F32, &[batch, cols]);
    expect("rmsnorm", gain, F32, &[cols]);
    expect("rmsnorm", y, F32, &[batch, cols]);
    expect("rmsnorm", factor, F32, &[batch]);
    let params = Params { batch: batch as u32, cols: cols as u32, eps };
    let cost = Cost { bytes: 2 * x.bytes() + gain.bytes() + factor.bytes(), ops: 4 * (batch * cols) as u64 };
    gpu.op(&KERNEL, params, &[x, gain, y, factor], Grid::Groups(batch), cost)
}
