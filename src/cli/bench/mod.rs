//! `sterna bench`: how fast the kernels are on this adapter, beside its own limits.

mod train;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{DeviceFlags, Failure, MemoryFlags, Outcome, Verdict, failure, object};
use crate::gpu::Gpu;
use crate::measure::ceilings::{Ceilings, Measure, Probe};
use crate::measure::measured::{Benchmark, Measured, faster_than_reading};
use crate::measure::tuning::LeftOut;
use crate::measure::{
    Effort, GEMV_SHAPES, SAMPLES, Wanted, Watch, WeightFormat, lengths, matmul_shapes, probes,
};
use crate::report::{columns, thousands};

#[derive(Args)]
pub struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A matrix times one row of activations, or a few: what one token costs.
    Gemv(GemvFlags),
    /// A matrix times a batch of activations: what training and a prompt cost.
    Matmul(MatmulFlags),
    /// Seconds per epoch of the default recipe on MNIST, and to 97 and 98.5 % on the test set.
    Train(train::Flags),
}

const EXAMPLES: &str = "\
Examples:
  sterna bench gemv                             BitNet 2B4T, a 7B LLaMA, MNIST, and larger
  sterna bench gemv --shapes 4096x4096 --all    every variant at one shape
  sterna bench gemv --batch 4                   four rows of activations at once
  sterna bench gemv --seconds 3 --json          steadier figures, for scripts

Each kernel is first held against its twin on the CPU, then timed over matrices in rotation
that no cache holds together (between runs of small ones, other memory is read), from the
submission until it is done; the median is what counts. `% read` is of the bandwidth that this
adapter reached in the same run, before or after, by a kernel that only reads. `x f32`: how many
times as fast as the fastest f32 kernel; `x f16` likewise. `bound by` is the lowest ceiling of those
measured here (bandwidth, the arithmetic that a format is made for, or the cost of a dispatch),
beside it the share that was reached. Exit code 1: a kernel seems faster than reading, so the
figures cannot be trusted.";

const MATMUL_EXAMPLES: &str = "\
Examples:
  sterna bench matmul                                MNIST's layers in training, and larger
  sterna bench matmul --shapes 4096x4096             at batch 128
  sterna bench matmul --shapes 512x1024x1024 --all   every variant at one shape
  sterna bench matmul --seconds 3 --json             steadier figures, for scripts

