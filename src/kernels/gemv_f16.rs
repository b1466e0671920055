//! The dense product of one row of activations in half precision, what a GPU runs a network in today. Shaders:
//! `shaders/gemv_f16*.wgsl`. Weights and activations are stored as f16 and summed in f32.

use half::f16;

use super::{expect, matrix, preferred, row_grid};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Tensor, WG_CPU, params};

params! { rows: u32, vectors: u32 }

macro_rules! shader {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $file)),
            include_str!("../../shaders/f16.wgsl"),
            include_str!("../../shaders/grid.wgsl"),
        )
    };
}

/// `_native` needs no snippet to read f16.
const NATIVE: &str =
    concat!(include_str!("../../shaders/gemv_f16_native.wgsl"), include_str!("../../shaders/grid.wgsl"));

const fn subgroup() -> Kernel {
    Kernel::new::<Params>("gemv_f16_subgroup", shader!("gemv_f16_subgroup.wgsl")).tiled([1, 4]).subgroup(4)
}

const fn native() -> Kernel {
    Kernel::new::<Params>("gemv_f16_native", NATIVE).tiled([1, 4]).subgroup(4).half()
}

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>("gemv_f16", shader!("gemv_f16.wgsl")).tiled([1, 4]),
    &subgroup(),
    &subgroup().overridden(&[("WG", 32.0)]),
    &subgroup().overridden(&[("WG", 128.0)]),
    &native(),
    &native().overridden(&[("WG", 32.0)]),
    &native().overridden(&[("WG", 128.0)]),
    &Kernel::new::<Params>("gemv_f16_wide", shader!("gemv_f16_wide.wgsl"))
        .tiled([4, 1])
        .for_rasterisers()
        .overridden(WG_CPU),
    &Kernel::new::<Params>("gemv_f16_broadcast", shader!("gemv_f16_broadcast.wgsl"))
        .tiled([1, 1])
        .subgroup(8)
        .for_rasterisers(),
];

/// 16-byte vectors in a row of `cols` halfs.
pub fn f16_vectors(cols: usize) -> usize {
    cols.div_ceil(8)
}

/// Rows of `cols` floats as f16, rounded to nearest even, two a word, each row filled with zeros to whole vectors of
/// eight: what [`gemv_f16`] takes.
pub fn f16_words(x: &[f32], cols: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(4 * x.len().div_ceil(cols.max(1)) * f16_vectors(cols));
    for row in x.chunks_exact(cols) {
        let bits = |i: usize| row.get(i).map_or(0, |&x| u32::from(f16::from_f32(x).to_bits()));
        words.extend((0..4 * f16_vectors(cols)).map(|i| bits(2 * i) | bits(2 * i + 1) << 16));
    }
    words
}

/// `y[1, rows] <- x[1, cols] W[rows, cols]^T`, both as [`f16_words`]: products are exact in f32, which sums them.
///
/// A device may count f16 below 2^-14, which are subnormal, as 0.
pub fn gemv_f16(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    gemv_f16_variant(gpu, preferred(gpu, VARIANTS), x, w, y)
}

/// [`gemv_f16`] by a variant of one's choice.
pub fn gemv_f16_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let [rows, width] = matrix("gemv_f16", w);
    let vectors = width / 4;
    expect("gemv_f16", x, U32, &[1, 4 * vectors]);
    expect("gemv_f16", w, U32, &[rows, 4 * vectors]);
    expect("gemv_f16", y, F32, &[1, rows]);
    let params = Params { rows: rows as u32, vectors: vectors as u32 };
    let cost = Cost {
        bytes: x.bytes() + w.bytes() + y.bytes(),
        // The matrix does not know its last column: the padding counts.
        ops: 2 * (rows * 8 * vectors) as u64,
    };
    gpu.op(kernel, params, &[x, w, y], row_grid(kernel, rows), cost)
}
