//! Dense int8 weights times one row of int8 activations: the format between f32 and trits. Shaders:
//! `shaders/gemv_i8*.wgsl`.

use super::{Int8Tensor, chosen, expect, matrix, row_grid};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Tensor, WG_CPU, params};

params! { rows: u32, vectors: u32 }

macro_rules! shader {
    ($file:literal) => {
        concat!(include_str!(concat!("../../shaders/", $file)), include_str!("../../shaders/grid.wgsl"))
    };
}

const fn subgroup() -> Kernel {
    Kernel::dot4::<Params>("gemv_i8_subgroup", shader!("gemv_i8_subgroup.wgsl")).tiled([1, 4]).subgroup(4)
}

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::dot4::<Params>("gemv_i8", shader!("gemv_i8.wgsl")).tiled([1, 4]),
    &subgroup(),
    &subgroup().overridden(&[("WG", 32.0)]),
    &subgroup().overridden(&[("WG", 128.0)]),
    &Kernel::new::<Params>("gemv_i8_nodot", shader!("gemv_i8_nodot.wgsl"))
        .tiled([1, 4])
        .for_gpus_without_dot(),
    &Kernel::dot4::<Params>("gemv_i8_wide", shader!("gemv_i8_wide.wgsl"))
        .tiled([4, 1])
        .for_rasterisers()
        .overridden(WG_CPU),
    &Kernel::dot4::<Params>("gemv_i8_broadcast", shader!("gemv_i8_broadcast.wgsl"))
        .tiled([2, 1])
        .subgroup(8)
        .for_rasterisers(),
];

/// Columns, filled to whole vectors, up to which even -128 times -128 sums to less than 2^31.
pub const MOST_COLS_I8: usize = 131_056;

/// `acc[1, rows] <- sum_k W[rows, k] q[1, k]`, in i32, for int8 weights that lie as activations do: four a word, rows
/// filled to whole vectors of sixteen.
pub fn gemv_i8(gpu: &Gpu, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let [rows, width] = matrix("gemv_i8", w);
    gemv_i8_variant(gpu, chosen(gpu, "gemv_i8", [1, rows, 4 * width]), x, w, acc)
}

/// [`gemv_i8`] by a variant of one's choice.
pub fn gemv_i8_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let [rows, width] = matrix("gemv_i8", w);
    let vectors = width / 4;
    assert!(16 * vectors <= MOST_COLS_I8, "gemv_i8: {} columns exceed {MOST_COLS_I8}", 16 * vectors);
    expect("gemv_i8", w, U32, &[rows, 4 * vectors]);
    expect("gemv_i8", &x.q, U32, &[1, 4 * vectors]);
    expect("gemv_i8", acc, I32, &[1, rows]);
    let params = Params { rows: rows as u32, vectors: vectors as u32 };
    let cost = Cost {
        bytes: w.bytes() + x.q.bytes() + acc.bytes(),
        // The matrix does not know its last column: the padding counts.
        ops: 2 * (rows * 16 * vectors) as u64,
    };
    gpu.op(kernel, params, &[w, &x.q, acc], row_grid(kernel, rows), cost)
}
