//! Packed trits times one row of int8 activations: what a network does for one image or one token, bound by
//! the bytes of the weights. Shaders: `shaders/gemv_ternary*.wgsl`, the base, `_subgroup` and `_splitk` (for few rows)
//! for GPUs, `_nodot` for those without integer dot products, `_wide` and `_broadcast` for software rasterisers.

use super::{Int8Tensor, MOST_COLS, PackedTensor, chosen, expect, row_grid};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, WG_CPU, params, value};
use crate::ternary;

params! { rows: u32, words: u32 }

/// A shader with what it knows of the format.
macro_rules! shader {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $file)),
            include_str!("../../shaders/ternary.wgsl"),
            include_str!("../../shaders/grid.wgsl"),
        )
    };
}

/// The same with two terms a multiplication.
macro_rules! paired {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $file)),
            include_str!("../../shaders/ternary_pairs.wgsl"),
            include_str!("../../shaders/grid.wgsl"),
        )
    };
}

/// The same with two rows a multiplication.
const NODOT: &str = concat!(
    include_str!("../../shaders/gemv_ternary_nodot.wgsl"),
    include_str!("../../shaders/row_pairs.wgsl"),
    include_str!("../../shaders/grid.wgsl"),
);

const fn subgroup() -> Kernel {
    Kernel::dot4::<Params>("gemv_ternary_subgroup", shader!("gemv_ternary_subgroup.wgsl"))
        .tiled([1, 4])
        .subgroup(4)
}

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::dot4::<Params>("gemv_ternary", shader!("gemv_ternary.wgsl")).tiled([1, 4]),
    &subgroup(),
    &subgroup().overridden(&[("WG", 32.0)]),
    &subgroup().overridden(&[("WG", 128.0)]),
    &Kernel::dot4::<Params>("gemv_ternary_splitk", shader!("gemv_ternary_splitk.wgsl"))
        .tiled([1, 4])
        .with(&[("WG", 64.0), ("PARTS", 8.0)], &[("WG", 8.0), ("PARTS", 2.0)]),
    &Kernel::new::<Params>("gemv_ternary_nodot", NODOT)
        .tiled([1, 4])
        .doing(Arithmetic::Pairs)
        .for_gpus_without_dot(),
    &Kernel::dot4::<Params>("gemv_ternary_wide", paired!("gemv_ternary_wide.wgsl"))
        .tiled([4, 1])
        .for_rasterisers()
        .overridden(WG_CPU),
    &Kernel::dot4::<Params>("gemv_ternary_broadcast", paired!("gemv_ternary_broadcast.wgsl"))
        .tiled([2, 1])
        .subgroup(8)
        .for_rasterisers(),
];

/// `acc[1, rows] <- sum_k T[rows, k] q[1, k]`, in i32: [`matmul_ternary`](super::matmul_ternary) of a batch of 1.
pub fn gemv_ternary(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    gemv_ternary_variant(gpu, chosen(gpu, "gemv_ternary", [1, w.rows(), w.cols]), x, w, acc)
}

/// [`gemv_ternary`] by a variant of one's choice.
pub fn gemv_ternary_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let (rows, words) = (w.rows(), ternary::words(w.cols));
    assert!(w.cols <= MOST_COLS, "gemv_ternary: {} columns exceed {MOST_COLS}", w.cols);
    expect("gemv_ternary", &w.words, U32, &[rows, words]);
    expect("gemv_ternary", &x.q, U32, &[1, 4 * words]);
    expect("gemv_ternary", &x.sum, I32, &[1]);
    expect("gemv_ternary", acc, I32, &[1, rows]);
    let params = Params { rows: rows as u32, words: words as u32 };
    let cost = Cost {
        bytes: w.words.bytes() + x.q.bytes() + x.sum.bytes() + acc.bytes(),
        ops: 2 * (rows * w.cols) as u64,
    };
    let grid = row_grid(kernel, rows);
    let Some(parts) = value(kernel.overrides(gpu.tuning()), "PARTS") else {
        return gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, acc], grid, cost);
    };
    // Where the parts of a row meet; each dispatch leaves it as it found it.
    let met = gpu.zeros("gemv_ternary.met", I32, &[rows]).expect("there was room for as many outputs");
    let grid = Grid::Groups(parts * rows.div_ceil(kernel.tile[1] as usize));
    gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, &met, acc], grid, cost)
}
