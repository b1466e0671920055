//! Weight gradient of the dense product. Shaders: `shaders/products/matmul_f32_dw*.wgsl`, the base for GPUs and a
//! register tile for software rasterisers.

use super::{BLOCK_CPU, GRADIENT_8, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, rows: u32, cols: u32 }

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>(
        "matmul_f32_dw",
        text!(
            "products/matmul_f32_dw",
            "products/skeletons/outer",
            "products/skeletons/outer_slices",
            "products/operands/outer_f32_dw",
            "products/operands/outer_terms",
            "products/operands/unscaled",
        ),
    )
    .tiled([4, 4])
    .with(GRADIENT_8, BLOCK_CPU),
    &Kernel::new::<Params>(
        "matmul_f32_dw_broadcast",
        text!("products/matmul_f32_dw", "software/tile", "software/spread_fours", "software/tile_f32_dw",),
    )
    .tiled([8, 16])
    .subgroup(8)
    .for_rasterisers(),
];

/// `dw[rows, cols] <- dy[batch, rows]^T x[batch, cols]`, in f32.
pub fn matmul_f32_dw(gpu: &Gpu, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Op {
    matmul_f32_dw_variant(gpu, preferred(gpu, VARIANTS), dy, x, dw)
}

/// [`matmul_f32_dw`] by a variant of one's choice.
pub fn matmul_f32_dw_variant(gpu: &Gpu, kernel: &'static Kernel, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Op {
    let [batch, rows] = matrix("matmul_f32_dw", dy);
    let [_, cols] = matrix("matmul_f32_dw", x);
    expect("matmul_f32_dw", dy, F32, &[batch, rows]);
    expect("matmul_f32_dw", x, F32, &[batch, cols]);
    expect("matmul_f32_dw", dw, F32, &[rows, cols]);
    let params = Params { batch: batch as u32, rows: rows as u32, cols: cols as u32 };
    let cost = Cost { bytes: dy.bytes() + x.bytes() + dw.bytes(), ops: 2 * (batch * rows * cols) as u64 };
    gpu.op(kernel, params, &[dy, x, dw], Grid::Plane(cols, rows), cost)
}
