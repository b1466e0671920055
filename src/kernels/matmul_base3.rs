//! Trits, five to a byte, times a batch of int8 activations. Shaders: `shaders/products/matmul_base3*.wgsl`, the base for GPUs,
//! `_broadcast` for software rasterisers; `_small` for a few rows of activations.

use super::{Base3Tensor, Int8Tensor, MOST_COLS, SMALL, SMALL_CPU, batch_grid, chosen, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, vectors: u32, words: u32 }

const fn base() -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_base3",
        text!(
            "products/matmul_base3",
            "products/skeletons/dots",
            "products/skeletons/dots_slices",
            "products/operands/dots_base3",
            "products/operands/signed_bytes",
            "snippets/base3_codes",
            "snippets/base3",
            "snippets/dot16",
        ),
    )
    .tiled([4, 4])
}

/// For batches of a few rows, of which `COLUMNS` share one decoding of the weights.
const fn small(overrides: Overrides) -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_base3_small",
        text!(
            "products/matmul_base3",
            "products/skeletons/small",
            "products/operands/small_base3",
            "products/operands/small_vectors",
            "snippets/base3_codes",
            "snippets/base3",
            "snippets/dot16",
            "snippets/grid",
        ),
    )
    .tiled([1, 2])
    .overridden(overrides)
}

/// The same for software rasterisers, and for batches of any size.
const fn small_broadcast(overrides: Overrides) -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_base3_small_broadcast",
        text!(
            "products/matmul_base3",
            "software/small_broadcast",
            "software/small_base3_broadcast",
            "snippets/base3",
            "snippets/ternary_pairs",
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
        .with(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 1.0)], &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 1.0)]),
    &base().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 2.0)]),
    &small(SMALL[0]),
    &small(SMALL[1]),
    &small(SMALL[2]),
    &small(SMALL[3]),
    &small_broadcast(SMALL_CPU[0]),
    &small_broadcast(SMALL_CPU[1]),
    &small_broadcast(SMALL_CPU[2]),
];

/// `acc[batch, rows] <- sum_k T[rows, k] q[batch, k]`, in i32.
pub fn matmul_base3(gpu: &Gpu, x: &Int8Tensor, w: &Base3Tensor, acc: &Tensor) -> Op {
    let shape = [x.sum.len(), w.words.shape()[0], w.cols];
    matmul_base3_variant(gpu, chosen(gpu, "matmul_base3", shape), x, w, acc)
}

/// [`matmul_base3`] by a variant of one's choice.
pub fn matmul_base3_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &Base3Tensor,
    acc: &Tensor,
) -> Op {
    let (batch, rows, cols) = (x.sum.len(), w.words.shape()[0], w.cols);
    let (vectors, words) = (ternary::base3_vectors(cols), ternary::words(cols));
    assert!(cols <= MOST_COLS, "matmul_base3: {cols} columns exceed {MOST_COLS}");
    expect("matmul_base3", &w.words, U32, &[rows, 4 * vectors]);
    expect("matmul_base3", &x.q, U32, &[batch, 4 * words]);
    expect("matmul_base3", &x.sum, I32, &[batch]);
    expect("matmul_base3", acc, I32, &[batch, rows]);
    let params =
        Params { batch: batch as u32, rows: rows as u32, vectors: vectors as u32, words: words as u32 };
    let cost = Cost {
        bytes: w.words.bytes() + x.q.bytes() + x.sum.bytes() + acc.bytes(),
        ops: 2 * (batch * rows * cols) as u64,
    };
    let grid = batch_grid(gpu, kernel, batch, rows);
    gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, acc], grid, cost)
}
