//! Float shadow weights to packed trits. Shader: `shaders/quantize_weights.wgsl`.

use super::{PackedTensor, expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { rows: u32, cols: u32, words: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "quantize_weights",
    concat!(include_str!("../../shaders/quantize_weights.wgsl"), include_str!("../../shaders/grid.wgsl")),
);

/// `T[rows, cols] <- clamp(round(w / beta), -1, 1)`, packed; reads `packed.beta`.
pub fn quantize_weights(gpu: &Gpu, w: &Tensor, packed: &PackedTensor) -> Op {
    let [rows, cols] = matrix("quantize_weights", w);
    let words = ternary::words(cols);
    expect("quantize_weights", w, F32, &[rows, packed.cols]);
    expect("quantize_weights", &packed.beta, F32, &[1]);
    expect("quantize_weights", &packed.words, U32, &[rows, words]);
    let params = Params { rows: rows as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost { bytes: w.bytes() + 4 + packed.words.bytes(), ops: 2 * (rows * cols) as u64 };
    gpu.op(&KERNEL, params, &[w, &packed.beta, &packed.words], Grid::Each(rows * words), cost)
}
