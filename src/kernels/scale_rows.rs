//! Integers to floats. Shader: `shaders/train/scale_rows.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32, rows: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "scale_rows",
    concat!(
        include_str!("../../shaders/train/scale_rows.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    ),
);

/// `y[batch, rows] <- scale[batch] acc[batch, rows]`.
pub fn scale_rows(gpu: &Gpu, acc: &Tensor, scale: &Tensor, y: &Tensor) -> Op {
    let [batch, rows] = matrix("scale_rows", acc);
    expect("scale_rows", acc, I32, &[batch, rows]);
    expect("scale_rows", scale, F32, &[batch]);
    expect("scale_rows", y, F32, &[batch, rows]);
    let params = Params { count: acc.len() as u32, rows: rows as u32 };
    let cost = Cost { bytes: acc.bytes() + scale.bytes() + y.bytes(), ops: acc.len() as u64 };
    gpu.op(&KERNEL, params, &[acc, scale, y], Grid::Each(acc.len()), cost)
}
