//! The dense product of one row of activations that ternary ones are compared with. Shaders:
//! `shaders/gemv_f32*.wgsl`.

use super::{expect, matrix, preferred, row_grid};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Tensor, WG_CPU, params};

params! { rows: u32, cols: u32 }

macro_rules! shader {
    ($file:literal) => {
        concat!(include_str!(concat!("../../shaders/", $file)), include_str!("../../shaders/grid.wgsl"))
    };
}

const fn subgroup() -> Kernel {
    Kernel::new::<Params>("gemv_f32_subgroup", shader!("gemv_f32_subgroup.wgsl")).tiled([1, 4]).subgroup(4)
}

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::new::<Params>("gemv_f32", shader!("gemv_f32.wgsl")).tiled([1, 4]),
    &subgroup(),
    &subgroup().overridden(&[("WG", 32.0)]),
    &subgroup().overridden(&[("WG", 128.0)]),
    &Kernel::new::<Params>("gemv_f32_wide", shader!("gemv_f32_wide.wgsl"))
        .tiled([4, 1])
        .for_rasterisers()
        .overridden(WG_CPU),
    &Kernel::new::<Params>("gemv_f32_broadcast", shader!("gemv_f32_broadcast.wgsl"))
        .tiled([1, 1])
        .subgroup(8)
        .for_rasterisers(),
];

/// `y[1, rows] <- x[1, cols] W[rows, cols]^T`, in f32: [`matmul_f32`](super::matmul_f32) of a batch of 1.
pub fn gemv_f32(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    gemv_f32_variant(gpu, preferred(gpu, VARIANTS), x, w, y)
}

/// [`gemv_f32`] by a variant of one's choice.
pub fn gemv_f32_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let [rows, cols] = matrix("gemv_f32", w);
    expect("gemv_f32", x, F32, &[1, cols]);
    expect("gemv_f32", w, F32, &[rows, cols]);
    expect("gemv_f32", y, F32, &[1, rows]);
    let params = Params { rows: rows as u32, cols: cols as u32 };
    let cost = Cost { bytes: x.bytes() + w.bytes() + y.bytes(), ops: 2 * (rows * cols) as u64 };
    gpu.op(kernel, params, &[x, w, y], row_grid(kernel, rows), cost)
}
