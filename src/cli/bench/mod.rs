//! `sterna bench`: how fast the kernels are on this adapter, beside its own limits.

mod generate;
mod train;

pub use generate::subject;

use std::time::Instant;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{seconds, whole};
use super::{DeviceFlags, MemoryFlags, Outcome, Verdict, failure};
use crate::gpu::Gpu;
use crate::measure::kept::Keeping;
use crate::measure::measured::{Benchmark, faster_than_reading};
use crate::measure::{GEMV_SHAPES, Wanted, Watch, lengths, matmul_shapes};
use crate::report::BenchReport;

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
    /// A language model that writes: tokens per second beside what this adapter's memory allows.
    Generate(generate::Flags),
    /// Seconds per epoch of the default recipe on MNIST, and to 97 and 98.5 % on the test set.
    Train(train::Flags),
}

const EXAMPLES: &str = "\
Each kernel is first held against its twin on the CPU, then timed over matrices in rotation that no cache holds \
together (between runs of small ones, other memory is read), from the submission until it is done; the median is \
what counts. `% read` is of the bandwidth that this adapter reached by a kernel that only reads. A weight of `Gweights/s` counts once, however \
many rows of activations it meets. `x f16`: how many times \
as fast as the fastest f16 kernel. `bound by` is the lowest ceiling of those measured here (bandwidth, the arithmetic that \
a format is made for, or the cost of a dispatch), beside it the share that was reached. --json has every sample, bytes, and the device's own clock. Ceilings are kept in the cache \
folder for four hours; --fresh measures them again. Exit code 1: a kernel seems faster than reading, so the figures \
cannot be trusted.

Examples:
  sterna bench gemv                             BitNet, LLaMA, MNIST, and larger
  sterna bench gemv --shapes 4096x4096 --all    every variant at one shape
  sterna bench gemv --batch 4                   four rows of activations at once
  sterna bench gemv --seconds 3 --json          steadier figures, for scripts";

const MATMUL_EXAMPLES: &str = "\
A GMAC is 1e9 products of a weight and an activation, each a multiplication and an addition. Each kernel is first \
held against its twin on the CPU, then timed over operands in rotation. `bound by` is the lowest ceiling of those \
measured here, beside it the share that was reached: for trits that of int8 dot products, which a kernel that \
multiplies otherwise may exceed.

Examples:
  sterna bench matmul                               MNIST's layers, and larger
  sterna bench matmul --shapes 4096x4096            at batch 128
  sterna bench matmul --shapes 512x1024x1024 --all  every variant at one shape
  sterna bench matmul --seconds 3 --json            steadier, for scripts";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct GemvFlags {
    /// Matrices as ROWSxCOLS, separated by commas.
    #[arg(long, value_name = "SHAPES", value_delimiter = ',', value_parser = shape)]
    shapes: Vec<[usize; 2]>,
    /// Rows of activations, 1 to 16; with more than one, in the formats that have a kernel for it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<usize>(1, 16))]
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
    /// Measure each kernel at each shape for this many seconds, including warm-up, and longer if 21 samples need more time.
    #[arg(long, value_name = "S", default_value_t = 0.3, value_parser = seconds)]
    seconds: f64,
    /// Every variant that runs here, not only the one that this adapter would use.
    #[arg(long)]
    all: bool,
    /// Measure the ceilings again, even if they were measured within the last four hours.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    memory: MemoryFlags,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// Two or three lengths between `x`.
fn lengths_of(text: &str) -> Option<Vec<usize>> {
    let lengths: Option<Vec<usize>> = text.split('x').map(|length| length.parse().ok()).collect();
    lengths.filter(|lengths| lengths.iter().all(|length| (1..=1 << 24).contains(length)))
}

/// `4096x4096`.
pub fn shape(text: &str) -> Result<[usize; 2], String> {
    let shape = lengths_of(text).and_then(|lengths| lengths.try_into().ok());
    shape.ok_or("a shape is ROWSxCOLS, for instance 4096x4096, lengths from 1 to 16777216".into())
}

