//! How fast this adapter is, and how near to its limits the kernels come. Every figure is of a kernel that
//! just equalled its twin, on data that no cache holds. Prints nothing; what the tuner chose is the one file it keeps.

mod cache;
mod gemv;
mod matmul;
mod read;
mod sample;
mod tune;

pub use cache::{cache_file, load, save};
pub use gemv::{DEFAULT_SHAPES, Gemv, Row, Skipped, gemv};
pub use read::{ReadSpeed, read_again, read_speed};
pub use tune::{Outcome, Tried, Tuned, Wanted, candidates, shapes_to_tune, tune};

use crate::gpu::{Error, Gpu, Kernel};

/// Why a benchmark ended without a figure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The device failed, or lacks memory.
    #[error(transparent)]
    Device(#[from] Error),
    /// A kernel computed something else than its twin.
    #[error("{kernel} differs from its twin at {rows}x{cols}, row {row}: {got}, expected {want}")]
    Wrong {
        /// The kernel's name.
        kernel: &'static str,
        /// Outputs of the matrix.
        rows: usize,
        /// Inputs of the matrix.
        cols: usize,
        /// The first output that differs.
        row: usize,
        /// What the device computed.
        got: String,
        /// What the twin computed.
        want: String,
    },
    /// The read probe's digest is not that of the data.
    #[error("probe_read did not read what it was given: digest {got:08x}, expected {want:08x}")]
    Unread {
        /// The xor of what the device says.
        got: u32,
        /// The xor of the data.
        want: u32,
    },
}

/// Bytes that buffers in rotation hold together, where so many fit: more than any cache.
const WORKING_SET: u64 = 1 << 30;

/// Most buffers in rotation: each costs a binding.
const MOST_BUFFERS: u64 = 512;

/// Bytes that a benchmark may fill. A software rasteriser takes the machine's own memory, half of what is free.
fn memory(gpu: &Gpu) -> u64 {
    let free = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    };
    match gpu.is_software() {
        true => free().map_or(WORKING_SET, |free| free / 2),
        // The least memory of a card that anyone would benchmark.
        false => 6 << 30,
    }
}

/// `WG=8 SPAN=64`: the overrides a kernel runs with here.
fn overrides(gpu: &Gpu, kernel: &Kernel) -> String {
    let pairs = kernel.overrides(gpu.tuning()).iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}
