//! Integers through ReLU and gain to int8: the exact path. Shader: `shaders/quantize_relu.wgsl`.

use super::{Int8Tensor, expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { batch: u32, cols: u32, words: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "quantize_relu",
    concat!(
        include_str!("../../shaders/quantize_relu.wgsl"),
        include_str!("../../shaders/quantize_row.wgsl"),
        include_str!("../../shaders/int8.wgsl"),
        include_str!("../../shaders/grid.wgsl"),
    ),
)
.rowwise();

/// `g = gain max(x, 0)` on integers `x[batch, cols]`, then `q`, `scale` and `sum` of `g`.
pub fn quantize_relu(gpu: &Gpu, x: &Tensor, gain: &Tensor, out: &Int8Tensor) -> Op {
    let [batch, cols] = matrix("quantize_relu", x);
    let words = ternary::words(cols);
    expect("quantize_relu", x, I32, &[batch, cols]);
    expect("quantize_relu", gain, F32, &[cols]);
    expect("quantize_relu", &out.q, U32, &[batch, 4 * words]);
    expect("quantize_relu", &out.scale, F32, &[batch]);
    expect("quantize_relu", &out.sum, I32, &[batch]);
    let params = Params { batch: batch as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost {
        bytes: x.bytes() + gain.bytes() + out.q.bytes() + 8 * batch as u64,
        ops: 6 * (batch * cols) as u64,
    };
    gpu.op(&KERNEL, params, &[x, gain, &out.q, &out.scale, &out.sum], Grid::Groups(batch), cost)
}
