//! What a dispatch costs by itself. Shader: `shaders/probes/probe_launch.wgsl`. A probe, without a twin.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { step: u32 }

pub static KERNEL: Kernel =
    Kernel::new::<Params>("probe_launch", include_str!("../../shaders/probes/probe_launch.wgsl"))
        .with(&[], &[]);

/// `count[1] += step`, by one invocation.
pub fn probe_launch(gpu: &Gpu, step: u32, count: &Tensor) -> Op {
    expect("probe_launch", count, U32, &[1]);
    gpu.op(&KERNEL, Params { step }, &[count], Grid::Groups(1), Cost { bytes: 8, ops: 1 })
}
