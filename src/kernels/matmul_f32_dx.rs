//! Input gradient of the dense product. Shaders: `shaders/products/matmul_f32_dx*.wgsl`, the base for GPUs and a
//! register tile for software rasterisers.

use super::{BLOCK_CPU, GRADIENT_8, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, rows: u32, cols: u32 }

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>(
        "matmul_f32_dx",
        text!(
            "products/matmul_f32_dx",
            "products/skeletons/outer",
            "products/skeletons/outer_slices",
            "products/operands/outer_f32_dx",
            "products/operands/outer_terms",
            "products/operands/unscaled",
        ),
    )
    .tiled([4, 4])
    .with(GRADIENT_8, BLOCK_CPU),
    &Kernel::new::<Params>(
        "matmul_f32_dx_broadcast",
        text!("products/matmul_f32_dx", "software/tile", "software/spread_rows", "software/tile_f32_dx",),
    )
    .tiled([8, 16])
    .subgroup(8)
    .for_rasterisers(),
];

/// `dx[batch, cols] <- dy[batch, rows] W[rows, cols]`, in f32.
pub fn matmul_f32_dx(gpu: &Gpu, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    matmul_f32_dx_variant(gpu, preferred(gpu, VARIANTS), w, dy, dx)
}

/// [`matmul_f32_dx`] by a variant of one's choice.
pub fn matmul_f32_dx_variant(gpu: &Gpu, kernel: &'static Kernel, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    let [batch, _] = matrix("matmul_f32_dx", dy);
    let [rows, cols] = matrix("matmul_f32_dx", w);
    expect("matmul_f32_dx", w, F32, &[rows, cols]);
    expect("matmul_f32_dx", dy, F32, &[batch, rows]);
    expect("matmul_f32_dx", dx, F32, &[batch, cols]);
    let params = Params { batch: batch as u32, rows: rows as u32, cols: cols as u32 };
    let cost = Cost { bytes: w.bytes() + dy.bytes() + dx.bytes(), ops: 2 * (batch * rows * cols) as u64 };
    gpu.op(kernel, params, &[w, dy, dx], Grid::Plane(cols, batch), cost)
}
