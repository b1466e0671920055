//! Which variant of an operation runs: what was the fastest here if somebody measured, or else the one whose fields fit
//! the device and the batch. Measures nothing; that is [`crate::measure`].

use super::variants;
use crate::gpu::{Gpu, Kernel, Machine, Tuning, value};

/// What stands for the shapes `[batch, rows, cols]` that share a choice of kernel: each length rounded up to three
/// binary digits.
pub fn class(shape: [usize; 3]) -> [usize; 3] {
    shape.map(|length| length.next_multiple_of(1 << length.max(4).ilog2().saturating_sub(2)))
}

/// The variant of an operation that this device would run for `[batch, rows, cols]`: what was the fastest, if it was
/// tried, or else the [`default`].
///
/// Operations that train a network ask this only if all their variants give equal bits: what a measurement
/// said must not change a run.
///
/// # Panics
/// If there is no such operation.
pub fn chosen(gpu: &Gpu, operation: &'static str, shape: [usize; 3]) -> &'static Kernel {
    gpu.choice(operation, class(shape)).unwrap_or_else(|| default(gpu, operation, shape[0]))
}

/// The variant of an operation that this device would run for a batch of so many rows if it knew of no measurement.
///
/// # Panics
/// If there is no such operation.
pub fn default(gpu: &Gpu, operation: &str, batch: usize) -> &'static Kernel {
    preferred_for(gpu, variants(operation), batch)
}

/// The shader that was written for such a machine, of those that run here; else the base. A software rasteriser's are
/// listed by growing register tile, and it takes the last.
pub(super) fn preferred(gpu: &Gpu, variants: &[&'static Kernel]) -> &'static Kernel {
    let machine = gpu.machine();
    let fits = |kernel: &&&'static Kernel| {
        kernel.made_for == machine && gpu.supports(kernel) && columns(gpu, kernel).is_none()
    };
    let mut fitting = variants.iter().filter(fits);
    let chosen = match machine {
        Machine::Rasteriser => fitting.next_back(),
        Machine::Gpu | Machine::GpuWithoutDot => fitting.next(),
    };
    chosen.copied().unwrap_or(variants[0])
}

/// [`preferred`] for a batch of so many rows. Small ones have variants of their own, of which a software rasteriser was
/// measured fastest with the COLUMNS that just hold the batch; a GPU's are not measured.
pub(super) fn preferred_for(gpu: &Gpu, variants: &[&'static Kernel], batch: usize) -> &'static Kernel {
    let tile = preferred(gpu, variants);
    // One register tile of 16 batch rows beats two blocks of 8; where no tile shares loads, blocks take any batch.
    let most = match (tile.subgroup, tile.tile[1]) {
        (0, _) => usize::MAX,
        (_, 16) => 8,
        _ => 16,
    };
    if gpu.tuning() == Tuning::Gpu || batch > most {
        return tile;
    }
    // Those that share loads here, listed by growing COLUMNS.
    let shares = |kernel: &&&Kernel| {
        kernel.made_for == Machine::Rasteriser && gpu.supports(kernel) && columns(gpu, kernel).is_some()
    };
    let holds = |kernel: &&&Kernel| columns(gpu, kernel).is_some_and(|columns| batch <= columns);
    let mut blocks = variants.iter().filter(shares);
    let largest = blocks.clone().next_back();
    blocks.find(holds).or(largest).copied().unwrap_or(tile)
}

/// Rows of activations that share one reading of the weights, where a variant has blocks of them.
pub(super) fn columns(gpu: &Gpu, kernel: &Kernel) -> Option<usize> {
    value(kernel.overrides(gpu.tuning()), "COLUMNS")
}
