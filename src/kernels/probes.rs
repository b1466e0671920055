//! Shaders that measure the adapter: memory, arithmetic and the cost of a dispatch. Shaders: `shaders/probes`. A
//! probe computes nothing for a network, so it has no twin.

use super::expect;
use crate::gpu::{
    Arithmetic, Cost, Dtype, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params, value,
};

// --- memory ----------------------------------------------------------------------------------------

/// A number of words that every variant divides into whole workgroups.
pub const PROBE_WORDS: usize = 4 * 8 * 1024;

/// A probe of memory in many variants. Each combination of workgroup size, span and order may be the fastest.
macro_rules! every_order {
    ($params:ident, $name:literal, [$($file:literal),+] $(, $more:expr)* $(,)?) => {
        &[
            &memory!($params, $name, [$($file),+], [("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0)]),
            &memory!($params, $name, [$($file),+], [("WG", 8.0), ("SPAN", 256.0), ("OWN", 1.0)]),
            &memory!($params, $name, [$($file),+], [("WG", 8.0), ("SPAN", 64.0), ("OWN", 0.0)]),
            &memory!($params, $name, [$($file),+], [("WG", 64.0), ("SPAN", 8.0), ("OWN", 0.0)]),
            &memory!($params, $name, [$($file),+], [("WG", 64.0), ("SPAN", 32.0), ("OWN", 0.0)]),
            &memory!($params, $name, [$($file),+], [("WG", 256.0), ("SPAN", 4.0), ("OWN", 0.0)]),
            &memory!($params, $name, [$($file),+], [("WG", 256.0), ("SPAN", 16.0), ("OWN", 0.0)]),
            $(&$more,)*
        ]
    };
}

macro_rules! memory {
    ($params:ident, $name:literal, [$($file:literal),+], [$($set:expr),+]) => {
        Kernel::new::<$params>($name, text!(concat!("probes/", $name), $($file),+)).overridden(&[$($set),+])
    };
}

/// The probe of reads. The file decides the width of a load.
macro_rules! read {
    ($load:literal, [$($set:expr),+]) => {
        memory!(ReadParams, "probe_read", [$load, "snippets/entry"], [$($set),+])
    };
}

params! { struct ReadParams { words: u32 } }

/// The probe in every size and order. The most likely ones also come with more loads at a time and with narrower
/// loads.
pub static PROBE_READ: &[&Kernel] = every_order!(
    ReadParams,
    "probe_read",
    ["probes/load_vector", "snippets/entry"],
    read!("probes/load_vector", [("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0), ("TURN", 8.0)]),
    read!("probes/load_vector", [("WG", 256.0), ("SPAN", 16.0), ("OWN", 0.0), ("TURN", 8.0)]),
    read!("probes/load_pair", [("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0), ("WORDS", 2.0)]),
    read!("probes/load_pair", [("WG", 64.0), ("SPAN", 16.0), ("OWN", 0.0), ("WORDS", 2.0)]),
    read!("probes/load_pair", [("WG", 256.0), ("SPAN", 32.0), ("OWN", 0.0), ("WORDS", 2.0)]),
    read!("probes/load_word", [("WG", 8.0), ("SPAN", 1024.0), ("OWN", 1.0), ("WORDS", 1.0)]),
    read!("probes/load_word", [("WG", 64.0), ("SPAN", 32.0), ("OWN", 0.0), ("WORDS", 1.0)]),
    read!("probes/load_word", [("WG", 256.0), ("SPAN", 64.0), ("OWN", 0.0), ("WORDS", 1.0)]),
);

/// `digest[words / (SPAN WORDS)] <- xor of the words of each span of x[words]`. `digest` may be longer. Every kernel
/// that memory bounds is compared with this probe.
pub fn probe_read(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, digest: &Tensor) -> Op {
    streams("probe_read", U32, &[x]);
    expect("probe_read", digest, U32, digest.shape());
    let wide = value(kernel.overrides(gpu.tuning()), "WORDS").unwrap_or(4);
    let count = x.len() / (wide * set(gpu, kernel, "SPAN"));
    assert!(digest.len() >= count, "probe_read: {} digests, expected {count}", digest.len());
    let cost = Cost { bytes: x.bytes(), ops: x.len() as u64 };
    let params = ReadParams { words: x.len() as u32 };
    gpu.op(kernel, params, &[x, digest], spans(gpu, kernel, x.len() / wide), cost)
}

params! { struct WriteParams { vectors: u32, seed: u32 } }

pub static PROBE_WRITE: &[&Kernel] = every_order!(WriteParams, "probe_write", ["snippets/entry"]);

/// `x[words] <- seed ^ (i / 4)`, where `i` is the index of the word.
pub fn probe_write(gpu: &Gpu, kernel: &'static Kernel, seed: u32, x: &Tensor) -> Op {
    let vectors = streams("probe_write", U32, &[x]);
    let cost = Cost { bytes: x.bytes(), ops: 0 };
    gpu.op(kernel, WriteParams { vectors: vectors as u32, seed }, &[x], spans(gpu, kernel, vectors), cost)
}

params! { struct CopyParams { vectors: u32 } }

pub static PROBE_COPY: &[&Kernel] = every_order!(CopyParams, "probe_copy", ["snippets/entry"]);

/// `y[words] <- x[words]`.
pub fn probe_copy(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, y: &Tensor) -> Op {
    let vectors = streams("probe_copy", U32, &[x, y]);
    let cost = Cost { bytes: 2 * x.bytes(), ops: 0 };
    gpu.op(kernel, CopyParams { vectors: vectors as u32 }, &[x, y], spans(gpu, kernel, vectors), cost)
}

params! { struct TriadParams { vectors: u32, s: f32 } }

pub static PROBE_TRIAD: &[&Kernel] = every_order!(TriadParams, "probe_triad", ["snippets/entry"]);

/// `z[n] <- x[n] + s y[n]`, in f32. It reads two streams and writes a third one.
pub fn probe_triad(gpu: &Gpu, kernel: &'static Kernel, s: f32, [x, y, z]: [&Tensor; 3]) -> Op {
    let vectors = streams("probe_triad", F32, &[x, y, z]);
    let cost = Cost { bytes: 3 * x.bytes(), ops: 2 * x.len() as u64 };
    gpu.op(kernel, TriadParams { vectors: vectors as u32, s }, &[x, y, z], spans(gpu, kernel, vectors), cost)
}

params! { struct CacheParams { vectors: u32, ring: u32 } }

/// The variants have the order of [`PROBE_READ`].
pub static PROBE_CACHE: &[&Kernel] = every_order!(CacheParams, "probe_cache", ["snippets/entry"]);

/// `digest[i] <- sum of the words of span i`, for `words` words that are read around the ring `x`. `digest` may be
/// longer. The speed falls if the ring is larger than a cache.
pub fn probe_cache(gpu: &Gpu, kernel: &'static Kernel, words: usize, x: &Tensor, digest: &Tensor) -> Op {
    let (vectors, ring) = (words / 4, x.len() / 4);
    assert!(ring.is_power_of_two(), "probe_cache: a ring of {ring} vectors is no power of two");
    assert!(words.is_multiple_of(PROBE_WORDS), "probe_cache: {words} words, no multiple of {PROBE_WORDS}");
    assert!(digest.len() >= words / 16, "probe_cache: {} digests, expected {}", digest.len(), words / 16);
    expect("probe_cache", x, U32, x.shape());
    expect("probe_cache", digest, U32, digest.shape());
    let params = CacheParams { vectors: vectors as u32, ring: ring as u32 };
    let cost = Cost { bytes: 4 * words as u64, ops: words as u64 };
    gpu.op(kernel, params, &[x, digest], spans(gpu, kernel, vectors), cost)
}

/// Asserts that the tensors have one length, which every variant divides. Returns the number of vectors of four.
fn streams(kernel: &str, dtype: Dtype, tensors: &[&Tensor]) -> usize {
    let length = tensors[0].len();
    assert!(length.is_multiple_of(PROBE_WORDS), "{kernel}: {length} words, no multiple of {PROBE_WORDS}");
    for tensor in tensors {
        expect(kernel, tensor, dtype, tensors[0].shape());
    }
    length / 4
}

/// The grid for this number of loads. Each workgroup has its own spans.
fn spans(gpu: &Gpu, kernel: &Kernel, loads: usize) -> Grid {
    Grid::Groups(loads / (set(gpu, kernel, "WG") * set(gpu, kernel, "SPAN")))
}

fn set(gpu: &Gpu, kernel: &Kernel, name: &str) -> usize {
    value(kernel.overrides(gpu.tuning()), name).expect("a variant sets all of these")
}

// --- arithmetic ------------------------------------------------------------------------------------

const SIZES: [Overrides; 3] = [&[("WG", 8.0)], &[("WG", 64.0)], &[("WG", 256.0)]];

/// A probe of arithmetic in several variants. Each workgroup size may be the fastest.
macro_rules! every_size {
    ($kernel:expr) => {
        &[&$kernel.overridden(SIZES[0]), &$kernel.overridden(SIZES[1]), &$kernel.overridden(SIZES[2])]
    };
}

params! { struct TripsParams { trips: u32 } }
params! { struct LeapfrogParams { trips: u32, a: f32 } }

pub static PROBE_FMA_F32: &[&Kernel] = every_size!(Kernel::new::<LeapfrogParams>(
    "probe_fma_f32",
    text!("probes/probe_fma_f32", "probes/leapfrog", "snippets/entry")
));

/// `out[n] <- sum of eight points`. Each point starts from `x` and makes `4 trips` steps of the leapfrog with the
/// coefficient `a`.
pub fn probe_fma_f32(gpu: &Gpu, kernel: &'static Kernel, trips: u32, a: f32, x: &Tensor, out: &Tensor) -> Op {
    let cost = invocations("probe_fma_f32", [(x, F32), (out, F32)], 128 * u64::from(trips));
    gpu.op(kernel, LeapfrogParams { trips, a }, &[x, out], Grid::Each(x.len()), cost)
}

pub static PROBE_FMA_F16: &[&Kernel] = every_size!(
    Kernel::new::<LeapfrogParams>(
        "probe_fma_f16",
        text!("probes/probe_fma_f16", "probes/leapfrog", "snippets/entry")
    )
    .half()
    .doing(Arithmetic::FmaF16)
);

/// `out[n] <- sum of sixteen points`. Each point starts from `x` and makes `4 trips` steps of the leapfrog with the
/// coefficient `a`.
pub fn probe_fma_f16(gpu: &Gpu, kernel: &'static Kernel, trips: u32, a: f32, x: &Tensor, out: &Tensor) -> Op {
    let cost = invocations("probe_fma_f16", [(x, F32), (out, F32)], 256 * u64::from(trips));
    gpu.op(kernel, LeapfrogParams { trips, a }, &[x, out], Grid::Each(x.len()), cost)
}

pub static PROBE_ADD_I32: &[&Kernel] = every_size!(
    Kernel::new::<TripsParams>("probe_add_i32", text!("probes/probe_add_i32", "snippets/entry"))
        .doing(Arithmetic::AddI32)
);

/// `out[n] <- sum of eight pairs`. Each pair starts from `x`, and its two numbers are added to each other `4 trips`
/// times.
pub fn probe_add_i32(gpu: &Gpu, kernel: &'static Kernel, trips: u32, x: &Tensor, out: &Tensor) -> Op {
    let cost = invocations("probe_add_i32", [(x, I32), (out, I32)], 64 * u64::from(trips));
    gpu.op(kernel, TripsParams { trips }, &[x, out], Grid::Each(x.len()), cost)
}

pub static PROBE_DOT4: &[&Kernel] =
    every_size!(Kernel::dot4::<TripsParams>("probe_dot4", text!("probes/probe_dot4", "snippets/entry")));

/// `out[n] <- sum of eight accumulators`. Each one starts from `x` and adds its int8 dot product with `x` `4 trips` times.
pub fn probe_dot4(gpu: &Gpu, kernel: &'static Kernel, trips: u32, x: &Tensor, out: &Tensor) -> Op {
    let cost = invocations("probe_dot4", [(x, U32), (out, I32)], 256 * u64::from(trips));
    gpu.op(kernel, TripsParams { trips }, &[x, out], Grid::Each(x.len()), cost)
}

/// Asserts that whole workgroups cover these tensors. Returns the cost for `ops` operations per invocation.
fn invocations(kernel: &str, [(x, from), (out, to)]: [(&Tensor, Dtype); 2], ops: u64) -> Cost {
    expect(kernel, x, from, x.shape());
    expect(kernel, out, to, x.shape());
    assert!(x.len().is_multiple_of(256), "{kernel}: {} invocations, no multiple of 256", x.len());
    Cost { bytes: x.bytes() + out.bytes(), ops: ops * x.len() as u64 }
}

// --- launch ----------------------------------------------------------------------------------------

params! { struct LaunchParams { step: u32 } }

pub static PROBE_LAUNCH: Kernel =
    Kernel::new::<LaunchParams>("probe_launch", text!("probes/probe_launch")).with(&[], &[]);

/// `count[1] += step`, by one invocation. It measures the cost of a dispatch itself.
pub fn probe_launch(gpu: &Gpu, step: u32, count: &Tensor) -> Op {
    expect("probe_launch", count, U32, &[1]);
    let cost = Cost { bytes: 8, ops: 1 };
    gpu.op(&PROBE_LAUNCH, LaunchParams { step }, &[count], Grid::Groups(1), cost)
}
