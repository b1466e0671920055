//! How fast an adapter reads two streams while it writes a third. Shader: `shaders/probes/probe_triad.wgsl`. A probe,
//! without a twin.

use super::probe_read::{every_order, spans};
use super::{PROBE_WORDS, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { vectors: u32, s: f32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/probes/probe_triad.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    );
    Kernel::new::<Params>("probe_triad", wgsl).overridden(overrides)
}

/// The probe in every shape and order that may be the fastest.
pub static VARIANTS: &[&Kernel] = every_order!(tuned);

/// `z[n] <- x[n] + s y[n]`, in f32.
pub fn probe_triad(gpu: &Gpu, kernel: &'static Kernel, s: f32, [x, y, z]: [&Tensor; 3]) -> Op {
    assert!(
        x.len().is_multiple_of(PROBE_WORDS),
        "probe_triad: {} values, no multiple of {PROBE_WORDS}",
        x.len()
    );
    for tensor in [x, y, z] {
        expect("probe_triad", tensor, F32, x.shape());
    }
    let (vectors, cost) = (x.len() / 4, Cost { bytes: 3 * x.bytes(), ops: 2 * x.len() as u64 });
    gpu.op(kernel, Params { vectors: vectors as u32, s }, &[x, y, z], spans(gpu, kernel, vectors), cost)
}
