//! ReLU on floats. Shader: `shaders/train/relu.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "relu",
    concat!(include_str!("../../shaders/train/relu.wgsl"), include_str!("../../shaders/snippets/grid.wgsl")),
);

/// `y <- max(x, 0)`, of any shape.
pub fn relu(gpu: &Gpu, x: &Tensor, y: &Tensor) -> Op {
    expect("relu", x, F32, y.shape());
    expect("relu", y, F32, x.shape());
    let cost = Cost { bytes: 2 * x.bytes(), ops: x.len() as u64 };
    gpu.op(&KERNEL, Params { count: x.len() as u32 }, &[x, y], Grid::Each(x.len()), cost)
}
