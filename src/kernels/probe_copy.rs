//! How fast an adapter copies memory. Shader: `shaders/probes/probe_copy.wgsl`. A probe, without a twin.

use super::probe_read::{every_order, spans};
use super::{PROBE_WORDS, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { vectors: u32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/probes/probe_copy.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    );
    Kernel::new::<Params>("probe_copy", wgsl).overridden(overrides)
}

/// The probe in every shape and order that may be the fastest.
pub static VARIANTS: &[&Kernel] = every_order!(tuned);

/// `y[words] <- x[words]`.
pub fn probe_copy(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, y: &Tensor) -> Op {
    assert!(
        x.len().is_multiple_of(PROBE_WORDS),
        "probe_copy: {} words, no multiple of {PROBE_WORDS}",
        x.len()
    );
    expect("probe_copy", x, U32, x.shape());
    expect("probe_copy", y, U32, x.shape());
    let (vectors, cost) = (x.len() / 4, Cost { bytes: 2 * x.bytes(), ops: 0 });
    gpu.op(kernel, Params { vectors: vectors as u32 }, &[x, y], spans(gpu, kernel, vectors), cost)
}
