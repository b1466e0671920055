//! The dense product in half precision, what a GPU runs a network in today without matrix units. Shaders:
//! `shaders/products/matmul_f16*.wgsl`, the base and `_large` for GPUs, a register tile for software rasterisers; `_small` and
//! `_small_broadcast` for a few rows of activations. Weights and activations are stored as f16 and summed in f32.

use super::{BLOCK_8, BLOCK_16, BLOCK_CPU, SMALL, SMALL_CPU, batch_grid, expect, matrix, preferred_for};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { batch: u32, rows: u32, vectors: u32 }

const fn base() -> Kernel {
    Kernel::new::<Params>(
        "matmul_f16",
        text!(
            "products/matmul_f16",
            "products/skeletons/outer",
            "products/skeletons/outer_slices",
            "products/operands/outer_f16",
            "products/operands/unscaled",
        ),
    )
    .tiled([4, 4])
}

const fn large() -> Kernel {
    Kernel::new::<Params>(
        "matmul_f16_large",
        text!(
            "products/matmul_f16",
            "products/skeletons/outer_large",
            "products/skeletons/outer_slices",
            "products/operands/outer_f16",
            "products/operands/unscaled",
        ),
    )
    .tiled([8, 8])
}

/// For batches of a few rows, of which `COLUMNS` share one reading of the weights.
const fn small(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>(
        "matmul_f16_small",
        text!(
            "products/matmul_f16",
            "products/skeletons/small",
            "products/operands/small_f16",
            "products/operands/small_vectors",
            "snippets/halfs",
            "snippets/grid",
        ),
    )
    .tiled([1, 4])
    .overridden(overrides)
}

/// The same for software rasterisers.
const fn small_broadcast(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>(
        "matmul_f16_small_broadcast",
        text!(
            "products/matmul_f16",
            "software/small_broadcast",
            "software/small_f16_broadcast",
            "snippets/halfs",
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
    &large().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 8.0)]),
    &large().overridden(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 8.0)]),
    &small(SMALL[0]),
    &small(SMALL[1]),
    &small(SMALL[2]),
    &small(SMALL[3]),
    &small_broadcast(SMALL_CPU[0]),
    &small_broadcast(SMALL_CPU[1]),
    &small_broadcast(SMALL_CPU[2]),
    &Kernel::new::<Params>(
        "matmul_f16_broadcast",
        text!(
            "products/matmul_f16",
            "software/tile",
            "software/spread_rows",
            "software/tile_f16",
            "snippets/halfs",
        ),
    )
    .tiled([8, 16])
    .subgroup(8)
    .for_rasterisers(),
];

/// `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`, both as [`f16_words`](super::f16_words): products are exact in
/// f32, which sums them.
///
/// A device may count f16 below 2^-14, which are subnormal, as 0.
pub fn matmul_f16(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    matmul_f16_variant(gpu, preferred_for(gpu, VARIANTS, x.shape()[0]), x, w, y)
}

/// [`matmul_f16`] by a variant of one's choice.
pub fn matmul_f16_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let [batch, width] = matrix("matmul_f16", x);
    let [rows, _] = matrix("matmul_f16", w);
    let vectors = width / 4;
    expect("matmul_f16", x, U32, &[batch, 4 * vectors]);
    expect("matmul_f16", w, U32, &[rows, 4 * vectors]);
    expect("matmul_f16", y, F32, &[batch, rows]);
    let params = Params { batch: batch as u32, rows: rows as u32, vectors: vectors as u32 };
    let cost = Cost {
        bytes: x.bytes() + w.bytes() + y.bytes(),
        // The matrix does not know its last column: the padding counts.
        ops: 2 * (batch * rows * 8 * vectors) as u64,
    };
    gpu.op(kernel, params, &[x, w, y], batch_grid(gpu, kernel, batch, rows), cost)
}
