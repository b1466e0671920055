//! Moves the clock of a replayed plan. Shader: `shaders/advance.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32 }

pub static KERNEL: Kernel =
    Kernel::new::<Params>("advance", include_str!("../../shaders/advance.wgsl")).with(&[], &[]);

/// `step <- step + 1`, `position <- position + batch` in `clock = {step, position}`.
pub fn advance(gpu: &Gpu, clock: &Tensor, batch: usize) -> Op {
    expect("advance", clock, U32, &[2]);
    let cost = Cost { bytes: 16, ops: 2 };
    gpu.op(&KERNEL, Params { batch: batch as u32 }, &[clock], Grid::Groups(1), cost)
}