A GMAC is 1e9 products of a weight and an activation, each a multiplication and an addition. Each
kernel is first held against its twin on the CPU, then timed over operands in rotation. `bound by` is
the lowest ceiling of those measured here, beside it the share that was reached: for trits that of
int8 dot products, which a kernel that multiplies otherwise may exceed.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct GemvFlags {
    /// Matrices as ROWSxCOLS, separated by commas.
    #[arg(long, value_name = "SHAPES", value_delimiter = ',', value_parser = shape)]
    shapes: Vec<[usize; 2]>,
    /// Rows of activations, 1 to 16; with more than one, in the formats that have a kernel for it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = batch)]
    batch: usize,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
#[command(after_help = MATMUL_EXAMPLES)]
struct MatmulFlags {
    /// Products as ROWSxCOLSxBATCH, or ROWSxCOLS at batch 128, separated by commas.
    #[arg(long, value_name = "SHAPES", value_delimiter = ',', value_parser = training_shape)]
    shapes: Vec<[usize; 3]>,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
struct CommonFlags {
    /// Seconds for each kernel at each shape, warming up included; more where 21 samples take longer.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Every variant that runs here, not only the one that this adapter would use.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    memory: MemoryFlags,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// `4096x4096`.
pub fn shape(text: &str) -> Result<[usize; 2], String> {
    let sizes = text.split_once('x').and_then(|(rows, cols)| Some([rows.parse().ok()?, cols.parse().ok()?]));
    match sizes {
        Some([rows, cols]) if (1..=1 << 24).contains(&rows) && (1..=1 << 24).contains(&cols) => {
            Ok([rows, cols])
        }
        _ => Err("a shape is ROWSxCOLS, for instance 4096x4096".into()),
    }
}

fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(batch) if (1..=16).contains(&batch) => Ok(batch),
        _ => Err("give 1 to 16 rows of activations".into()),
    }
}

/// `256x784`, or with a batch `256x784x128`, as `[batch, rows, cols]`.
pub(super) fn batched_shape(text: &str) -> Result<[usize; 3], String> {
    shape_or_at(text, 1)
}

/// The same for what a batch is multiplied by.
fn training_shape(text: &str) -> Result<[usize; 3], String> {
    match shape_or_at(text, 128)? {
        [1, ..] => Err("a batch of 1 is measured by `sterna bench gemv`".into()),
        shape => Ok(shape),
    }
}

fn shape_or_at(text: &str, batch: usize) -> Result<[usize; 3], String> {
    let lengths: Option<Vec<usize>> = text.split('x').map(|length| length.parse().ok()).collect();
    let [rows, cols, batch] = match lengths.as_deref() {
        Some(&[rows, cols]) => [rows, cols, batch],
        Some(&[rows, cols, batch]) => [rows, cols, batch],
        _ => [0; 3],
    };
    match [batch, rows, cols].iter().all(|length| (1..=1 << 24).contains(length)) {
        true => Ok([batch, rows, cols]),
        false => Err("a shape is ROWSxCOLS or ROWSxCOLSxBATCH, for instance 256x784x128".into()),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds between 0 and 3600".into()),
    }
}

pub fn run(flags: &Flags) -> Outcome {
    match &flags.what {
        What::Gemv(flags) => gemv(flags),
        What::Matmul(flags) => matmul(flags),
        What::Train(flags) => train::run(flags),
    }
}

fn gemv(flags: &GemvFlags) -> Outcome {
    let given = &flags.shapes[..];
    let given = if given.is_empty() { &GEMV_SHAPES[..] } else { given };
    let shapes = given.iter().map(|&[rows, cols]| [flags.batch, rows, cols]).collect();
    products("gemv", &flags.common, |_| shapes, Some(flags.batch))
}

fn matmul(flags: &MatmulFlags) -> Outcome {
    let shapes = |gpu: &Gpu| match flags.shapes.is_empty() {
        true => matmul_shapes(gpu),
        false => flags.shapes.clone(),
    };
    products("matmul", &flags.common, shapes, None)
}

/// Measures products; `batch` is that of all, where they share one.
fn products(
    bench: &str,
    flags: &CommonFlags,
    shapes: impl FnOnce(&Gpu) -> Vec<[usize; 3]>,
    batch: Option<usize>,
) -> Outcome {
    let gpu = flags.device.open()?;
    super::tell(format!("bench {bench} on {}", super::gpu_line(&gpu)));
    let shapes = shapes(&gpu);
    if !flags.all {
        let wanted: Vec<Wanted> = shapes.iter().flat_map(|&shape| Wanted::at(&gpu, shape)).collect();
        // A product with a batch takes longer.
        let each = if batch.is_some() { 1.0 } else { 2.0 };
        flags.device.tune(&gpu, &wanted, each)?;
    }
    let found = Found::measure(&gpu, shapes, flags)?;
    found.print()?;
    if flags.json {
        super::print_json("bench", found.json(bench, batch))?;
    }
    found.verdict()
}

/// What a benchmark found, beside what this adapter can do at most.
struct Found<'a> {
    gpu: &'a Gpu,
    all: Vec<Measured>,
    left_out: Vec<LeftOut>,
    ceilings: Ceilings,
}

/// The ceilings that products are held against.
const LIMITS: [&str; 5] = ["read", "fma_f32", "add_i32", "dot4_i8", "launch"];

