//! How fast an adapter is, and how near to its limits the kernels come. Each figure is of a kernel that just equalled its
//! twin, on data that no cache holds. Prints nothing, and keeps no files but the choices of [`tuning`] and the ceilings of
//! [`kept`].
//!
//! [`tuning`] is for every program. The rest is what `sterna bench`, `profile` and `wall` show: [`ceilings`](mod@ceilings)
//! by [`probes`], products held against them ([`measured`]), where a step's time goes ([`profile`](mod@profile)), and all
//! of it together ([`wall`]).

// Without the program nothing but the tuner measures.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

#[cfg(feature = "cli")]
pub mod ceilings;
#[cfg(feature = "cli")]
pub mod kept;
#[cfg(feature = "cli")]
pub mod measured;
#[cfg(feature = "cli")]
pub mod probes;
mod product;
#[cfg(feature = "cli")]
pub mod profile;
mod room;
mod sample;
pub mod tuning;
#[cfg(feature = "cli")]
pub mod wall;

pub use product::{GEMV_SHAPES, WEIGHT_FORMATS, WeightFormat, matmul_shapes, rotation};
pub use room::{Room, WORKING_SET, WORKING_SET_ON_CPU};
pub use sample::{Effort, SAMPLES, quartiles};
pub use tuning::Wanted;

use crate::gpu::Error;

/// Who follows a measurement.
pub struct Watch<'a> {
    /// Hears what was found.
    pub tell: &'a mut dyn FnMut(String),
    /// Says whether to measure nothing more.
    pub stop: &'a dyn Fn() -> bool,
}

/// Why there is no figure when the user asked to end.
pub const INTERRUPTED: &str = "interrupted";

/// `256x784`, or with a batch `256x784x128`: how a shape `[batch, rows, cols]` is written.
pub fn lengths([batch, rows, cols]: [usize; 3]) -> String {
    match batch {
        1 => format!("{rows}x{cols}"),
        _ => format!("{rows}x{cols}x{batch}"),
    }
}

/// Why a measurement ended without a figure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MeasureError {
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
    /// The adapter or the machine lacks something.
    #[error("{0}")]
    Lacking(String),
    /// A probe did not do its work.
    #[error("{probe} computed {got}, expected {want}")]
    Idle {
        /// The probe's name.
        probe: &'static str,
        /// What the device computed.
        got: String,
        /// What the host computed.
        want: String,
    },
    /// The read probe's digest is not that of the data.
    #[error("probe_read did not read what it was given: digest {got:08x}, expected {want:08x}")]
    Unread {
        /// The xor of what the device read.
        got: u32,
        /// The xor of the data.
        want: u32,
    },
}
