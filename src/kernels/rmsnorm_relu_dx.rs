//! Gradient through RMSNorm and ReLU, from the exact path's integers.
//! Shader: `shaders/rmsnorm_relu_dx.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "rmsnorm_relu_dx",
    concat!(
        include_str!("../../shaders/rmsnorm_relu_dx.wgsl"),
        include_str!("../../shaders/row_sum.wgsl"),
        include_str!("../../shaders/grid.wgsl"),
    ),
)
.rowwise();

/// `dx[batch, cols] <- norm / r (gain dy - n mean(gain dy n)) where x > 0, else 0`,
/// `n = max(x, 0) norm`: the gradient of the real values `r x`. `norm[batch]` is
/// [`rms_factor`](super::rms_factor)'s, `r[batch]` its input.
pub fn rmsnorm_relu_dx(
    gpu: &Gpu,
    x: &Tensor,
    gain: &Tensor,
    r: &Tensor,
    norm: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
) -> Op {
    let [batch, cols] = matrix("rmsnorm_relu_dx", x);
    expect("rmsnorm_relu_dx", x, I32, &[batch, cols]);
    expect("rmsnorm_relu_dx", gain, F32, &[cols]);
    expect("rmsnorm_relu_dx", r, F32, &[batch]);
    expect("rmsnorm_relu_dx", norm, F32, &[batch]);
    expect("rmsnorm_relu_dx", dy, F32, &[batch, cols]);
    expect("rmsnorm_relu_dx", dx, F32, &[batch, cols]);
    let params = Params { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 3 * x.bytes() + gain.bytes() + 2 * r.bytes(), ops: 9 * (batch * cols) as u64 };
    gpu.op(&KERNEL, params, &[x, gain, r, norm, dy, dx], Grid::Groups(batch), cost)
}