impl Found<'_> {
    /// Measures the ceilings and the products, and then reading once more: a machine whose other work ended meanwhile is
    /// faster now. Whatever still seems faster than reading makes the probe read a third time.
    fn measure<'a>(gpu: &'a Gpu, shapes: Vec<[usize; 3]>, flags: &CommonFlags) -> Result<Found<'a>, Failure> {
        let (seconds, room) = (flags.seconds, flags.device.found(flags.memory.room(gpu))?);
        let mut watch = Watch { tell: &mut |line: String| super::tell(line), stop: &|| false };
        let mut ceilings = probes::ceilings(gpu, &LIMITS, room, seconds, &mut watch);
        let benchmark = Benchmark { shapes, effort: Effort::Whole(seconds), all: flags.all, room };
        let (mut all, left_out) = benchmark.run(gpu, &mut watch).map_err(failure)?;
        ceilings = ceilings.better(probes::ceilings(gpu, &["read"], room, seconds, &mut watch));
        if faster_than_reading(&all, &ceilings).next().is_some() {
            (watch.tell)("a kernel seems faster than reading: the probe reads once more".into());
            ceilings = ceilings.better(probes::ceilings(gpu, &["read"], room, seconds, &mut watch));
        }
        all.iter_mut().for_each(|one| one.judge(&ceilings));
        match &ceilings.read {
            Probe::Missing { missing } => Err(failure(missing)),
            Probe::Measured(_) => Ok(Found { gpu, all, left_out, ceilings }),
        }
    }

    fn read(&self) -> &Measure {
        match &self.ceilings.read {
            Probe::Measured(read) => read,
            Probe::Missing { missing } => unreachable!("reading was measured: {missing}"),
        }
    }

    /// Bytes per second of a product, in percent of reading.
    fn percent(&self, one: &Measured) -> f64 {
        100.0 * one.bytes_per_second / self.read().value
    }

    /// How many times as fast a product is as the fastest in f32, and in f16.
    fn ratios(&self, one: &Measured) -> [Option<f64>; 2] {
        [WeightFormat::F32, WeightFormat::F16].map(|dense| one.speedup_over(dense, &self.all))
    }

    /// The table, below what limits it.
    fn print(&self) -> Result<(), Failure> {
        #[rustfmt::skip]
        let head = [
            "kernel", "shape", "bytes", "median us", "min us", "device us", "GB/s", "% read", "Gops/s", "GMAC/s",
            "Gweights/s", "x f32", "x f16", "bound by", "% of that",
        ];
        let mut lines = vec![head.map(String::from).to_vec()];
        let or = |value: Option<String>| value.unwrap_or("-".into());
        for one in &self.all {
            let [f32, f16] = self.ratios(one).map(|ratio| or(ratio.map(|ratio| format!("{ratio:.2}"))));
            lines.push(vec![
                one.label(),
                lengths(one.shape()),
                thousands(one.bytes as usize),
                format!("{:.1}", 1e6 * one.median_seconds),
                format!("{:.1}", 1e6 * one.min_seconds),
                or(one.device_median_seconds.map(|seconds| format!("{:.1}", 1e6 * seconds))),
                format!("{:.2}", 1e-9 * one.bytes_per_second),
                format!("{:.1}", self.percent(one)),
                format!("{:.2}", 1e-9 * one.ops_per_second),
                format!("{:.2}", 0.5e-9 * one.ops_per_second),
                format!("{:.2}", 1e-9 * one.weights_per_second()),
                f32,
                f16,
                or(one.bound_by.map(|bound| bound.word().into())),
                or(one.reached.map(|reached| format!("{:.0}", 100.0 * reached))),
            ]);
        }
        let (read, ceilings) = (self.read(), &self.ceilings);
        super::say(super::gpu_line(self.gpu))?;
        super::say(format!(
            "reads {:.1} GB/s by probe_read {} over {} MiB",
            1e-9 * read.value,
            read.overrides,
            read.working_set_bytes >> 20
        ))?;
        let rate = |name: &str, probe: &Probe, scale: f64, unit: &str| match probe.value() {
            Some(value) => format!("{name} {:.1} {unit}", scale * value),
            None => format!("{name} unknown"),
        };
        super::say(format!(
            "computes {}, {}, {}; starts a dispatch in {}\n",
            rate("f32", &ceilings.fma_f32, 1e-9, "Gops/s"),
            rate("int8 dot products", &ceilings.dot4_i8, 1e-9, "Gops/s"),
            rate("additions of i32", &ceilings.add_i32, 1e-9, "Gops/s"),
            rate("", &ceilings.launch, 1e6, "us").trim(),
        ))?;
        super::say(columns(&lines))?;
        super::say(format!(
            "median of {SAMPLES} samples, from the submission until it is done; device: the same by its own clock"
        ))?;
        for (wanted, reason) in &self.left_out {
            super::say(format!("{wanted} is left out: {reason}"))?;
        }
        Ok(())
    }

    fn json(&self, bench: &str, batch: Option<usize>) -> Map<String, Value> {
        let (read, ceilings) = (self.read(), &self.ceilings);
        let mut line = super::device_json(self.gpu);
        line.extend(object(json!({"bench": bench})));
        line.extend(batch.map(|batch| ("batch".to_string(), json!(batch))));
        let shape = |[of, rows, cols]: [usize; 3]| match batch {
            Some(_) => json!([rows, cols]),
            None => json!([rows, cols, of]),
        };
        let row_json = |one: &Measured| {
            let [f32, f16] = self.ratios(one);
            json!({
                "kernel": one.kernel, "overrides": one.overrides, "shape": shape(one.shape()), "bytes": one.bytes,
                "median_seconds": one.median_seconds, "min_seconds": one.min_seconds,
                "device_median_seconds": one.device_median_seconds, "sample_seconds": one.sample_seconds,
                "settled": one.settled,
                "gb_per_s": 1e-9 * one.bytes_per_second, "percent_of_read": self.percent(one),
                "gops_per_s": 1e-9 * one.ops_per_second, "gmac_per_s": 0.5e-9 * one.ops_per_second,
                "gweights_per_s": 1e-9 * one.weights_per_second(), "ratio_to_f32": f32, "ratio_to_f16": f16,
                "bound_by": one.bound_by, "percent_of_bound": one.reached.map(|reached| 100.0 * reached),
                "blocks": one.blocks, "working_set_bytes": one.working_set_bytes,
            })
        };
        line.extend(object(json!({
            "checked": self.gpu.checked(),
            "read_gb_per_s": 1e-9 * read.value,
            "read_overrides": read.overrides,
            "read_working_set_bytes": read.working_set_bytes,
            "fma_f32_ops_per_second": ceilings.fma_f32.value(),
            "add_i32_ops_per_second": ceilings.add_i32.value(),
            "dot4_i8_ops_per_second": ceilings.dot4_i8.value(),
            "launch_seconds": ceilings.launch.value(),
            "rows": self.all.iter().map(row_json).collect::<Vec<_>>(),
            "left_out": self.left_out.iter().map(|(wanted, reason)| json!({
                "operation": wanted.operation, "shape": shape(wanted.shape), "reason": reason,
            })).collect::<Vec<_>>(),
        })));
        line
    }

    /// Whether no kernel reads faster than the probe that only reads.
    fn verdict(&self) -> Outcome {
        let mut verdict = Verdict::Yes;
        for one in faster_than_reading(&self.all, &self.ceilings) {
            super::tell(format!(
                "{} {} reached {:.0} % of the read bandwidth: one of the two is wrong; \
                 run again with more --seconds on a quieter machine",
                one.label(),
                lengths(one.shape()),
                self.percent(one),
            ));
            verdict = Verdict::No;
        }
        Ok(verdict)
    }
}
