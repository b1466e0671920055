//! How fast an adapter writes memory. Shader: `shaders/probes/probe_write.wgsl`. A probe, without a twin.

use super::probe_read::{every_order, spans};
use super::{PROBE_WORDS, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { vectors: u32, seed: u32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/probes/probe_write.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    );
    Kernel::new::<Params>("probe_write", wgsl).overridden(overrides)
}

/// The probe in every shape and order that may be the fastest.
pub static VARIANTS: &[&Kernel] = every_order!(tuned);

/// `x[words] <- seed ^ (i / 4)` in word `i`.
pub fn probe_write(gpu: &Gpu, kernel: &'static Kernel, seed: u32, x: &Tensor) -> Op {
    assert!(
        x.len().is_multiple_of(PROBE_WORDS),
        "probe_write: {} words, no multiple of {PROBE_WORDS}",
        x.len()
    );
    expect("probe_write", x, U32, x.shape());
    let (vectors, cost) = (x.len() / 4, Cost { bytes: x.bytes(), ops: 0 });
    gpu.op(kernel, Params { vectors: vectors as u32, seed }, &[x], spans(gpu, kernel, vectors), cost)
}
