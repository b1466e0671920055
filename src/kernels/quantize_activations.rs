//! Float activations to int8. Shader: `shaders/train/quantize_activations.wgsl`.

use super::{Int8Tensor, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { batch: u32, cols: u32, words: u32 }

const BASE: Kernel = Kernel::new::<Params>(
    "quantize_activations",
    concat!(
        include_str!("../../shaders/train/quantize_activations.wgsl"),
        include_str!("../../shaders/snippets/quantize_row.wgsl"),
        include_str!("../../shaders/snippets/int8.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// For any rows, and for such as start at whole vectors of four.
pub static VARIANTS: &[&Kernel] = &[&BASE.rowwise(), &BASE.whole_rowwise()];

/// `s = 127 / max(max |x[b, :]|, 1e-5)`, `q[batch, cols] <- clamp(round(x s), -128, 127)`, with the
/// sum of each row's `q`.
pub fn quantize_activations(gpu: &Gpu, x: &Tensor, out: &Int8Tensor) -> Op {
    let [batch, cols] = matrix("quantize_activations", x);
    let words = ternary::words(cols);
    expect("quantize_activations", x, F32, &[batch, cols]);
    expect("quantize_activations", &out.q, U32, &[batch, 4 * words]);
    expect("quantize_activations", &out.scale, F32, &[batch]);
    expect("quantize_activations", &out.sum, I32, &[batch]);
    let params = Params { batch: batch as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost { bytes: x.bytes() + out.q.bytes() + 8 * batch as u64, ops: 4 * (batch * cols) as u64 };
    let kernel = for_columns(VARIANTS, cols);
    gpu.op(kernel, params, &[x, &out.q, &out.scale, &out.sum], Grid::Groups(batch), cost)
}
