//! How fast an adapter reads a working set again and again: where it falls as the set grows, a cache ends. Shader:
//! `shaders/probes/probe_cache.wgsl`. A probe, without a twin.

use super::probe_read::{every_order, spans};
use super::{PROBE_WORDS, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Kernel, Op, Overrides, Tensor, params};

params! { vectors: u32, ring: u32 }

const fn tuned(overrides: Overrides) -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/probes/probe_cache.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    );
    Kernel::new::<Params>("probe_cache", wgsl).overridden(overrides)
}

/// The probe in every shape and order that may be the fastest, in the order of `probe_read`'s.
pub static VARIANTS: &[&Kernel] = every_order!(tuned);

/// `digest[i] <- sum of the words of span i`, of `words` words read around the ring `x`, wrapping; `digest` may be
/// longer.
pub fn probe_cache(gpu: &Gpu, kernel: &'static Kernel, words: usize, x: &Tensor, digest: &Tensor) -> Op {
    let (vectors, ring) = (words / 4, x.len() / 4);
    assert!(ring.is_power_of_two(), "probe_cache: a ring of {ring} vectors is no power of two");
    assert!(words.is_multiple_of(PROBE_WORDS), "probe_cache: {words} words, no multiple of {PROBE_WORDS}");
    assert!(digest.len() >= words / 16, "probe_cache: {} digests, expected {}", digest.len(), words / 16);
    expect("probe_cache", x, U32, x.shape());
    expect("probe_cache", digest, U32, digest.shape());
    let params = Params { vectors: vectors as u32, ring: ring as u32 };
    let cost = Cost { bytes: 4 * words as u64, ops: words as u64 };
    gpu.op(kernel, params, &[x, digest], spans(gpu, kernel, vectors), cost)
}
