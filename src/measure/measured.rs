//! The measurement of one product: one row of activations as for a token, a few rows, or a batch as in training.

use serde::{Deserialize, Serialize};

use super::ceilings::{Bound, Ceilings, Floor, Measure, Probe, spread};
use super::kept::{Keeping, Kept};
use super::product::{Product, WeightFormat};
use super::room::{MOST_BUFFERS, Room, sweep};
use super::sample::{Effort, sample_cold};
use super::tuning::LeftOut;
use super::{MeasureError, Wanted, Watch, probes};
use crate::gpu::{Cost, Gpu, Kernel};
use crate::kernels;

/// The reason why a kernel was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chosen {
    /// The tuner found it to be the fastest on this adapter.
    Tuned,
    /// So it was, but its rivals could not be told apart then, or there was no time for all.
    Provisional,
    /// It is the default, because the operation was not tuned.
    Default,
    /// It is the only kernel of the operation that runs here.
    Only,
}

/// The measurement of one product at one shape with one kernel. It is a line of a benchmark and a point of the
/// roofline.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// The format of the weights, see [`WeightFormat::name`].
    pub format: String,
    /// The kernel that ran.
    pub kernel: String,
    /// The kernel's settings.
    pub overrides: String,
    /// The reason why this kernel was used. It is `None` in files of older versions.
    pub chosen: Option<Chosen>,
    /// Number of outputs of the matrix.
    pub rows: usize,
    /// Number of inputs of the matrix.
    pub cols: usize,
    /// Number of rows of activations.
    pub batch: usize,
    /// Bytes of the product: matrix, activations and outputs, each counted once.
    pub bytes: u64,
    /// Additions and multiplications.
    pub ops: u64,
    /// Operations per byte.
    pub intensity: f64,
    /// Median seconds from the submission until the host knows that the work is done.
    pub median_seconds: f64,
    /// Seconds of the fastest sample.
    pub min_seconds: f64,
    /// The distance from the first to the third quartile of the samples, divided by their median.
    #[serde(default)]
    pub spread: f64,
    /// Operations per second.
    pub ops_per_second: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// The shortest time that the ceilings allow. It is `None` if a ceiling is missing.
    pub floor: Option<Floor>,
    /// The ceiling that bounds this product.
    pub bound_by: Option<Bound>,
    /// The shortest time that the ceilings allow, divided by the measured time.
    pub reached: Option<f64>,
    /// Bytes of all operands in rotation. If those are too few, it includes the bytes that are read between samples.
    pub working_set_bytes: u64,
    /// Number of parts of a matrix that is larger than the memory. The measurement is for one part.
    pub parts: usize,
    /// Seconds of every sample, in ascending order.
    pub sample_seconds: Vec<f64>,
    /// Median seconds by the device's clock, if it has one.
    #[serde(skip)]
    pub device_median_seconds: Option<f64>,
    /// Whether laps agreed before the first sample.
    #[serde(skip)]
    pub settled: bool,
    /// Number of dispatches of the product. A matrix above the adapter's binding limit is split into blocks.
    #[serde(skip)]
    pub blocks: usize,
}

impl Measured {
    /// Compares it with the ceilings: sets `floor`, `bound_by` and `reached`.
    pub fn judge(&mut self, ceilings: &Ceilings) {
        let cost = Cost { bytes: self.bytes, ops: self.ops };
        let launch = ceilings.launch.value().map(|launch| self.blocks as f64 * launch);
        let format = WeightFormat::named(&self.format);
        self.floor = format.and_then(|format| ceilings.floor(cost, format.arithmetic(), launch));
        self.bound_by = self.floor.map(|floor| floor.bound());
        self.reached = self.floor.map(|floor| floor.seconds() / self.median_seconds);
    }

    /// Whether it took less time than the ceilings allow. In that case the measurement of a ceiling was disturbed.
    pub fn beats_ceilings(&self) -> bool {
        self.reached.is_some_and(|share| share > 1.0)
    }

    /// The operation that it computes.
    pub fn operation(&self) -> &'static str {
        let format = WeightFormat::named(&self.format).and_then(|format| format.operation(self.batch));
        format.expect("what was measured has an operation")
    }

    /// The kernel's name. It includes the settings if several variants of the operation have this name.
    pub fn label(&self) -> String {
        let variants = kernels::variants(self.operation()).iter();
        match variants.filter(|kernel| kernel.name == self.kernel).count() {
            1 => self.kernel.clone(),
            _ => format!("{} {}", self.kernel, self.overrides),
        }
    }

    /// `[batch, rows, cols]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.batch, self.rows, self.cols]
    }

    /// Weights per second. Each weight counts once for any number of rows of activations.
    pub fn weights_per_second(&self) -> f64 {
        (self.rows * self.cols) as f64 / self.median_seconds
    }

    /// Bytes per second, divided by the measured rate of reading.
    pub fn of_reading(&self, ceilings: &Ceilings) -> Option<f64> {
        Some(self.bytes_per_second / ceilings.read.value()?)
    }

    /// The speed relative to the fastest product in this format and with the same shape among `all`.
    pub fn speedup_over(&self, format: WeightFormat, all: &[Measured]) -> Option<f64> {
        let rivals =
            all.iter().filter(|other| other.format == format.name() && other.shape() == self.shape());
        let best = rivals.map(|rival| rival.median_seconds).reduce(f64::min)?;
        Some(best / self.median_seconds)
    }
}

