//! `sterna tune`: the fastest kernels on this adapter. Other commands use this module when they meet a shape for the
//! first time.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::arguments::seconds;
use super::bench::batched_shape;
use super::{DeviceFlags, Failure, Verdict, failure, object, shown};
use crate::gpu::Gpu;
use crate::measure::tuning::{self, Attempt, Tried, Tuned, Why, room_to_tune, shapes_to_tune};
use crate::measure::{Effort, Wanted, Watch};
use crate::mnist::Dataset;
use crate::model::Precision;
use crate::report::columns;
use crate::train::Config;

const EXAMPLES: &str = "\
An operation has several kernels, and a kernel several sizes of workgroup; which is the fastest depends on the \
adapter and on the shape. Each is first held against its twin on the CPU, then timed, and those near the best once \
more, in turns with the default. The winner is kept in the user's cache folder, or in $STERNA_CACHE, for all shapes \
whose lengths agree in their first three binary digits, rounded up. `train`, `bench` and `wall` try by themselves, \
briefly, what they meet for the first time; with --no-tune every command takes the defaults.

Where other work blurs the times, or there was no time for every candidate, a choice is provisional: the next command \
that needs it tries again. It is sure once a second try finds the same kernel. A kept choice is timed against the \
default for a few milliseconds when a command first needs it, and tried again if the default is clearly faster.

It changes no result of a training run: in one, only operations are chosen whose kernels all compute the same \
integers. Exit code 1: a kernel differs from its twin; it is not used.

Examples:
  sterna tune                         the layers of MNIST, BitNet and LLaMA
  sterna tune --shapes 4096x4096      one matrix times one row of activations
  sterna tune --shapes 256x784x128 --product-seconds 5
                                      times a batch of 128, with time to measure";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Matrices as ROWSxCOLS, or with a batch as ROWSxCOLSxBATCH, separated by commas.
    #[arg(long, value_name = "SHAPES", value_delimiter = ',', value_parser = batched_shape)]
    shapes: Vec<[usize; 3]>,
    /// Seconds for all candidates of an operation at a shape.
    #[arg(long, alias = "seconds", value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    product_seconds: f64,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// The file with the choices for this device.
pub fn choices(gpu: &Gpu) -> Option<PathBuf> {
    cache(gpu, "tune", "txt")
}

/// A file about this device in `STERNA_CACHE`, or else in the user's cache folder.
fn cache(gpu: &Gpu, what: &str, extension: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("STERNA_CACHE").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => etcetera::BaseStrategy::cache_dir(&etcetera::choose_base_strategy().ok()?).join("sterna"),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = format!("{} {}", gpu.backend(), gpu.name()).chars().map(plain).collect();
    let name: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    Some(folder.join(format!("{what}-{}.{extension}", name.join("-"))))
}

/// Keeps the choices for later commands, and returns the path of the file.
fn keep(gpu: &Gpu, found: &[Tuned]) -> Result<PathBuf, String> {
    let file = choices(gpu).ok_or("this user has no folder for caches: STERNA_CACHE can name one")?;
    tuning::keep(gpu, &file, found).map(|()| file)
}

pub fn run(flags: &Flags) -> super::Outcome {
    let gpu = flags.device.open()?;
    super::tell(format!("tune on {}", super::gpu_line(&gpu)));
    let shapes = if flags.shapes.is_empty() { shapes_to_tune(&gpu) } else { flags.shapes.clone() };
    let wanted: Vec<Wanted> = shapes.iter().flat_map(|&shape| Wanted::at(&gpu, shape)).collect();
    let mut watch = Watch { tell: &mut |line| super::tell(line), stop: &|| false };
    let room = flags.device.found(room_to_tune(&gpu, &wanted))?;
    let found = tuning::try_all(&gpu, &wanted, room, Effort::Within(flags.product_seconds), &mut watch);
    let (found, left_out) = found.map_err(failure)?;

    super::say(super::gpu_line(&gpu))?;
    super::say(table(&gpu, &found).trim_end())?;
    for (wanted, reason) in &left_out {
        super::say(format!("{wanted} is left out: {reason}"))?;
    }
    let kept = match flags.device.keeps_choices() {
        true => keep(&gpu, &found).map_err(|sentence| super::warn(format!("sterna: {sentence}"))).ok(),
        false => None,
    };
    super::say(kept.as_deref().map_or("\nnot kept".into(), |file| format!("\nkept in {}", shown(file))))?;
    if flags.json {
        let left_out = left_out.iter().map(|(wanted, reason)| {
            json!({"operation": wanted.operation, "shape": super::lengths(wanted.shape), "reason": reason})
        });
        let mut line = super::device_json(&gpu);
        line.extend(object(json!({
            "driver": gpu.driver(),
            "checked": gpu.checked(),
            "tuned": found.iter().map(|tuned| tuned_json(&gpu, tuned)).collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "kept_in": kept.as_deref().map(super::named),
        })));
        super::print_json("tune", line)?;
    }
    let wrong = |tried: &Tried| matches!(tried.outcome, Attempt::Wrong(_));
    let all_right = !found.iter().flat_map(|tuned| &tuned.tried).any(wrong);
    Ok(if all_right { Verdict::Yes } else { Verdict::No })
}

impl DeviceFlags {
    /// The path of a file that keeps results about this device. It is `None` if shaders have checks, because such
    /// results are slower.
    pub fn cache(&self, gpu: &Gpu, what: &str, extension: &str) -> Option<PathBuf> {
        cache(gpu, what, extension).filter(|_| !self.checked)
    }

