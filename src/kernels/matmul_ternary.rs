//! Int8 activations times packed trits. Shaders: `shaders/matmul_ternary*.wgsl`, the base for GPUs and
//! two register tiles for software rasterisers.

use super::{Int8Tensor, PackedTensor, expect, tuned};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, words: u32 }

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>(
        "matmul_ternary",
        concat!(
            include_str!("../../shaders/matmul_ternary.wgsl"),
            include_str!("../../shaders/ternary.wgsl")
        ),
    )
    .tiled([1, 4]),
    &Kernel::new::<Params>(
        "matmul_ternary_wide",
        concat!(
            include_str!("../../shaders/matmul_ternary_wide.wgsl"),
            include_str!("../../shaders/ternary.wgsl")
        ),
    )
    .tiled([4, 4]),
    &Kernel::new::<Params>(
        "matmul_ternary_subgroup",
        concat!(
            include_str!("../../shaders/matmul_ternary_subgroup.wgsl"),
            include_str!("../../shaders/ternary.wgsl"),
        ),
    )
    .tiled([8, 8])
    .subgroup(8),
];

/// Columns up to which accumulators stay exact as f32: 127 * cols < 2^24.
pub const MOST_COLS: usize = 132_104;

/// `acc[batch, rows] <- sum_k T[rows, k] q[batch, k]`, in i32.
pub fn matmul_ternary(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    let shape = [x.sum.len(), w.rows(), w.cols];
    matmul_ternary_variant(gpu, tuned(gpu, VARIANTS, shape), x, w, acc)
}

/// [`matmul_ternary`] by a variant of one's choice.
pub fn matmul_ternary_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let (batch, rows, words) = (x.sum.len(), w.rows(), ternary::words(w.cols));
    assert!(w.cols <= MOST_COLS, "matmul_ternary: {} columns exceed {MOST_COLS}", w.cols);
    expect("matmul_ternary", &w.words, U32, &[rows, words]);
    expect("matmul_ternary", &x.q, U32, &[batch, 4 * words]);
    expect("matmul_ternary", &x.sum, I32, &[batch]);
    expect("matmul_ternary", acc, I32, &[batch, rows]);
    let params = Params { batch: batch as u32, rows: rows as u32, words: words as u32 };
    let cost = Cost {
        bytes: w.words.bytes() + x.q.bytes() + x.sum.bytes() + acc.bytes(),
        ops: 2 * (batch * rows * w.cols) as u64,
    };
    gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, acc], Grid::Plane(rows, batch), cost)
}
