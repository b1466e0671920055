//! `sterna bench`: how fast the kernels are on this adapter, beside its own limits.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{DeviceFlags, Failure, Outcome, Verdict, bench_train, failure, object};
use crate::bench::{self, DEFAULT_SHAPES, Gemv, ReadSpeed, Room, Row, Wanted};
use crate::report::{columns, thousands};

#[derive(Args)]
pub struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A matrix times one row of activations, in f32, f16, int8 and trits: what one token costs.
    Gemv(GemvFlags),
    /// Seconds per epoch of the default recipe on MNIST, and to 97 % on the test set.
    Train(bench_train::Flags),
}

const EXAMPLES: &str = "\
Examples:
  sterna bench gemv                             BitNet 2B4T, a 7B LLaMA, MNIST, and larger
  sterna bench gemv --shapes 4096x4096 --all    every variant at one shape
  sterna bench gemv --batch 4                   four rows of activations at once
  sterna bench gemv --seconds 3 --json          steadier figures, for scripts

Each kernel is first held against its twin on the CPU, then timed over matrices in rotation
that no cache holds together, from the submission until it is done; the median is what counts.
`% read` is of the bandwidth that this adapter reached in the same run, before or after, by a
kernel that only reads. Exit code 1: a kernel seems faster than that, so the figures cannot be
trusted.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct GemvFlags {
    /// Matrices as ROWSxCOLS, separated by commas.
    #[arg(long, value_name = "SHAPES", value_delimiter = ',', value_parser = shape)]
    shapes: Vec<[usize; 2]>,
    /// Rows of activations, 1 to 16; with more than one, f32 and 2-bit trits only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = batch)]
    batch: usize,
    /// Seconds for each kernel at each shape, warming up included.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Every variant that runs here, not only the one that this adapter would use.
    #[arg(long)]
    all: bool,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// `4096x4096`.
fn shape(text: &str) -> Result<[usize; 2], String> {
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
    let lengths: Option<Vec<usize>> = text.split('x').map(|length| length.parse().ok()).collect();
    let [rows, cols, batch] = match lengths.as_deref() {
        Some(&[rows, cols]) => [rows, cols, 1],
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
    let flags = match &flags.what {
        What::Gemv(flags) => flags,
        What::Train(flags) => return bench_train::run(flags),
    };
    let gpu = flags.device.open()?;
    super::tell(format!("bench gemv on {}", super::gpu_line(&gpu)));
    let progress = &mut |line: String| super::tell(line);
    let read = bench::read_speed(&gpu, flags.seconds, progress).map_err(failure)?;
    let shapes = if flags.shapes.is_empty() { DEFAULT_SHAPES.to_vec() } else { flags.shapes.clone() };
    if !flags.all {
        let at = |&[rows, cols]: &[usize; 2]| Wanted::at(&gpu, [flags.batch, rows, cols]);
        let wanted: Vec<Wanted> = shapes.iter().flat_map(at).collect();
        flags.device.tune(&gpu, &wanted, 0.5 * wanted.len() as f64)?;
    }
    let (only, room) = (Vec::new(), Room::of(&gpu));
    let what = Gemv { shapes, seconds: flags.seconds, batch: flags.batch, all: flags.all, only, room };
    let (rows, skipped) = bench::gemv(&gpu, &what, progress).map_err(failure)?;
    let read = bench::read_again(&gpu, read, flags.seconds).map_err(failure)?;

    super::say(super::gpu_line(&gpu))?;
    super::say(format!(
        "reads {:.1} GB/s by probe_read {} over {} MiB\n",
        read.gb_per_s,
        read.overrides,
        read.working_set >> 20
    ))?;
    super::say(table(&rows, &read).trim_end())?;
    if rows.iter().any(|row| !row.is_cold(&read)) {
        super::say(
            "\n* the matrices in rotation are fewer bytes than the probe read: a cache may have helped",
        )?;
    }
    for left in &skipped {
        let [rows, cols] = left.shape;
        super::say(format!("{} {rows}x{cols} is left out: {}", left.operation, left.reason))?;
    }
    if flags.json {
        let mut line = super::device_json(&gpu);
        line.extend(object(json!({
            "bench": "gemv",
            "batch": flags.batch,
            "checked": gpu.checked(),
            "read_gb_per_s": read.gb_per_s,
            "read_overrides": read.overrides,
            "rows": rows.iter().map(|row| row_json(row, &read)).collect::<Vec<_>>(),
            "left_out": skipped.iter().map(|left| json!({
                "operation": left.operation, "shape": left.shape, "reason": left.reason,
            })).collect::<Vec<_>>(),
        })));
        super::print_json("bench", line)?;
    }
    verdict(&rows, &read)
}

/// No kernel reads faster than the probe that only reads.
fn verdict(rows: &[Row], read: &ReadSpeed) -> Result<Verdict, Failure> {
    let too_fast = |row: &&Row| row.is_cold(read) && row.percent_of_read(read) > 100.0;
    let mut verdict = Verdict::Yes;
    for row in rows.iter().filter(too_fast) {
        let ([rows, cols], percent) = (row.shape, row.percent_of_read(read));
        super::tell(format!(
            "{} {rows}x{cols} reached {percent:.0} % of the read bandwidth: one of the two is wrong; \
             run again with more --seconds on a quieter machine",
            row.label()
        ));
        verdict = Verdict::No;
    }
    Ok(verdict)
}

fn table(rows: &[Row], read: &ReadSpeed) -> String {
    let head = [
        "kernel",
        "shape",
        "bytes",
        "median us",
        "min us",
        "GB/s",
        "% read",
        "Gops/s",
        "Gweights/s",
        "x f32",
        "x f16",
    ];
    let mut lines = vec![head.map(String::from).to_vec()];
    let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
    for row in rows {
        let cold = if row.is_cold(read) { "" } else { "*" };
        lines.push(vec![
            row.label(),
            format!("{}x{}", row.shape[0], row.shape[1]),
            thousands(row.bytes as usize),
            format!("{:.1}", 1e6 * row.median_seconds),
            format!("{:.1}", 1e6 * row.min_seconds),
            format!("{:.2}", row.gb_per_s()),
            format!("{:.1}{cold}", row.percent_of_read(read)),
            format!("{:.2}", row.gops_per_s()),
            format!("{:.2}", row.gweights_per_s()),
            ratio(row.ratio_to_f32),
            ratio(row.ratio_to_f16),
        ]);
    }
    columns(&lines)
}

fn row_json(row: &Row, read: &ReadSpeed) -> Value {
    let percent = row.percent_of_read(read);
    json!({
        "kernel": row.kernel, "overrides": row.overrides, "shape": row.shape, "bytes": row.bytes,
        "median_seconds": row.median_seconds, "min_seconds": row.min_seconds,
        "device_median_seconds": row.device_median_seconds, "sample_seconds": row.samples,
        "gb_per_s": row.gb_per_s(), "percent_of_read": percent, "gops_per_s": row.gops_per_s(),
        "gweights_per_s": row.gweights_per_s(), "ratio_to_f32": row.ratio_to_f32,
        "ratio_to_f16": row.ratio_to_f16,
        // There is no probe of arithmetic yet: null says unknown.
        "bound_by": if row.is_cold(read) && percent >= 80.0 { json!("memory") } else { Value::Null },
        "blocks": row.blocks, "working_set_bytes": row.working_set, "cold": row.is_cold(read),
    })
}
