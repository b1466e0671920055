//! What a matrix times rows of activations costs here: one row, as a token does, a few, or a batch, as training does.

use super::pool::{MOST_BUFFERS, sweep};
use super::product::{Format, Product};
use super::sample::{Effort, sample_cold};
use super::{Failure, ReadSpeed, Room};
use crate::gpu::Gpu;
use crate::kernels;
use crate::wall::{Ceilings, Floor, load_seconds};

/// `[rows, cols]` of the layers of BitNet b1.58 2B4T and of a 7B LLaMA, two that no cache holds, and MNIST's.
pub const GEMV_SHAPES: [[usize; 2]; 12] = [
    [2560, 2560],
    [640, 2560],
    [6912, 2560],
    [2560, 6912],
    [4096, 4096],
    [11_008, 4096],
    [4096, 11_008],
    [16_384, 16_384],
    [28_672, 16_384],
    [256, 784],
    [128, 256],
    [10, 128],
];

/// `[batch, rows, cols]` that are measured if nothing else is asked for: MNIST's layers in training, a batch
/// as large as the matrix, and on a GPU what only that is fast enough for.
pub fn matmul_shapes(gpu: &Gpu) -> Vec<[usize; 3]> {
    let mut shapes = vec![[128, 256, 784], [128, 128, 256], [128, 10, 128], [1024, 512, 1024]];
    if !gpu.is_software() {
        shapes.push([4096, 4096, 4096]);
    }
    shapes
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Matmul {
    /// `[batch, rows, cols]` each.
    pub shapes: Vec<[usize; 3]>,
    /// How long to measure each kernel at each shape.
    pub effort: Effort,
    /// Every variant that runs here, not only the one that this device would choose.
    pub all: bool,
    /// Only these operations, by name; empty for all.
    pub only: Vec<&'static str>,
    /// How much memory to use.
    pub room: Room,
}

/// One kernel at one shape.
#[derive(Clone, Debug)]
pub struct Row {
    /// The operation that it computes.
    pub operation: &'static str,
    /// The kernel's name.
    pub kernel: &'static str,
    /// Its overrides here.
    pub overrides: String,
    /// `[rows, cols]`.
    pub shape: [usize; 2],
    /// Rows of activations.
    pub batch: usize,
    /// Bytes that one product moves.
    pub bytes: u64,
    /// Bytes of all operands in rotation, and of what was read between laps where those are too few.
    pub working_set: u64,
    /// Parts that the matrix was cut into, because the adapter binds no larger buffer.
    pub blocks: usize,
    /// From the submission until it is done, for one product.
    pub median_seconds: f64,
    /// See `median_seconds`.
    pub min_seconds: f64,
    /// By the device's clock, where it has one.
    pub device_median_seconds: Option<f64>,
    /// All samples, sorted, by the wall.
    pub samples: Vec<f64>,
    /// Whether five runs agreed within 3 % before samples counted.
    pub settled: bool,
    /// Additions and multiplications.
    pub ops: u64,
    /// Of the fastest f32 kernel at this shape, how many times as fast this is.
    pub ratio_to_f32: Option<f64>,
    /// Of the fastest f16 kernel.
    pub ratio_to_f16: Option<f64>,
}

impl Row {
    /// The kernel, with its overrides where several variants of the operation bear its name.
    pub fn label(&self) -> String {
        let namesakes = kernels::variants(self.operation).iter().filter(|kernel| kernel.name == self.kernel);
        match namesakes.count() {
            1 => self.kernel.into(),
            _ => format!("{} {}", self.kernel, self.overrides),
        }
    }

    fn per_second(&self, amount: f64) -> f64 {
        1e-9 * amount / self.median_seconds
    }

    /// Bytes moved, in 1e9 per second.
    pub fn gb_per_s(&self) -> f64 {
        self.per_second(self.bytes as f64)
    }

    /// Additions and multiplications, in 1e9 per second.
    pub fn gops_per_s(&self) -> f64 {
        self.per_second(self.ops as f64)
    }

    /// Weights, in 1e9 per second; each counts once, however many rows of activations it meets.
    pub fn gweights_per_s(&self) -> f64 {
        self.per_second((self.shape[0] * self.shape[1]) as f64)
    }

    /// Products of a weight and an activation, in 1e9 per second.
    pub fn gmac_per_s(&self) -> f64 {
        0.5 * self.gops_per_s()
    }

    /// Seconds that it takes at least, by what was measured of this adapter; none where its arithmetic has no probe.
    pub fn floor(&self, read: &ReadSpeed, ceilings: &Ceilings) -> Option<Floor> {
        let arithmetic = match self.operation {
            "gemv_f32" | "gemv_f16" | "matmul_f32" | "matmul_f16" => &ceilings.fma_f32,
            "gemv_ternary_addsub" => &ceilings.add_i32,
            // One of its instructions counts 32 products.
            "gemv_bitplane" => return None,
            _ => &ceilings.dot4_i8,
        };
        Some(Floor {
            load_seconds: load_seconds(self.bytes as f64, 1e9 * read.gb_per_s),
            compute_seconds: self.ops as f64 / arithmetic.value()?,
            launch_seconds: self.blocks as f64 * ceilings.launch.value()?,
        })
    }

    /// Bandwidth as a share of what the read probe saw.
    pub fn percent_of_read(&self, read: &ReadSpeed) -> f64 {
        100.0 * self.gb_per_s() / read.gb_per_s
    }
}

/// `256x784`, or with a batch `256x784x128`: a shape `[batch, rows, cols]` as it is written.
pub fn lengths([batch, rows, cols]: [usize; 3]) -> String {
    match batch {
        1 => format!("{rows}x{cols}"),
        _ => format!("{rows}x{cols}x{batch}"),
    }
}

/// A shape in a format, or by a variant, that was left out.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The operation, or the variant.
    pub operation: &'static str,
    /// `[rows, cols]`.
    pub shape: [usize; 2],
    /// Rows of activations.
    pub batch: usize,
    /// Why.
    pub reason: String,
}

