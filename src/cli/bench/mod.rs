//! `sterna bench`: how fast the kernels are on this adapter, beside its own limits.

mod train;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{DeviceFlags, Failure, MemoryFlags, Outcome, Verdict, failure, object};
use crate::bench::{self, Effort, GEMV_SHAPES, Matmul, ReadSpeed, Row, SAMPLES, Skipped, Wanted, Watch};
use crate::gpu::Gpu;
use crate::report::{self, columns, thousands};
use crate::wall::{Ceilings, Probe};

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
        true => bench::matmul_shapes(gpu),
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
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
    read: ReadSpeed,
    ceilings: Ceilings,
}

/// The ceilings that the rows are held against, beside that of reading.
const LIMITS: [&str; 4] = ["fma_f32", "add_i32", "dot4_i8", "launch"];

impl Found<'_> {
    /// Measures the ceilings around the products.
    fn measure<'a>(gpu: &'a Gpu, shapes: Vec<[usize; 3]>, flags: &CommonFlags) -> Result<Found<'a>, Failure> {
        let (seconds, room) = (flags.seconds, flags.device.found(flags.memory.room(gpu))?);
        let effort = Effort::Whole(seconds);
        let what = Matmul { shapes, effort, all: flags.all, only: Vec::new(), room };
        let tell = &mut |line: String| super::tell(line);
        let read = bench::read_speed(gpu, room, seconds, tell).map_err(failure)?;
        let mut watch = Watch { tell, stop: &|| false };
        let ceilings = bench::ceilings(gpu, &LIMITS, room, seconds, &mut watch);
        let (rows, skipped) = bench::matmul(gpu, &what, watch.tell).map_err(failure)?;
        let mut read = bench::read_again(gpu, room, read, seconds).map_err(failure)?;
        if bench::faster_than_reading(&rows, &read).next().is_some() {
            (watch.tell)("a kernel seems faster than reading: all variants of probe_read once more".into());
            let again = bench::read_speed(gpu, room, seconds, watch.tell).map_err(failure)?;
            if again.gb_per_s > read.gb_per_s {
                read = again;
            }
        }
        Ok(Found { gpu, rows, skipped, read, ceilings })
    }

    /// A row's lowest ceiling in a word, and the share of it that was reached, in percent.
    fn limit(&self, row: &Row) -> Option<(&'static str, f64)> {
        let floor = row.floor(&self.read, &self.ceilings)?;
        Some((report::bound_word(floor.bound()), 100.0 * floor.seconds() / row.median_seconds))
    }

    /// The table, below what limits it.
    fn print(&self) -> Result<(), Failure> {
        #[rustfmt::skip]
        let head = [
            "kernel", "shape", "bytes", "median us", "min us", "device us", "GB/s", "% read", "Gops/s", "GMAC/s",
            "Gweights/s", "x f32", "x f16", "bound by", "% of that",
        ];
        let mut lines = vec![head.map(String::from).to_vec()];
        let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        for row in &self.rows {
            let limit = self.limit(row);
            lines.push(vec![
                row.label(),
                at(row.shape, row.batch),
                thousands(row.bytes as usize),
                format!("{:.1}", 1e6 * row.median_seconds),
                format!("{:.1}", 1e6 * row.min_seconds),
                row.device_median_seconds.map_or("-".into(), |seconds| format!("{:.1}", 1e6 * seconds)),
                format!("{:.2}", row.gb_per_s()),
                format!("{:.1}", row.percent_of_read(&self.read)),
                format!("{:.2}", row.gops_per_s()),
                format!("{:.2}", row.gmac_per_s()),
                format!("{:.2}", row.gweights_per_s()),
                ratio(row.ratio_to_f32),
                ratio(row.ratio_to_f16),
                limit.map_or("-".into(), |(word, _)| word.into()),
                limit.map_or("-".into(), |(_, percent)| format!("{percent:.0}")),
            ]);
        }
        let (read, gpu) = (&self.read, self.gpu);
        super::say(super::gpu_line(gpu))?;
        super::say(format!(
            "reads {:.1} GB/s by probe_read {} over {} MiB",
            read.gb_per_s,
            read.overrides,
            read.working_set >> 20
        ))?;
        let rate = |name: &str, probe: &Probe, scale: f64, unit: &str| match probe.value() {
            Some(value) => format!("{name} {:.1} {unit}", scale * value),
            None => format!("{name} unknown"),
        };
        let ceilings = &self.ceilings;
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
        for left in &self.skipped {
            let shape = at(left.shape, left.batch);
            super::say(format!("{} {shape} is left out: {}", left.operation, left.reason))?;
        }
        Ok(())
    }

    fn json(&self, bench: &str, batch: Option<usize>) -> Map<String, Value> {
        let Found { gpu, rows, skipped, read, ceilings } = self;
        let mut line = super::device_json(gpu);
        line.extend(object(json!({"bench": bench})));
        line.extend(batch.map(|batch| ("batch".to_string(), json!(batch))));
        let shape = |[rows, cols]: [usize; 2], of: usize| match batch {
            Some(_) => json!([rows, cols]),
            None => json!([rows, cols, of]),
        };
        let row_json = |row: &Row| {
            let limit = self.limit(row);
            json!({
                "kernel": row.kernel, "overrides": row.overrides, "shape": shape(row.shape, row.batch),
                "bytes": row.bytes,
                "median_seconds": row.median_seconds, "min_seconds": row.min_seconds,
                "device_median_seconds": row.device_median_seconds, "sample_seconds": row.samples,
                "settled": row.settled,
                "gb_per_s": row.gb_per_s(), "percent_of_read": row.percent_of_read(read),
                "gops_per_s": row.gops_per_s(), "gmac_per_s": row.gmac_per_s(),
                "gweights_per_s": row.gweights_per_s(),
                "ratio_to_f32": row.ratio_to_f32, "ratio_to_f16": row.ratio_to_f16,
                "bound_by": limit.map(|(word, _)| word), "percent_of_bound": limit.map(|(_, percent)| percent),
                "blocks": row.blocks, "working_set_bytes": row.working_set,
            })
        };
        line.extend(object(json!({
            "checked": gpu.checked(),
            "read_gb_per_s": read.gb_per_s,
            "read_overrides": read.overrides,
            "read_working_set_bytes": read.working_set,
            "fma_f32_ops_per_second": ceilings.fma_f32.value(),
            "add_i32_ops_per_second": ceilings.add_i32.value(),
            "dot4_i8_ops_per_second": ceilings.dot4_i8.value(),
            "launch_seconds": ceilings.launch.value(),
            "rows": rows.iter().map(row_json).collect::<Vec<_>>(),
            "left_out": skipped.iter().map(|left| json!({
                "operation": left.operation, "shape": shape(left.shape, left.batch), "reason": left.reason,
            })).collect::<Vec<_>>(),
        })));
        line
    }

    /// No kernel reads faster than the probe that only reads.
    fn verdict(&self) -> Outcome {
        let mut verdict = Verdict::Yes;
        for row in bench::faster_than_reading(&self.rows, &self.read) {
            super::tell(format!(
                "{} {} reached {:.0} % of the read bandwidth: one of the two is wrong; \
                 run again with more --seconds on a quieter machine",
                row.label(),
                at(row.shape, row.batch),
                row.percent_of_read(&self.read),
            ));
            verdict = Verdict::No;
        }
        Ok(verdict)
    }
}

fn at([rows, cols]: [usize; 2], batch: usize) -> String {
    bench::lengths([batch, rows, cols])
}
