//! Dense int8 weights times a batch of int8 activations: the format between f16 and trits. Shaders:
//! `shaders/products/matmul_i8*.wgsl`, the base for GPUs, a register tile for software rasterisers; `_small` and
//! `_small_broadcast` for a few rows of activations.

use super::{Int8Tensor, MOST_COLS_I8, SMALL, SMALL_CPU, batch_grid, chosen, expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { batch: u32, rows: u32, vectors: u32 }

const fn base() -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_i8",
        text!(
            "products/matmul_i8",
            "products/skeletons/dots",
            "products/skeletons/dots_slices",
            "products/operands/dots_i8",
            "products/operands/signed_bytes",
            "snippets/dot16",
        ),
    )
    .tiled([4, 4])
}

/// For batches of a few rows, of which `COLUMNS` share one reading of the weights.
const fn small(overrides: Overrides) -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_i8_small",
        text!(
            "products/matmul_i8",
            "products/skeletons/small",
            "products/operands/small_i8",
            "products/operands/small_vectors",
            "snippets/dot16",
            "snippets/grid",
        ),
    )
    .tiled([1, 4])
    .overridden(overrides)
}

/// The same for software rasterisers.
const fn small_broadcast(overrides: Overrides) -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_i8_small_broadcast",
        text!(
            "products/matmul_i8",
            "software/small_broadcast",
            "software/small_i8_broadcast",
            "snippets/dot16",
            "snippets/grid",
        ),
    )
    .tiled([4, 1])
    .subgroup(8)
    .for_rasterisers()
    .overridden(overrides)
}

pub static VARIANTS: &[&Kernel] = &[
    &base()
        .with(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 4.0)], &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 2.0)]),
    &base().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 8.0)]),
    &small(SMALL[0]),
    &small(SMALL[1]),
    &small(SMALL[2]),
    &small(SMALL[3]),
    &small_broadcast(SMALL_CPU[0]),
    &small_broadcast(SMALL_CPU[1]),
    &small_broadcast(SMALL_CPU[2]),
    &Kernel::dot4::<Params>(
        "matmul_i8_broadcast",
        text!("products/matmul_i8", "software/tile_dots", "software/tile_i8", "snippets/dot16",),
    )
    .tiled([8, 8])
    .subgroup(8)
    .for_rasterisers(),
];

/// `acc[batch, rows] <- sum_k W[rows, k] q[batch, k]`, in i32, for int8 weights that lie as activations do: four a word,
/// rows filled to whole vectors of sixteen.
pub fn matmul_i8(gpu: &Gpu, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let [rows, width] = matrix("matmul_i8", w);
    let shape = [x.q.shape()[0], rows, 4 * width];
    matmul_i8_variant(gpu, chosen(gpu, "matmul_i8", shape), x, w, acc)
}

/// [`matmul_i8`] by a variant of one's choice.
pub fn matmul_i8_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let [rows, width] = matrix("matmul_i8", w);
    let [batch, _] = matrix("matmul_i8", &x.q);
    let vectors = width / 4;
    assert!(16 * vectors <= MOST_COLS_I8, "matmul_i8: {} columns exceed {MOST_COLS_I8}", 16 * vectors);
    expect("matmul_i8", w, U32, &[rows, 4 * vectors]);
    expect("matmul_i8", &x.q, U32, &[batch, 4 * vectors]);
    expect("matmul_i8", acc, I32, &[batch, rows]);
    let params = Params { batch: batch as u32, rows: rows as u32, vectors: vectors as u32 };
    let cost = Cost {
        bytes: w.bytes() + x.q.bytes() + acc.bytes(),
        // The matrix does not know its last column: the padding counts.
        ops: 2 * (batch * rows * 16 * vectors) as u64,
    };
    gpu.op(kernel, params, &[w, &x.q, acc], batch_grid(gpu, kernel, batch, rows), cost)
}
