//! Gradient of the ReLU. Shader: `shaders/train/relu_dx.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "relu_dx",
    concat!(
        include_str!("../../shaders/train/relu_dx.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    ),
);

/// `dx <- dy where x > 0, else 0`, of any shape.
pub fn relu_dx(gpu: &Gpu, x: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    for tensor in [x, dy, dx] {
        expect("relu_dx", tensor, F32, x.shape());
    }
    let cost = Cost { bytes: 3 * x.bytes(), ops: x.len() as u64 };
    gpu.op(&KERNEL, Params { count: x.len() as u32 }, &[x, dy, dx], Grid::Each(x.len()), cost)
}
