//! How fast an adapter reads memory: the yardstick of every kernel that is bound by it. Shader:
//! `shaders/probe_read.wgsl`. A probe computes nothing that a network needs, so it has no twin.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params, value};

params! { vectors: u32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl =
        concat!(include_str!("../../shaders/probe_read.wgsl"), include_str!("../../shaders/grid.wgsl"));
    Kernel::new::<Params>("probe_read", wgsl).with(overrides, overrides)
}

/// The probe with every workgroup size, span and order of reading that may be the fastest.
pub static VARIANTS: &[&Kernel] = &[
    &tuned(&[("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0)]),
    &tuned(&[("WG", 8.0), ("SPAN", 256.0), ("OWN", 1.0)]),
    &tuned(&[("WG", 8.0), ("SPAN", 64.0), ("OWN", 0.0)]),
    &tuned(&[("WG", 64.0), ("SPAN", 8.0), ("OWN", 0.0)]),
    &tuned(&[("WG", 64.0), ("SPAN", 32.0), ("OWN", 0.0)]),
    &tuned(&[("WG", 256.0), ("SPAN", 4.0), ("OWN", 0.0)]),
    &tuned(&[("WG", 256.0), ("SPAN", 16.0), ("OWN", 0.0)]),
];

/// Words that every variant divides into whole workgroups.
pub const PROBE_WORDS: usize = 4 * 8 * 1024;

/// `digest[words / (4 SPAN)] <- xor of the words of each span of x[words]`; `digest` may be longer.
pub fn probe_read(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, digest: &Tensor) -> Op {
    let set = |name| value(kernel.overrides(gpu.tuning()), name).expect("a variant sets all overrides");
    let (vectors, group) = (x.len() / 4, set("WG") * set("SPAN"));
    let whole = PROBE_WORDS;
    assert!(x.len().is_multiple_of(whole), "probe_read: {} words are no multiple of {whole}", x.len());
    expect("probe_read", x, U32, x.shape());
    expect("probe_read", digest, U32, digest.shape());
    let spans = vectors / set("SPAN");
    assert!(digest.len() >= spans, "probe_read: {} digests, expected {spans}", digest.len());
    let cost = Cost { bytes: x.bytes(), ops: x.len() as u64 };
    gpu.op(kernel, Params { vectors: vectors as u32 }, &[x, digest], Grid::Groups(vectors / group), cost)
}
