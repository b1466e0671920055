//! Int8 activations times packed trits. Shaders: `shaders/products/matmul_ternary*.wgsl`, the base and `_large` for GPUs, `_nodot` for
//! those without integer dot products,
//! a register tile for software rasterisers; `_small` and `_small_broadcast` for a few rows of activations.

use super::{Int8Tensor, PackedTensor, SMALL, SMALL_CPU, batch_grid, chosen, expect};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, words: u32 }

const fn base() -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_ternary",
        text!(
            "products/matmul_ternary",
            "products/skeletons/dots",
            "products/skeletons/dots_slices",
            "products/operands/dots_ternary",
            "products/operands/signed_bytes",
            "snippets/ternary",
            "snippets/dot16",
        ),
    )
    .tiled([4, 4])
}

const fn large() -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_ternary_large",
        text!(
            "products/matmul_ternary",
            "products/skeletons/dots_large",
            "products/skeletons/dots_slices",
            "products/operands/dots_ternary",
            "products/operands/signed_bytes",
            "snippets/ternary",
            "snippets/dot16",
        ),
    )
    .tiled([8, 8])
}

/// With two rows a multiplication.
const fn nodot() -> Kernel {
    Kernel::new::<Params>(
        "matmul_ternary_nodot",
        text!(
            "products/matmul_ternary",
            "products/skeletons/dots_nodot",
            "products/skeletons/dots_slices",
            "snippets/row_pairs",
        ),
    )
    .tiled([4, 4])
    .doing(Arithmetic::Pairs)
    .for_gpus_without_dot()
}

/// For batches of a few rows, of which `COLUMNS` share one unpacking of the weights.
const fn small(overrides: Overrides) -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_ternary_small",
        text!(
            "products/matmul_ternary",
            "products/skeletons/small",
            "products/operands/small_ternary",
            "snippets/dot16",
            "snippets/ternary",
            "snippets/grid",
        ),
    )
    .tiled([1, 4])
    .overridden(overrides)
}

/// The same for software rasterisers.
const fn small_broadcast(overrides: Overrides) -> Kernel {
    Kernel::dot4::<Params>(
        "matmul_ternary_small_broadcast",
        text!(
            "products/matmul_ternary",
            "software/small_broadcast",
            "software/small_ternary_broadcast",
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
        .with(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 4.0)], &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 2.0)]),
    &base().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 8.0)]),
    &large().overridden(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 2.0)]),
    &large().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 4.0)]),
    &nodot().overridden(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 4.0)]),
    &nodot().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 4.0)]),
    &small(SMALL[0]),
    &small(SMALL[1]),
    &small(SMALL[2]),
    &small(SMALL[3]),
    &small_broadcast(SMALL_CPU[0]),
    &small_broadcast(SMALL_CPU[1]),
    &small_broadcast(SMALL_CPU[2]),
    &Kernel::dot4::<Params>(
        "matmul_ternary_broadcast",
        text!(
            "products/matmul_ternary",
            "software/tile_dots",
            "software/tile_ternary",
            "snippets/dot16",
            "snippets/ternary",
        ),
    )
    .tiled([8, 8])
    .subgroup(8)
    .for_rasterisers(),
];

/// Columns up to which accumulators stay exact as f32: 127 * cols < 2^24.
pub const MOST_COLS: usize = 132_104;

/// `acc[batch, rows] <- sum_k T[rows, k] q[batch, k]`, in i32.
pub fn matmul_ternary(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    let shape = [x.sum.len(), w.rows(), w.cols];
    matmul_ternary_variant(gpu, chosen(gpu, "matmul_ternary", shape), x, w, acc)
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
    gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, acc], batch_grid(gpu, kernel, batch, rows), cost)
}
