//! The speed of an adapter, and how close the kernels come to its limits. Each figure belongs to a kernel that has
//! just matched its twin, on data that no cache holds. This module prints nothing. It keeps two files: the choices of
//! [`tuning`] and the ceilings of [`kept`].
//!
//! Every program can use [`tuning`]. The commands `sterna bench`, `profile` and `wall` show the rest: [`probes`]
//! measure the [`ceilings`](mod@ceilings), [`measured`] compares products with them, [`profile`](mod@profile) splits
//! the time of a step, [`scale`](mod@scale) plans several ranks, and [`wall`] combines all of it.

// Without the feature `cli` only the tuner measures.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

#[cfg(feature = "cli")]
pub mod ceilings;
#[cfg(feature = "cli")]
pub mod decode;
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
#[cfg(feature = "cli")]
pub mod scale;
pub mod tuning;
#[cfg(feature = "cli")]
pub mod wall;

pub use product::{GEMV_SHAPES, WEIGHT_FORMATS, WeightFormat, matmul_shapes, rotation};
pub use room::{Room, WORKING_SET, WORKING_SET_ON_CPU};
pub use sample::{Effort, SAMPLES, median, quartiles};
pub use tuning::Wanted;

use crate::gpu::Error;

/// Callbacks for a measurement.
pub struct Watch<'a> {
    /// Receives results in words.
    pub tell: &'a mut dyn FnMut(String),
    /// Returns whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// The reason for a missing figure after the user asked to stop.
pub const INTERRUPTED: &str = "interrupted";

/// A shape `[batch, rows, cols]` as text: `256x784`, or with a batch `256x784x128`.
pub fn lengths([batch, rows, cols]: [usize; 3]) -> String {
    match batch {
        1 => format!("{rows}x{cols}"),
        _ => format!("{rows}x{cols}x{batch}"),
    }
}

/// The reason why a measurement ended without a figure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MeasureError {
    /// The device failed or lacks memory.
    #[error(transparent)]
    Device(#[from] Error),
    /// A kernel's result differs from that of its twin.
    #[error("{kernel} differs from its twin at {rows}x{cols}, row {row}: {got}, expected {want}")]
    Wrong {
        /// The kernel's name.
        kernel: &'static str,
        /// Number of outputs of the matrix.
        rows: usize,
        /// Number of inputs of the matrix.
        cols: usize,
        /// The first output that differs.
        row: usize,
        /// The device's result.
        got: String,
        /// The twin's result.
        want: String,
    },
    /// The adapter or the machine lacks something.
    #[error("{0}")]
    Lacking(String),
    /// A probe gave a wrong result.
    #[error("{probe} computed {got}, expected {want}")]
    Idle {
        /// The probe's name.
        probe: &'static str,
        /// The device's result.
        got: String,
        /// The host's result.
        want: String,
    },
    /// The digest of the read probe does not fit the data.
    #[error("probe_read did not read what it was given: digest {got:08x}, expected {want:08x}")]
    Unread {
        /// The digest of the device.
        got: u32,
        /// The digest of the data.
        want: u32,
    },
}