/// Measures a product with one kernel, after a comparison with its twin.
pub(super) fn measure(
    gpu: &Gpu,
    wanted: Wanted,
    product: &Product,
    kernel: &'static Kernel,
    room: Room,
    effort: Effort,
) -> Result<Measured, MeasureError> {
    let instances = product.checked(gpu, kernel)?;
    let bytes = product.bytes(&instances[0]);
    let mut swept = 0;
    let samples = sample_cold(gpu, &instances, effort, |rotated| {
        let lacking = room.working_set.saturating_sub(bytes * rotated as u64);
        let ops = sweep(gpu, lacking)?;
        swept = ops.iter().map(|op| op.tensors()[0].bytes()).sum();
        Ok::<_, MeasureError>(ops)
    })?;
    let ([batch, rows, cols], seconds) = (wanted.shape, samples.median());
    let ops = 2 * (batch * rows * cols) as u64;
    let format = WeightFormat::of(wanted.operation).expect("there is such a product");
    Ok(Measured {
        format: format.name().into(),
        kernel: kernel.name.into(),
        overrides: kernel.settings(gpu.tuning()),
        rows,
        cols,
        batch,
        bytes,
        ops,
        intensity: ops as f64 / bytes as f64,
        median_seconds: seconds,
        min_seconds: samples.min(),
        spread: spread(&samples.wall),
        ops_per_second: ops as f64 / seconds,
        bytes_per_second: bytes as f64 / seconds,
        working_set_bytes: bytes * samples.rotated as u64 + swept,
        parts: 1,
        device_median_seconds: samples.device_median(),
        sample_seconds: samples.wall,
        settled: samples.settled,
        blocks: instances[0].len(),
        ..Measured::default()
    })
}

/// A benchmark of products, and of the ceilings for comparison.
#[derive(Clone, Debug)]
pub struct Benchmark {
    /// The shapes `[batch, rows, cols]`.
    pub shapes: Vec<[usize; 3]>,
    /// Seconds for each ceiling, and for each kernel at each shape. It takes longer if all samples need longer.
    pub seconds: f64,
    /// Whether to measure every variant that runs here, or only the one that this device would choose.
    pub all: bool,
    /// The memory for the measurement.
    pub room: Room,
    /// Where ceilings are kept.
    pub keeping: Keeping,
}

/// The results of a benchmark.
#[derive(Clone, Debug)]
pub struct Benchmarked {
    /// Every product, in the order of the shapes.
    pub all: Vec<Measured>,
    /// Products that were left out.
    pub left_out: Vec<LeftOut>,
    /// The ceilings.
    pub ceilings: Ceilings,
    /// The ceiling of reading, which is compared with every product.
    pub read: Measure,
    /// Seconds since the ceilings were measured, if they came from the file.
    pub kept_seconds: Option<f64>,
}

impl Benchmark {
    /// Measures the ceilings, unless the file has them, and every format at every shape. Then it measures reading
    /// again, because other work on the machine may have ended. If a product still seems faster than reading, it
    /// measures reading once more.
    ///
    /// # Errors
    /// If the device failed, a kernel differs from its twin, or reading cannot be measured.
    pub fn run(&self, gpu: &Gpu, watch: &mut Watch) -> Result<Benchmarked, MeasureError> {
        let limits = ["read", "fma_f32", "add_i32", "dot4_i8", "launch"];
        let seconds = self.seconds;
        let (mut kept, kept_seconds) = self.keeping.ceilings(gpu, &limits, self.room, seconds, watch);
        let (mut all, left_out) = self.products(gpu, watch)?;
        let mut again = |kept: &mut Kept| {
            let read = probes::ceilings(gpu, &limits[..1], self.room, seconds, watch);
            kept.ceilings = kept.ceilings.clone().better(read);
        };
        if kept_seconds.is_none() {
            again(&mut kept);
        }
        if faster_than_reading(&all, &kept.ceilings).next().is_some() {
            again(&mut kept);
        }
        self.keeping.keep(&kept);
        let ceilings = kept.ceilings;
        all.iter_mut().for_each(|one| one.judge(&ceilings));
        match ceilings.read.clone() {
            Probe::Missing { missing } => Err(MeasureError::Lacking(missing)),
            Probe::Measured(read) => Ok(Benchmarked { all, left_out, ceilings, read, kept_seconds }),
        }
    }

