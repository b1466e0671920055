//! How fast this adapter is, and how near to its limits the kernels come. Every figure is of a kernel that
//! just equalled its twin, on data that no cache holds. Prints nothing; what the tuner chose is the one file it keeps.

mod cache;
mod ceilings;
mod energy;
mod formats;
mod matmul;
mod models;
mod pool;
mod product;
mod profile;
mod read;
mod sample;
mod staircase;
mod tune;

pub use cache::{cache_file, load, save};
pub use ceilings::{CEILINGS, Watch, ceilings};
pub use energy::{ENERGY_TABLES, Rapl, energy, energy_per_product};
pub use formats::formats;
pub use matmul::{GEMV_SHAPES, Matmul, Row, Skipped, faster_than_reading, lengths, matmul, matmul_shapes};
pub use models::{BATCHES, Layers, MODELS, QUICK_BATCHES, Shapes, models, products, summary};
pub use pool::{Room, WORKING_SET};
pub use product::rotation;
pub use profile::{KernelRow, PROFILE_CEILINGS, Profile, Step, Work, profile};
pub use read::{ReadSpeed, read_again, read_speed};
pub use sample::{Effort, SAMPLES};
pub use staircase::staircase;
pub use tune::{Outcome, Tried, Tuned, Wanted, candidates, room_to_tune, shapes_to_tune, tune};

use crate::gpu::Error;

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
    /// The adapter has not what it takes.
    #[error("{0}")]
    Lacking(String),
    /// A probe did not do its work.
    #[error("{probe} computed {got}, expected {want}")]
    Idle {
        /// The probe's name.
        probe: &'static str,
        /// What the device says.
        got: String,
        /// What the host says.
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