/// `256x784`, or with a batch `256x784x128`, as `[batch, rows, cols]`.
pub(super) fn batched_shape(text: &str) -> Result<[usize; 3], String> {
    shape_or_at(text, 1)
}

/// A shape with a batch. A text without a batch means batch 128.
fn training_shape(text: &str) -> Result<[usize; 3], String> {
    match shape_or_at(text, 128)? {
        [1, ..] => Err("a batch of 1 is measured by `sterna bench gemv`".into()),
        shape => Ok(shape),
    }
}

fn shape_or_at(text: &str, batch: usize) -> Result<[usize; 3], String> {
    match lengths_of(text).as_deref() {
        Some(&[rows, cols]) => Ok([batch, rows, cols]),
        Some(&[rows, cols, batch]) => Ok([batch, rows, cols]),
        _ => Err(
            "a shape is ROWSxCOLS or ROWSxCOLSxBATCH, for instance 256x784x128, lengths from 1 to 16777216"
                .into(),
        ),
    }
}

pub fn run(flags: &Flags) -> Outcome {
    match &flags.what {
        What::Gemv(flags) => gemv(flags),
        What::Matmul(flags) => matmul(flags),
        What::Generate(flags) => generate::run(flags),
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

/// A line on the terminal that shows the current step of a long measurement. It is hidden elsewhere.
pub(super) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").expect("a constant");
    ProgressBar::new_spinner().with_style(style)
}

/// How ceilings came to be known that are so many seconds old, if they were kept.
pub(super) fn kept(seconds: Option<f64>) -> String {
    match seconds {
        Some(age) => format!("kept, {:.0} min old (--fresh measures again)", age / 60.0),
        None => "measured".into(),
    }
}

/// Measures products. `batch` is the batch of all products, if they have the same one.
fn products(
    bench: &str,
    flags: &CommonFlags,
    shapes: impl FnOnce(&Gpu) -> Vec<[usize; 3]>,
    batch: Option<usize>,
) -> Outcome {
    let gpu = flags.device.open()?;
    let (start, bar) = (Instant::now(), spinner());
    let shapes = shapes(&gpu);
    if !flags.all {
        let wanted: Vec<Wanted> = shapes.iter().flat_map(|&shape| Wanted::at(&gpu, shape)).collect();
        // A product with a batch takes longer, so each one gets fewer seconds by default.
        let each = if batch.is_some() { 0.3 } else { 1.0 };
        flags.device.tune(&gpu, &wanted, each)?;
    }
    let room = flags.device.found(flags.memory.room(&gpu))?;
    let count = shapes.len();
    let benchmark = Benchmark {
        shapes,
        seconds: flags.seconds,
        all: flags.all,
        room,
        keeping: Keeping { file: flags.device.cache(&gpu, "ceilings", "json"), fresh: flags.fresh },
    };
    let mut watch = Watch { tell: &mut |line| bar.set_message(line), stop: &|| false };
    let found = benchmark.run(&gpu, &mut watch).map_err(failure)?;
    bar.finish_and_clear();
    super::tell(format!(
        "bench {bench}: {} at {} in {:.1} s, {} left out; ceilings {}",
        super::counted(found.all.len(), "product"),
        super::counted(count, "shape"),
        start.elapsed().as_secs_f64(),
        found.left_out.len(),
        kept(found.kept_seconds)
    ));
    let report = BenchReport { gpu: &gpu, found: &found };
    super::say(format!("{}\n{}", super::gpu_line(&gpu), report.text(batch.is_some())))?;
    if flags.json {
        let mut line = super::device_json(&gpu);
        line.extend(report.json(bench, batch));
        super::print_json("bench", line)?;
    }
    // No kernel can read faster than the probe that only reads.
    let mut verdict = Verdict::Yes;
    for one in faster_than_reading(&found.all, &found.ceilings) {
        super::warn(format!(
            "{} {} reached {:.0} % of the read bandwidth: one of the two is wrong; \
             run again with more --seconds on a quieter machine",
            one.label(),
            lengths(one.shape()),
            report.percent(one),
        ));
        verdict = Verdict::No;
    }
    Ok(verdict)
}
