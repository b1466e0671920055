//! Additions of 32-bit integers. Shader: `shaders/probes/probe_add_i32.wgsl`. A probe, without a twin.

use super::expect;
use super::probe_fma_f32::every_size;
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params};

params! { trips: u32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/probes/probe_add_i32.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    );
    Kernel::new::<Params>("probe_add_i32", wgsl).overridden(overrides).doing(Arithmetic::AddI32)
}

/// The probe with every workgroup size that may be the fastest.
pub static VARIANTS: &[&Kernel] = every_size!(tuned);

/// `out[n] <- sum of eight pairs`, each started from `x` and added to itself crosswise 4 `trips` times.
pub fn probe_add_i32(gpu: &Gpu, kernel: &'static Kernel, trips: u32, x: &Tensor, out: &Tensor) -> Op {
    expect("probe_add_i32", x, I32, x.shape());
    expect("probe_add_i32", out, I32, x.shape());
    assert!(x.len().is_multiple_of(256), "probe_add_i32: {} invocations, no multiple of 256", x.len());
    let cost = Cost { bytes: x.bytes() + out.bytes(), ops: 64 * u64::from(trips) * x.len() as u64 };
    gpu.op(kernel, Params { trips }, &[x, out], Grid::Each(x.len()), cost)
}
