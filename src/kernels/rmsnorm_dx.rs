//! Input gradient of RMSNorm, on floats. Shader: `shaders/train/rmsnorm_dx.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "rmsnorm_dx",
    concat!(
        include_str!("../../shaders/train/rmsnorm_dx.wgsl"),
        include_str!("../../shaders/snippets/row_sum.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
)
.rowwise();

/// `dx[batch, cols] <- factor (gain dy - n mean(gain dy n))`, `n = x factor`; `factor[batch]` is
/// [`rmsnorm`](super::rmsnorm)'s.
pub fn rmsnorm_dx(gpu: &Gpu, x: &Tensor, gain: &Tensor, factor: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_dx", x);
    for tensor in [x, dy, dx] {
        expect("rmsnorm_dx", tensor, F32, &[batch, cols]);
    }
    expect("rmsnorm_dx", gain, F32, &[cols]);
    expect("rmsnorm_dx", factor, F32, &[batch]);
    let params = Params { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 3 * x.bytes() + gain.bytes() + factor.bytes(), ops: 8 * (batch * cols) as u64 };
    gpu.op(&KERNEL, params, &[x, gain, factor, dy, dx], Grid::Groups(batch), cost)
}
