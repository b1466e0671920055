//! Gain gradient of RMSNorm after ReLU, from the exact path's integers. Shader: `shaders/train/rmsnorm_relu_dgain.wgsl`.

use super::{SLICED, SLICED_WHOLE, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params, value};

params! { batch: u32, cols: u32 }

const BASE: Kernel = Kernel::new::<Params>(
    "rmsnorm_relu_dgain",
    concat!(
        include_str!("../../shaders/train/rmsnorm_relu_dgain.wgsl"),
        include_str!("../../shaders/snippets/dgain_columns.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// For any rows, and for such as start at whole vectors of four.
pub static VARIANTS: &[&Kernel] =
    &[&BASE.with(SLICED[0], SLICED[1]), &BASE.with(SLICED_WHOLE[0], SLICED_WHOLE[1])];

/// Workgroups that cover so many columns, four to a lane and `SLICES` lanes to a column.
pub(super) fn column_groups(overrides: Overrides, cols: usize) -> usize {
    let [lanes, slices] =
        ["WG", "SLICES"].map(|name| value(overrides, name).expect("the kernel declares both"));
    cols.div_ceil(4 * lanes / slices)
}

/// `dgain[cols] <- sum_b dy[b, cols] max(x[b, cols], 0) norm[b]`; `norm[batch]` is
/// [`rmsnorm_quantize`](super::rmsnorm_quantize())'s.
pub fn rmsnorm_relu_dgain(gpu: &Gpu, x: &Tensor, norm: &Tensor, dy: &Tensor, dgain: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_relu_dgain", x);
    expect("rmsnorm_relu_dgain", x, I32, &[batch, cols]);
    expect("rmsnorm_relu_dgain", norm, F32, &[batch]);
    expect("rmsnorm_relu_dgain", dy, F32, &[batch, cols]);
    expect("rmsnorm_relu_dgain", dgain, F32, &[cols]);
    let params = Params { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 2 * x.bytes() + norm.bytes() + dgain.bytes(), ops: 4 * (batch * cols) as u64 };
    let kernel = for_columns(VARIANTS, cols);
    let grid = Grid::Groups(column_groups(kernel.overrides(gpu.tuning()), cols));
    gpu.op(kernel, params, &[x, norm, dy, dgain], grid, cost)
}
