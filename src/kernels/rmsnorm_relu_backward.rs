//! Gradients through RMSNorm and ReLU, from the exact path's integers.
//! Shader: `shaders/train/rmsnorm_relu_backward.wgsl`.

use super::rmsnorm_relu_dgain::column_groups;
use super::{SLICED, SLICED_WHOLE, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32 }

const BASE: Kernel = Kernel::new::<Params>(
    "rmsnorm_relu_backward",
    concat!(
        include_str!("../../shaders/train/rmsnorm_relu_backward.wgsl"),
        include_str!("../../shaders/snippets/dgain_columns.wgsl"),
        include_str!("../../shaders/snippets/row_sum.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// For any rows, and for such as start at whole vectors of four.
pub static VARIANTS: &[&Kernel] =
    &[&BASE.with(SLICED[0], SLICED[1]), &BASE.with(SLICED_WHOLE[0], SLICED_WHOLE[1])];

/// `dx[batch, cols] <- norm / r (gain dy - n mean(gain dy n)) where x > 0, else 0`, and `dgain[cols] <- sum_b dy n`,
/// with `n = max(x, 0) norm`: the gradients of the real values `r x` and of the gain. `norm[batch]` is
/// [`rmsnorm_quantize`](super::rmsnorm_quantize())'s, `r[batch]` its input.
#[allow(clippy::too_many_arguments)] // two gradients of one function
pub fn rmsnorm_relu_backward(
    gpu: &Gpu,
    x: &Tensor,
    gain: &Tensor,
    r: &Tensor,
    norm: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    dgain: &Tensor,
) -> Op {
    let [batch, cols] = matrix("rmsnorm_relu_backward", x);
    expect("rmsnorm_relu_backward", x, I32, &[batch, cols]);
    expect("rmsnorm_relu_backward", r, F32, &[batch]);
    expect("rmsnorm_relu_backward", norm, F32, &[batch]);
    for tensor in [gain, dgain] {
        expect("rmsnorm_relu_backward", tensor, F32, &[cols]);
    }
    for tensor in [dy, dx] {
        expect("rmsnorm_relu_backward", tensor, F32, &[batch, cols]);
    }
    let params = Params { batch: batch as u32, cols: cols as u32 };
    let cost =
        Cost { bytes: 5 * x.bytes() + 2 * gain.bytes() + 3 * r.bytes(), ops: 13 * (batch * cols) as u64 };
    let kernel = for_columns(VARIANTS, cols);
    let grid = Grid::Groups(batch + column_groups(kernel.overrides(gpu.tuning()), cols));
    gpu.op(kernel, params, &[x, gain, r, norm, dy, dx, dgain], grid, cost)
}
