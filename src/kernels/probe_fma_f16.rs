//! Fused multiply-adds in f16. Shader: `shaders/probes/probe_fma_f16.wgsl`. A probe, without a twin.

use super::expect;
use super::probe_fma_f32::every_size;
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params};

params! { trips: u32, a: f32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = text!("probes/probe_fma_f16", "probes/leapfrog", "snippets/grid");
    Kernel::new::<Params>("probe_fma_f16", wgsl).overridden(overrides).half().doing(Arithmetic::FmaF16)
}

/// The probe with every workgroup size that may be the fastest.
pub static VARIANTS: &[&Kernel] = every_size!(tuned);

/// `out[n] <- sum of sixteen points`, each started from `x` and turned by `a` in 4 `trips` steps of the leapfrog.
pub fn probe_fma_f16(gpu: &Gpu, kernel: &'static Kernel, trips: u32, a: f32, x: &Tensor, out: &Tensor) -> Op {
    expect("probe_fma_f16", x, F32, x.shape());
    expect("probe_fma_f16", out, F32, x.shape());
    assert!(x.len().is_multiple_of(256), "probe_fma_f16: {} invocations, no multiple of 256", x.len());
    let cost = Cost { bytes: x.bytes() + out.bytes(), ops: 256 * u64::from(trips) * x.len() as u64 };
    gpu.op(kernel, Params { trips, a }, &[x, out], Grid::Each(x.len()), cost)
}
