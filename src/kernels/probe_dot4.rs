//! Packed dot products of int8. Shader: `shaders/probes/probe_dot4.wgsl`. A probe, without a twin.

use super::expect;
use super::probe_fma_f32::every_size;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params};

params! { trips: u32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/probes/probe_dot4.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    );
    Kernel::dot4::<Params>("probe_dot4", wgsl).overridden(overrides)
}

/// The probe with every workgroup size that may be the fastest.
pub static VARIANTS: &[&Kernel] = every_size!(tuned);

/// `out[n] <- sum of eight accumulators`, each started from `x` and multiplied with it 4 `trips` times.
pub fn probe_dot4(gpu: &Gpu, kernel: &'static Kernel, trips: u32, x: &Tensor, out: &Tensor) -> Op {
    expect("probe_dot4", x, U32, x.shape());
    expect("probe_dot4", out, I32, x.shape());
    assert!(x.len().is_multiple_of(256), "probe_dot4: {} invocations, no multiple of 256", x.len());
    let cost = Cost { bytes: x.bytes() + out.bytes(), ops: 256 * u64::from(trips) * x.len() as u64 };
    gpu.op(kernel, Params { trips }, &[x, out], Grid::Each(x.len()), cost)
}
