//! Gradient of the shadow weights. Shaders: `shaders/products/matmul_ternary_dw*.wgsl`, the base for GPUs and a
//! register tile for software rasterisers.

use super::{BLOCK_CPU, GRADIENT_8, Int8Tensor, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, cols: u32, words: u32 }

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>(
        "matmul_ternary_dw",
        text!(
            "products/matmul_ternary_dw",
            "products/skeletons/outer",
            "products/skeletons/outer_slices",
            "products/operands/outer_ternary_dw",
            "products/operands/outer_terms",
            "products/operands/unscaled",
        ),
    )
    .tiled([4, 4])
    .with(GRADIENT_8, BLOCK_CPU),
    &Kernel::new::<Params>(
        "matmul_ternary_dw_broadcast",
        text!(
            "products/matmul_ternary_dw",
            "software/tile",
            "software/spread_fours",
            "software/tile_ternary_dw",
        ),
    )
    .tiled([8, 16])
    .subgroup(8)
    .for_rasterisers(),
];

/// `dw[rows, cols] <- sum_b dy[b, rows] step[b] q[b, cols]`: `step` is the real value of one int8
/// step of the row, `1 / scale` where nothing else scales it.
pub fn matmul_ternary_dw(gpu: &Gpu, dy: &Tensor, step: &Tensor, x: &Int8Tensor, dw: &Tensor) -> Op {
    matmul_ternary_dw_variant(gpu, preferred(gpu, VARIANTS), dy, step, x, dw)
}

/// [`matmul_ternary_dw`] by a variant of one's choice.
pub fn matmul_ternary_dw_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    dy: &Tensor,
    step: &Tensor,
    x: &Int8Tensor,
    dw: &Tensor,
) -> Op {
    let [batch, rows] = matrix("matmul_ternary_dw", dy);
    let [_, cols] = matrix("matmul_ternary_dw", dw);
    let words = ternary::words(cols);
    expect("matmul_ternary_dw", dy, F32, &[batch, rows]);
    expect("matmul_ternary_dw", step, F32, &[batch]);
    expect("matmul_ternary_dw", &x.q, U32, &[batch, 4 * words]);
    expect("matmul_ternary_dw", dw, F32, &[rows, cols]);
    let params = Params { batch: batch as u32, rows: rows as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost {
        bytes: dy.bytes() + step.bytes() + x.q.bytes() + dw.bytes(),
        ops: 2 * (batch * rows * cols) as u64,
    };
    gpu.op(kernel, params, &[dy, step, &x.q, dw], Grid::Plane(cols, rows), cost)
}