    fn products(&self, gpu: &Gpu, watch: &mut Watch) -> Result<(Vec<Measured>, Vec<LeftOut>), MeasureError> {
        let (mut found, mut left_out) = (Vec::new(), Vec::new());
        let mut skip = |wanted: Wanted, reason: String, watch: &mut Watch| {
            (watch.tell)(format!("{wanted} left out: {reason}"));
            left_out.push((wanted, reason));
        };
        for wanted in self.shapes.iter().flat_map(|&shape| Wanted::all(shape)) {
            let product = match Product::new(gpu, wanted, self.room, MOST_BUFFERS)? {
                Ok(product) => product,
                Err(reason) => {
                    skip(wanted, reason, watch);
                    continue;
                }
            };
            let chosen = kernels::chosen(gpu, wanted.operation, wanted.shape);
            let variants = kernels::variants(wanted.operation).iter();
            for &kernel in variants.filter(|&&kernel| kernel == chosen || self.all) {
                if let Some(reason) = gpu.lacks(kernel) {
                    skip(Wanted { operation: kernel.name, ..wanted }, reason, watch);
                    continue;
                }
                let measured =
                    measure(gpu, wanted, &product, kernel, self.room, Effort::Whole(self.seconds))?;
                let at = super::lengths(wanted.shape);
                (watch.tell)(format!("{} {at}: {:.3} ms", measured.label(), 1e3 * measured.median_seconds));
                found.push(measured);
            }
        }
        Ok((found, left_out))
    }
}

/// Products that seem to move bytes faster than the probe that only reads. One of the two measurements is then wrong.
pub fn faster_than_reading<'a>(
    all: &'a [Measured],
    ceilings: &Ceilings,
) -> impl Iterator<Item = &'a Measured> {
    all.iter().filter(|measured| measured.of_reading(ceilings).is_some_and(|share| share > 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(bytes: u64, ops: u64, median_seconds: f64) -> Measured {
        let bytes_per_second = bytes as f64 / median_seconds;
        let format = "f32".into();
        Measured { format, bytes, ops, median_seconds, bytes_per_second, blocks: 1, ..Measured::default() }
    }

    #[test]
    fn what_seems_faster_than_reading_is_found() {
        let all = [10_000_000_000, 10_000_000_001, 11_000_000_000].map(|bytes| measured(bytes, 2, 1.0));
        let ceilings = Ceilings { read: Measure::made_up(1e10, "byte/s"), ..Ceilings::none("made up") };
        let found: Vec<u64> = faster_than_reading(&all, &ceilings).map(|one| one.bytes).collect();
        assert_eq!(found, [10_000_000_001, 11_000_000_000]);
    }

    #[test]
    fn ratios_are_to_the_fastest_dense_product() {
        let mut all = [1.0, 0.5, 0.125, 0.1].map(|seconds| measured(1, 1, seconds));
        all[2].format = "2-bit".into();
        // A product of another shape is not compared.
        all[3].batch = 7;
        let ratios = |format| all.each_ref().map(|one| one.speedup_over(format, &all));
        assert_eq!(ratios(WeightFormat::F32)[..3], [Some(0.5), Some(1.0), Some(4.0)]);
        assert!(ratios(WeightFormat::F16).iter().all(Option::is_none));
    }

    #[test]
    fn a_product_is_judged_by_its_own_arithmetic() {
        let ceilings = Ceilings {
            read: Measure::made_up(1e12, "byte/s"),
            fma_f32: Measure::made_up(1e13, "op/s"),
            launch: Measure::made_up(5e-6, "s"),
            ..Ceilings::none("made up")
        };
        for (bytes, ops, seconds, bound, reached) in [
            (1 << 30, 1 << 29, 2.147_483_648e-3, Bound::Bandwidth, 0.5),
            (1 << 20, 1 << 40, 0.219_902_325_555_2, Bound::Compute, 0.5),
            (1 << 20, 1 << 19, 2e-5, Bound::Launch, 0.25),
            // The ridge, at 10 operations per byte.
            (1 << 30, 10 << 30, 0.01, Bound::Balanced, 0.107_374_182_4),
        ] {
            let mut one = measured(bytes, ops, seconds);
            one.judge(&ceilings);
            assert_eq!(one.bound_by, Some(bound), "{bytes} bytes, {ops} operations");
            let got = one.reached.unwrap();
            assert!((got - reached).abs() < 1e-9, "{got}");
        }
        // The ceiling of int8 is missing here.
        let mut unknown = Measured { format: "2-bit".into(), ..measured(1 << 30, 1 << 29, 1.0) };
        unknown.judge(&ceilings);
        assert!(unknown.bound_by.is_none() && unknown.reached.is_none());
    }
}