    /// Finds the device's fastest kernels for the products of a training step, before the ops are bound. All
    /// candidates compute the same integers, so the choice does not change the resulting weights.
    pub fn tune_training(&self, gpu: &Gpu, config: &Config, data: &Dataset) -> Result<(), Failure> {
        if config.precision == Precision::F32 {
            return Ok(());
        }
        config.fits(gpu, data).map_err(super::unfit(gpu, config, data))?;
        self.tune_products(gpu, config.batch, &config.shape(data).layers())
    }

    /// [`DeviceFlags::tune_training`] for matrices `[rows, cols]` times so many rows of activations.
    pub fn tune_products(&self, gpu: &Gpu, batch: usize, matrices: &[[usize; 2]]) -> Result<(), Failure> {
        let product =
            |&[rows, cols]: &[usize; 2]| Wanted { operation: "matmul_ternary", shape: [batch, rows, cols] };
        let wanted: Vec<Wanted> = matrices.iter().map(product).collect();
        self.tune(gpu, &wanted, 1.0)
    }

    /// Finds the fastest kernels for the products without a trusted choice, for `seconds` each. The device uses them,
    /// and the choices are kept.
    pub fn tune(&self, gpu: &Gpu, wanted: &[Wanted], seconds: f64) -> Result<(), Failure> {
        let mut tell = |line| log::info!("{line}");
        self.tune_watched(gpu, wanted, seconds, &mut Watch { tell: &mut tell, stop: &|| false })
    }

    /// [`DeviceFlags::tune`] with a way to stop between two products. The choices up to that point stay.
    pub fn tune_watched(
        &self,
        gpu: &Gpu,
        wanted: &[Wanted],
        seconds: f64,
        watch: &mut Watch,
    ) -> Result<(), Failure> {
        if !self.keeps_choices() {
            return Ok(());
        }
        let open = tuning::open(gpu, choices(gpu).as_deref(), wanted);
        if open.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let of = |why: Why, words: &str| {
            let count = open.iter().filter(|(_, other)| *other == why).count();
            (count > 0).then(|| format!("{} {words}", super::counted(count, "product")))
        };
        let why = [
            of(Why::New, "not seen on this adapter before"),
            of(Why::Provisional, "whose kernel was chosen while other work ran"),
            of(Why::Slower, "whose kept kernel is slower than the default now"),
        ];
        super::tell(format!(
            "sterna: {}: trying which kernels are fastest (--no-tune does without)",
            why.into_iter().flatten().collect::<Vec<_>>().join(", ")
        ));
        let wanted: Vec<Wanted> = open.iter().map(|&(wanted, _)| wanted).collect();
        let room = self.found(room_to_tune(gpu, &wanted))?;
        let found = tuning::try_open(gpu, &open, room, seconds, watch).map_err(failure)?;
        let unsure = found.iter().filter(|tuned| !tuned.sure).count();
        let unsure = match unsure {
            0 => String::new(),
            _ => format!(", {unsure} of {} provisional until the next run tries again", found.len()),
        };
        match keep(gpu, &found) {
            Ok(file) => super::tell(format!(
                "sterna: tuned in {:.1} s, kept in {}{unsure}; `sterna tune` shows more",
                start.elapsed().as_secs_f64(),
                shown(&file)
            )),
            Err(sentence) => log::warn!("{sentence}"),
        }
        Ok(())
    }
}

/// A table of the candidates, ordered by time. The winner is marked.
fn table(gpu: &Gpu, found: &[Tuned]) -> String {
    let mut lines = vec![["", "operation", "candidate", "µs", "x best", ""].map(String::from).to_vec()];
    for tuned in found {
        let best = tuned.tried.iter().filter_map(Tried::seconds).fold(f64::INFINITY, f64::min);
        for tried in &tuned.tried {
            let [mark, trust] = match tried.kernel == tuned.winner {
                true if tuned.sure => ["->".into(), format!("± {:.0} %", 50.0 * tuned.spread)],
                true => ["->".into(), format!("± {:.0} %, provisional", 50.0 * tuned.spread)],
                false => [String::new(), String::new()],
            };
            let [time, ratio] = match &tried.outcome {
                Attempt::Seconds(seconds) => {
                    [format!("{:.1}", 1e6 * seconds), format!("{:.2}", seconds / best)]
                }
                Attempt::Wrong(_) => ["wrong".into(), String::new()],
                Attempt::Untried => ["no time left".into(), String::new()],
            };
            let candidate = tried.kernel.described(gpu.tuning());
            lines.push(vec![mark, tuned.wanted.to_string(), candidate, time, ratio, trust]);
        }
    }
    columns(&lines)
}

fn tuned_json(gpu: &Gpu, tuned: &Tuned) -> Value {
    let tried = |tried: &Tried| {
        let wrong = if let Attempt::Wrong(sentence) = &tried.outcome { Some(sentence) } else { None };
        json!({
            "kernel": tried.kernel.described(gpu.tuning()), "seconds": tried.seconds(), "wrong": wrong,
        })
    };
    json!({
        "operation": tuned.wanted.operation, "shape": super::lengths(tuned.wanted.shape),
        "winner": tuned.winner.described(gpu.tuning()), "spread": tuned.spread, "provisional": !tuned.sure,
        "candidates": tuned.tried.iter().map(tried).collect::<Vec<_>>(),
    })
}
