//! Trits back to floats. Shader: `shaders/train/dequantize_weights.wgsl`.

use super::{PackedTensor, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { count: u32, cols: u32, words: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "dequantize_weights",
    concat!(
        include_str!("../../shaders/train/dequantize_weights.wgsl"),
        include_str!("../../shaders/snippets/ternary.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// `w[rows, cols] <- beta T[rows, cols]`.
pub fn dequantize_weights(gpu: &Gpu, from: &PackedTensor, w: &Tensor) -> Op {
    let (rows, cols, words) = (from.rows(), from.cols, ternary::words(from.cols));
    expect("dequantize_weights", &from.words, U32, &[rows, words]);
    expect("dequantize_weights", &from.beta, F32, &[1]);
    expect("dequantize_weights", w, F32, &[rows, cols]);
    let params = Params { count: from.words.len() as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost { bytes: from.words.bytes() + 4 + w.bytes(), ops: w.len() as u64 };
    gpu.op(&KERNEL, params, &[&from.words, &from.beta, w], Grid::Each(from.words.len()), cost)
}
