//! The accumulators of a linear layer to floats. Shader: `shaders/train/descale_rows.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32, rows: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "descale_rows",
    concat!(
        include_str!("../../shaders/train/descale_rows.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    ),
);

/// `y[batch, rows] <- acc[batch, rows] beta / scale[batch]`.
pub fn descale_rows(gpu: &Gpu, acc: &Tensor, scale: &Tensor, beta: &Tensor, y: &Tensor) -> Op {
    let [batch, rows] = matrix("descale_rows", acc);
    expect("descale_rows", acc, I32, &[batch, rows]);
    expect("descale_rows", scale, F32, &[batch]);
    expect("descale_rows", beta, F32, &[1]);
    expect("descale_rows", y, F32, &[batch, rows]);
    let params = Params { count: acc.len() as u32, rows: rows as u32 };
    let cost = Cost { bytes: acc.bytes() + scale.bytes() + 4 + y.bytes(), ops: 2 * acc.len() as u64 };
    gpu.op(&KERNEL, params, &[acc, scale, beta, y], Grid::Each(acc.len()), cost)
}
