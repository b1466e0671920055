//! Input gradient of the ternary matmul. Shaders: `shaders/products/matmul_ternary_dx*.wgsl`, the base for GPUs and
//! a register tile for software rasterisers.

use super::{BLOCK_CPU, GRADIENT_8, PackedTensor, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, cols: u32, words: u32 }

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>(
        "matmul_ternary_dx",
        text!(
            "products/matmul_ternary_dx",
            "products/skeletons/outer",
            "products/skeletons/outer_slices",
            "products/operands/outer_ternary_dx",
            "products/operands/outer_terms",
            "snippets/ternary",
        ),
    )
    .tiled([4, 4])
    .with(GRADIENT_8, BLOCK_CPU),
    &Kernel::new::<Params>(
        "matmul_ternary_dx_broadcast",
        text!("products/matmul_ternary_dx", "software/tile_ternary_dx", "snippets/ternary",),
    )
    .tiled([16, 8])
    .subgroup(8)
    .for_rasterisers(),
];

/// `dx[batch, cols] <- beta sum_r dy[batch, r] T[r, cols]`.
pub fn matmul_ternary_dx(gpu: &Gpu, w: &PackedTensor, dy: &Tensor, dx: &Tensor) -> Op {
    matmul_ternary_dx_variant(gpu, preferred(gpu, VARIANTS), w, dy, dx)
}

/// [`matmul_ternary_dx`] by a variant of one's choice.
pub fn matmul_ternary_dx_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    w: &PackedTensor,
    dy: &Tensor,
    dx: &Tensor,
) -> Op {
    let [batch, rows] = matrix("matmul_ternary_dx", dy);
    let (cols, words) = (w.cols, ternary::words(w.cols));
    expect("matmul_ternary_dx", &w.words, U32, &[rows, words]);
    expect("matmul_ternary_dx", &w.beta, F32, &[1]);
    expect("matmul_ternary_dx", dy, F32, &[batch, rows]);
    expect("matmul_ternary_dx", dx, F32, &[batch, cols]);
    let params = Params { batch: batch as u32, rows: rows as u32, cols: cols as u32, words: words as u32 };
    let cost =
        Cost { bytes: w.words.bytes() + 4 + dy.bytes() + dx.bytes(), ops: 2 * (batch * rows * cols) as u64 };
    gpu.op(kernel, params, &[&w.words, &w.beta, dy, dx], Grid::Plane(cols, batch), cost)
}
