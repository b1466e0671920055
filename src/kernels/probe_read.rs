//! How fast an adapter reads memory: the yardstick of every kernel that is bound by it. Shader:
//! `shaders/probes/probe_read.wgsl`. A probe computes nothing that a network needs, so it has no twin.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params, value};

params! { words: u32 }

/// The probe with a snippet that says what a load is.
macro_rules! shader {
    ($load:expr) => {
        concat!(
            include_str!("../../shaders/probes/probe_read.wgsl"),
            $load,
            include_str!("../../shaders/snippets/grid.wgsl"),
        )
    };
}

const fn tuned(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>("probe_read", shader!(include_str!("../../shaders/probes/load_vector.wgsl")))
        .overridden(overrides)
}

const fn pairs(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>("probe_read", shader!(include_str!("../../shaders/probes/load_pair.wgsl")))
        .overridden(overrides)
}

const fn words(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>("probe_read", shader!(include_str!("../../shaders/probes/load_word.wgsl")))
        .overridden(overrides)
}

/// A probe of memory with every workgroup size, span and order of going through it that may be the fastest.
macro_rules! every_order {
    ($tuned:ident $(, $more:expr)* $(,)?) => {
        &[
            &$tuned(&[("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0)]),
            &$tuned(&[("WG", 8.0), ("SPAN", 256.0), ("OWN", 1.0)]),
            &$tuned(&[("WG", 8.0), ("SPAN", 64.0), ("OWN", 0.0)]),
            &$tuned(&[("WG", 64.0), ("SPAN", 8.0), ("OWN", 0.0)]),
            &$tuned(&[("WG", 64.0), ("SPAN", 32.0), ("OWN", 0.0)]),
            &$tuned(&[("WG", 256.0), ("SPAN", 4.0), ("OWN", 0.0)]),
            &$tuned(&[("WG", 256.0), ("SPAN", 16.0), ("OWN", 0.0)]),
            $($more,)*
        ]
    };
}
pub(super) use every_order;

/// The probe in every shape and order, and of those the likely ones with more loads at a time and with narrower ones.
pub static VARIANTS: &[&Kernel] = every_order!(
    tuned,
    &tuned(&[("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0), ("TURN", 8.0)]),
    &tuned(&[("WG", 256.0), ("SPAN", 16.0), ("OWN", 0.0), ("TURN", 8.0)]),
    &pairs(&[("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0), ("WORDS", 2.0)]),
    &pairs(&[("WG", 64.0), ("SPAN", 16.0), ("OWN", 0.0), ("WORDS", 2.0)]),
    &pairs(&[("WG", 256.0), ("SPAN", 32.0), ("OWN", 0.0), ("WORDS", 2.0)]),
    &words(&[("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0), ("WORDS", 1.0)]),
    &words(&[("WG", 64.0), ("SPAN", 32.0), ("OWN", 0.0), ("WORDS", 1.0)]),
    &words(&[("WG", 256.0), ("SPAN", 64.0), ("OWN", 0.0), ("WORDS", 1.0)]),
);

/// Words that every variant divides into whole workgroups.
pub const PROBE_WORDS: usize = 4 * 8 * 1024;

/// `digest[words / (SPAN WORDS)] <- xor of the words of each span of x[words]`; `digest` may be longer.
pub fn probe_read(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, digest: &Tensor) -> Op {
    let whole = PROBE_WORDS;
    assert!(x.len().is_multiple_of(whole), "probe_read: {} words are no multiple of {whole}", x.len());
    expect("probe_read", x, U32, x.shape());
    expect("probe_read", digest, U32, digest.shape());
    let wide = value(kernel.overrides(gpu.tuning()), "WORDS").unwrap_or(4);
    let count = x.len() / (wide * set(gpu, kernel, "SPAN"));
    assert!(digest.len() >= count, "probe_read: {} digests, expected {count}", digest.len());
    let cost = Cost { bytes: x.bytes(), ops: x.len() as u64 };
    let params = Params { words: x.len() as u32 };
    gpu.op(kernel, params, &[x, digest], spans(gpu, kernel, x.len() / wide), cost)
}

/// The grid over so many loads, each workgroup with its spans.
pub(super) fn spans(gpu: &Gpu, kernel: &Kernel, loads: usize) -> Grid {
    Grid::Groups(loads / (set(gpu, kernel, "WG") * set(gpu, kernel, "SPAN")))
}

fn set(gpu: &Gpu, kernel: &Kernel, name: &str) -> usize {
    value(kernel.overrides(gpu.tuning()), name).expect("a variant sets all of these")
}
