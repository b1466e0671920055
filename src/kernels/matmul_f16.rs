//! The dense product in half precision, what a GPU runs a network in today without matrix units. Shaders:
//! `shaders/matmul_f16*.wgsl`. Weights and activations are stored as f16 and summed in f32.

use super::{BLOCK_8, BLOCK_16, BLOCK_CPU, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, rows: u32, vectors: u32 }

const fn base() -> Kernel {
    Kernel::new::<Params>("matmul_f16", include_str!("../../shaders/matmul_f16.wgsl")).tiled([4, 4])
}

const fn large() -> Kernel {
    Kernel::new::<Params>("matmul_f16_large", include_str!("../../shaders/matmul_f16_large.wgsl"))
        .tiled([8, 8])
}

pub static VARIANTS: &[&Kernel] = &[
    &base().with(BLOCK_16, BLOCK_CPU),
    &base().overridden(BLOCK_8),
    &large().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 8.0)]),
    &large().overridden(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 8.0)]),
];

/// `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`, both as [`f16_words`](super::f16_words): products are exact in
/// f32, which sums them.
///
/// A device may count f16 below 2^-14, which are subnormal, as 0.
pub fn matmul_f16(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    matmul_f16_variant(gpu, preferred(gpu, VARIANTS), x, w, y)
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
    gpu.op(kernel, params, &[x, w, y], Grid::Plane(rows, batch), cost)
}
