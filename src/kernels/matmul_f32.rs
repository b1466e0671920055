//! The dense product that ternary ones are compared with. Shaders: `shaders/products/matmul_f32*.wgsl`, the base and
//! `_large` for GPUs, a register tile for software rasterisers; `_small` and `_small_broadcast` for a few rows of
//! activations.

use super::{BLOCK_8, BLOCK_16, BLOCK_CPU, SMALL, SMALL_CPU, batch_grid, expect, matrix, preferred_for};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { batch: u32, rows: u32, cols: u32 }

const fn base() -> Kernel {
    Kernel::new::<Params>(
        "matmul_f32",
        text!(
            "products/matmul_f32",
            "products/skeletons/outer",
            "products/skeletons/outer_slices",
            "products/operands/outer_f32",
            "products/operands/outer_terms",
            "products/operands/unscaled",
        ),
    )
    .tiled([4, 4])
}

const fn large() -> Kernel {
    Kernel::new::<Params>(
        "matmul_f32_large",
        text!(
            "products/matmul_f32",
            "products/skeletons/outer_large",
            "products/skeletons/outer_slices",
            "products/operands/outer_f32",
            "products/operands/outer_terms",
            "products/operands/unscaled",
        ),
    )
    .tiled([8, 8])
}

/// For batches of a few rows, of which `COLUMNS` share one reading of the weights.
const fn small(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>(
        "matmul_f32_small",
        text!(
            "products/matmul_f32",
            "products/skeletons/small",
            "products/operands/small_f32",
            "snippets/grid",
        ),
    )
    .tiled([1, 4])
    .overridden(overrides)
}

/// The same for software rasterisers.
const fn small_broadcast(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>(
        "matmul_f32_small_broadcast",
        text!(
            "products/matmul_f32",
            "software/small_broadcast",
            "software/small_f32_broadcast",
            "snippets/grid",
        ),
    )
    .tiled([4, 1])
    .subgroup(8)
    .for_rasterisers()
    .overridden(overrides)
}

pub static VARIANTS: &[&Kernel] = &[
    &base().with(BLOCK_16, BLOCK_CPU),
    &base().overridden(BLOCK_8),
    &large().overridden(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 8.0)]),
    &large().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 8.0)]),
    &small(SMALL[0]),
    &small(SMALL[1]),
    &small(SMALL[2]),
    &small(SMALL[3]),
    &small_broadcast(SMALL_CPU[0]),
    &small_broadcast(SMALL_CPU[1]),
    &small_broadcast(SMALL_CPU[2]),
    &Kernel::new::<Params>(
        "matmul_f32_broadcast",
        text!("products/matmul_f32", "software/tile", "software/spread_rows", "software/tile_f32",),
    )
    .tiled([8, 16])
    .subgroup(8)
    .for_rasterisers(),
];

/// `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`, in f32.
pub fn matmul_f32(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    matmul_f32_variant(gpu, preferred_for(gpu, VARIANTS, x.shape()[0]), x, w, y)
}

/// [`matmul_f32`] by a variant of one's choice.
pub fn matmul_f32_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let [batch, cols] = matrix("matmul_f32", x);
    let [rows, _] = matrix("matmul_f32", w);
    expect("matmul_f32", x, F32, &[batch, cols]);
    expect("matmul_f32", w, F32, &[rows, cols]);
    expect("matmul_f32", y, F32, &[batch, rows]);
    let params = Params { batch: batch as u32, rows: rows as u32, cols: cols as u32 };
    let cost = Cost { bytes: x.bytes() + w.bytes() + y.bytes(), ops: 2 * (batch * rows * cols) as u64 };
    gpu.op(kernel, params, &[x, w, y], batch_grid(gpu, kernel, batch, rows), cost)
}