/// Measures every format at every shape; rows come in the order of the shapes.
///
/// # Errors
/// If the device failed, or a kernel differs from its twin.
pub fn matmul(
    gpu: &Gpu,
    what: &Matmul,
    progress: &mut dyn FnMut(String),
) -> Result<(Vec<Row>, Vec<Skipped>), Failure> {
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for &[batch, outputs, inputs] in &what.shapes {
        let (first, shape) = (rows.len(), [outputs, inputs]);
        let at = lengths([batch, outputs, inputs]);
        let mut skip = |operation, reason: String, progress: &mut dyn FnMut(String)| {
            progress(format!("{operation} {at} left out: {reason}"));
            skipped.push(Skipped { operation, shape, batch, reason });
        };
        let operations = Format::ALL.into_iter().filter_map(|format| format.operation(batch));
        for operation in operations.filter(|name| what.only.is_empty() || what.only.contains(name)) {
            let product =
                match Product::new(gpu, operation, [batch, outputs, inputs], what.room, MOST_BUFFERS)? {
                    Ok(product) => product,
                    Err(reason) => {
                        skip(operation, reason, progress);
                        continue;
                    }
                };
            let chosen = kernels::chosen(gpu, operation, [batch, outputs, inputs]);
            for &kernel in kernels::variants(operation) {
                if kernel != chosen && !what.all {
                    continue;
                }
                if let Some(reason) = gpu.lacks(kernel) {
                    skip(kernel.name, reason, progress);
                    continue;
                }
                let instances = product.bind(gpu, kernel);
                product.check(gpu, kernel, &instances[0])?;
                let bytes = product.bytes(&instances[0]);
                let mut swept = 0;
                let samples = sample_cold(gpu, &instances, what.effort, |rotated| {
                    let lacking = what.room.working_set.saturating_sub(bytes * rotated as u64);
                    let ops = sweep(gpu, lacking)?;
                    swept = ops.iter().map(|op| op.tensors()[0].bytes()).sum();
                    Ok::<_, Failure>(ops)
                })?;
                let row = Row {
                    operation,
                    kernel: kernel.name,
                    overrides: kernel.settings(gpu.tuning()),
                    shape,
                    batch,
                    bytes,
                    working_set: bytes * samples.rotated as u64 + swept,
                    blocks: instances[0].len(),
                    median_seconds: samples.median(),
                    min_seconds: samples.min(),
                    device_median_seconds: samples.device_median(),
                    samples: samples.wall,
                    settled: samples.settled,
                    ops: 2 * (batch * outputs * inputs) as u64,
                    ratio_to_f32: None,
                    ratio_to_f16: None,
                };
                progress(format!("{} {at}: {:.3} ms", row.label(), 1e3 * row.median_seconds));
                rows.push(row);
            }
        }
        compare(&mut rows[first..], [Format::F32, Format::F16].map(|dense| dense.operation(batch)));
    }
    Ok((rows, skipped))
}

/// How many times as fast as the fastest dense product of the same shape each row is, in f32 and in f16.
fn compare(rows: &mut [Row], dense: [Option<&str>; 2]) {
    let fastest = |operation: &str| {
        let of = |row: &&Row| row.operation == operation;
        rows.iter().filter(of).map(|row| row.median_seconds).reduce(f64::min)
    };
    let [f32, f16] = dense.map(|dense| dense.and_then(fastest));
    for row in rows {
        [row.ratio_to_f32, row.ratio_to_f16] =
            [f32, f16].map(|dense| dense.map(|dense| dense / row.median_seconds));
    }
}

/// Those that seem to move bytes faster than the probe that only reads: one of the two is wrong, and so may be all.
pub fn faster_than_reading<'a>(rows: &'a [Row], read: &ReadSpeed) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(|row| row.percent_of_read(read) > 100.0)
}

/// A row that nobody measured, for tests: `bytes` in a second.
#[cfg(test)]
pub(super) fn made_up(bytes: u64) -> Row {
    Row {
        operation: "gemv_f32",
        kernel: "gemv_f32",
        overrides: String::new(),
        shape: [1, 1],
        batch: 1,
        bytes,
        working_set: 1 << 30,
        blocks: 1,
        median_seconds: 1.0,
        min_seconds: 1.0,
        device_median_seconds: None,
        samples: vec![1.0],
        settled: true,
        ops: 2,
        ratio_to_f32: None,
        ratio_to_f16: None,
    }
}

#[cfg(test)]
mod tests {
    use super::made_up as row;
    use super::*;
    use crate::bench::read;

    #[test]
    fn what_seems_faster_than_reading_is_found() {
        let rows = [row(10_000_000_000), row(10_000_000_001), row(11_000_000_000)];
        let found: Vec<u64> = faster_than_reading(&rows, &read::made_up(10.0)).map(|row| row.bytes).collect();
        assert_eq!(found, [10_000_000_001, 11_000_000_000]);
    }

    #[test]
    fn ratios_are_to_the_fastest_dense_product() {
        let mut rows = [row(1), row(1), Row { operation: "gemv_ternary", ..row(1) }];
        (rows[1].median_seconds, rows[2].median_seconds) = (0.5, 0.125);
        compare(&mut rows, [Some("gemv_f32"), None]);
        assert_eq!(rows.each_ref().map(|row| row.ratio_to_f32), [Some(0.5), Some(1.0), Some(4.0)]);
        assert!(rows.iter().all(|row| row.ratio_to_f16.is_none()));
    }
}
