//! Selects the variant of an operation that runs: the fastest one, if a measurement is known, or else the one whose
//! fields fit the device and the batch. The module [`crate::measure`] does the measuring.

use super::variants;
use crate::gpu::{Gpu, Kernel, Machine, Tuning, value};

/// The class of the shape `[batch, rows, cols]`: each length rounded up to three binary digits. All shapes of a class
/// share one choice of kernel.
pub fn class(shape: [usize; 3]) -> [usize; 3] {
    shape.map(|length| length.next_multiple_of(1 << length.max(4).ilog2().saturating_sub(2)))
}

/// The variant of an operation that this device runs for `[batch, rows, cols]`: the measured choice, if there is one,
/// or else the [`default`].
///
/// Operations of training use this function only if all their variants give equal bits. A measurement must not change
/// the result of a run.
///
/// # Panics
/// If no operation has this name.
pub fn chosen(gpu: &Gpu, operation: &'static str, shape: [usize; 3]) -> &'static Kernel {
    gpu.choice(operation, class(shape)).unwrap_or_else(|| default(gpu, operation, shape[0]))
}

/// The variant of an operation that this device runs for a batch of this size without any measurement.
///
/// # Panics
/// If no operation has this name.
pub fn default(gpu: &Gpu, operation: &str, batch: usize) -> &'static Kernel {
    preferred_for(gpu, variants(operation), batch)
}

/// The variant that was written for this kind of machine and that runs here, or else the base. A GPU takes the first
/// such variant. A software rasteriser takes the last one, because its variants are listed by growing register tile.
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

/// [`preferred`] for a batch of this size. Small batches have their own variants. On a software rasteriser the
/// smallest COLUMNS that holds the batch was measured to be fastest. On a GPU the choice is not measured.
pub(super) fn preferred_for(gpu: &Gpu, variants: &[&'static Kernel], batch: usize) -> &'static Kernel {
    let tile = preferred(gpu, variants);
    // One register tile of 16 batch rows is faster than two blocks of 8. Where no tile shares loads, blocks take any
    // batch.
    let most = match (tile.subgroup, tile.tile[1]) {
        (0, _) => usize::MAX,
        (_, 16) => 8,
        _ => 16,
    };
    if gpu.tuning() == Tuning::Gpu || batch > most {
        return tile;
    }
    // The variants whose lanes share loads here, listed by growing COLUMNS.
    let shares = |kernel: &&&Kernel| {
        kernel.made_for == Machine::Rasteriser && gpu.supports(kernel) && columns(gpu, kernel).is_some()
    };
    let holds = |kernel: &&&Kernel| columns(gpu, kernel).is_some_and(|columns| batch <= columns);
    let mut blocks = variants.iter().filter(shares);
    let largest = blocks.clone().next_back();
    blocks.find(holds).or(largest).copied().unwrap_or(tile)
}

/// The number of batch rows that share one reading of the weights, for a variant with such blocks.
pub(super) fn columns(gpu: &Gpu, kernel: &Kernel) -> Option<usize> {
    value(kernel.overrides(gpu.tuning()), "COLUMNS")
}
