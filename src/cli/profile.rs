//! `sterna profile`: where the time of a step goes, as a table, on a timeline, or as a capture for RenderDoc.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{DataFlags, DeviceFlags, Failure, Outcome, Verdict, failure, object, shown};
use crate::checkpoint::replace;
use crate::gpu::{Capture, Choice, Gpu, Op, Profiler};
use crate::kernels;
use crate::measure::ceilings::{Bound, Ceilings, Probe};
use crate::measure::profile::{self, KernelRow, PROFILE_CEILINGS, Profile, Work};
use crate::measure::{Room, Watch, probes, rotation};
use crate::model::{Mlp, Precision};
use crate::report::{Trace, columns, thousands};
use crate::train::{Augment, Config, Evaluator, Trainer};

#[derive(Args)]
pub struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Training steps, from fresh weights.
    Train(TrainFlags),
    /// Evaluation steps: the forward pass and the loss, of a network of this size.
    Eval(EvalFlags),
    /// A matrix times one row of activations, over matrices that no cache holds together.
    Gemv(GemvFlags),
}

const EXAMPLES: &str = "\
A row per kernel: its calls and milliseconds in a step, microseconds of one call and since the dispatch before it, \
bytes and operations per second beside the most that this adapter was seen to reach in the same run, and which of these \
limits binds it. Then the whole wall time of a step, so that nothing hides, and what profiling costs.

Examples:
  sterna profile train
  sterna profile train --precision f32 --batch 512 --steps 50
  sterna profile eval --trace eval.json                 a timeline for https://ui.perfetto.dev
  sterna profile gemv --shape 11008x4096 --kernel gemv_f32
  renderdoccmd capture -w -d . -c step sterna profile train --renderdoc
                                                        one step as a capture for RenderDoc";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct TrainFlags {
    #[command(flatten)]
    network: NetworkFlags,
    /// Images per step.
    #[arg(long, value_name = "N", default_value_t = Config::default().batch)]
    batch: usize,
    /// How training images are varied.
    #[arg(long, value_enum, default_value_t)]
    augment: Augment,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct EvalFlags {
    #[command(flatten)]
    network: NetworkFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct GemvFlags {
    /// The matrix as ROWSxCOLS.
    #[arg(long, value_name = "SHAPE", value_parser = super::bench::shape, default_value = "4096x4096")]
    shape: [usize; 2],
    /// gemv_f32, gemv_i8, gemv_ternary, gemv_ternary_addsub, gemv_base3, or one of their variants; of an operation
    /// the variant that this adapter would use.
    #[arg(long, value_name = "NAME", default_value = "gemv_ternary")]
    kernel: String,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
struct NetworkFlags {
    #[command(flatten)]
    data: DataFlags,
    /// Widths of the hidden layers.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "256,128")]
    hidden: Vec<usize>,
    /// Ternary weights and int8 activations, or f32 throughout.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
}

impl NetworkFlags {
    fn config(&self) -> Config {
        Config { hidden: self.hidden.clone(), precision: self.precision, ..Config::default() }
    }
}

#[derive(Args)]
struct CommonFlags {
    /// Steps to look at.
    /// [default: 20; for a capture 1]
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Write a timeline to this file: recording and submission on the host, passes and dispatches on the device.
    #[arg(long, value_name = "FILE", conflicts_with = "renderdoc")]
    trace: Option<PathBuf>,
    /// Under RenderDoc: make the steps one capture in which everything has its name, and say where it is.
    #[arg(long)]
    renderdoc: bool,
    /// Seconds for each of the adapter's limits, half of them before and half after the steps: the better counts;
    /// 0 leaves them out.
    #[arg(long, value_name = "S", default_value_t = 0.3, value_parser = super::bench::seconds)]
    seconds: f64,
    /// Give each dispatch a pass of its own, as is done by itself where a device reads its clock nowhere else.
    #[arg(long)]
    by_passes: bool,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

pub fn run(flags: &Flags) -> Outcome {
    match &flags.what {
        What::Train(flags) => {
            let config = Config { batch: flags.batch, augment: flags.augment, ..flags.network.config() };
            let data = flags.network.data.load()?;
            config.validate(&data).map_err(failure)?;
            let gpu = flags.common.open()?;
            let trainer = Trainer::new(&gpu, &data, config).map_err(failure)?;
            let most = trainer.images() / trainer.config.batch;
            let work = Work { instances: vec![trainer.step()], most, rewind: &|| trainer.rewind() };
            flags.common.show("train", &gpu, &work)
        }
        What::Eval(flags) => {
            let config = flags.network.config();
            let data = flags.network.data.load()?;
            let shape = config.shape(&data);
            shape
                .validate()
                .map_err(|width| failure(format!("--hidden {:?} makes {width}", config.hidden)))?;
            let gpu = flags.common.open()?;
            config.fits(&gpu, &data).map_err(failure)?;
            let parameters = shape.initial(config.seed);
            let mlp = Mlp::upload(&gpu, shape, &parameters).map_err(failure)?;
            let evaluator = Evaluator::new(&gpu, &mlp, &data.test).map_err(failure)?;
            let (instances, rewind) = (vec![evaluator.step()], &|| evaluator.rewind());
            flags.common.show("eval", &gpu, &Work { instances, most: evaluator.steps(), rewind })
        }
        What::Gemv(flags) => {
            let all = || kernels::OPERATIONS.iter().copied().flatten();
            let Some(named) = all().find(|kernel| kernel.name == flags.kernel) else {
                return Err(failure(format!(
                    "--kernel {}: there is none; see `sterna kernels`",
                    flags.kernel
                )));
            };
            let gpu = flags.common.open()?;
            let operation = kernels::OPERATIONS.iter().any(|variants| variants[0].name == named.name);
            let kernel = if operation {
                kernels::chosen(&gpu, named.name, [1, flags.shape[0], flags.shape[1]])
            } else {
                named
            };
            if let Some(reason) = gpu.lacks(kernel) {
                return Err(failure(format!("--kernel {} does not run here: {reason}", kernel.name)));
            }
            // A capture holds what its dispatches read: one matrix is enough there.
            let most = if flags.common.renderdoc { 1 } else { u64::MAX };
            let [rows, cols] = flags.shape;
            let mut instances =
                rotation(&gpu, kernel, flags.shape, Room::of(&gpu), most)
                    .map_err(failure)?
                    .map_err(|reason| failure(format!("{} {rows}x{cols}: {reason}", kernel.name)))?;
            instances.iter_mut().for_each(|ops| Op::mark(ops, &format!("{rows} x {cols}")));
            let instances = instances.iter().map(Vec::as_slice).collect();
            flags.common.show("gemv", &gpu, &Work { instances, most: usize::MAX, rewind: &|| {} })
        }
    }
}

impl CommonFlags {
    /// Opens the device, with names for a debugger where one asks for them.
    fn open(&self) -> Result<Gpu, Failure> {
        // Vulkan's layer brings RenderDoc in with the first instance; without it, it must be here already.
        let layer = std::env::var_os("ENABLE_VULKAN_RENDERDOC_CAPTURE").is_some();
        if self.renderdoc && !layer {
            self.attach()?;
        }
        self.device.open_as(Choice { debug: self.renderdoc, ..self.device.choice() })
    }

    fn attach(&self) -> Result<Capture, Failure> {
        Capture::attach().ok_or_else(|| {
            let args: Vec<String> = std::env::args().skip(1).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            failure(format!(
                "--renderdoc captures under RenderDoc, which this is not; run: renderdoccmd capture -w -d . -c step {} \
                 (Debian has it in the package renderdoc; `make renderdoc` installs it and does this)",
                super::command(&args)
            ))
        })
    }

    fn show(&self, what: &'static str, gpu: &Gpu, work: &Work) -> Outcome {
        let steps = self.steps.unwrap_or(if self.renderdoc { 1 } else { 20 });
        let most = if self.renderdoc { work.most } else { 100_000 };
        if !(1..=most).contains(&steps) {
            return Err(failure(format!("--steps {steps} must lie between 1 and {most}")));
        }
        super::tell(format!("profile {what} on {}", super::gpu_line(gpu)));
        match self.renderdoc {
            true => self.capture(what, gpu, work, steps),
            false => self.profile(what, gpu, work, steps),
        }
    }

    fn capture(&self, what: &str, gpu: &Gpu, work: &Work, steps: usize) -> Outcome {
        let mut capture = self.attach()?;
        let mut profiler = Profiler::names_only(gpu);
        // First uses clear buffers and compile: not in the capture.
        profiler.run("warm-up", work.step(0)).map_err(failure)?;
        (work.rewind)();
        gpu.run([]).and_then(|_| gpu.wait(None)).map_err(failure)?;
        let (ran, file) = capture.take(|| {
            (0..steps).try_for_each(|i| profiler.run(&format!("step {}", i + 1), work.step(i)).map(drop))
        });
        ran.map_err(failure)?;
        let Some(file) = file else {
            return Err(failure("RenderDoc made no capture: its log, beside the capture file, says why"));
        };
        let dispatches: usize = (0..steps).map(|i| work.step(i).len()).sum();
        super::say(format!("{}: {steps} x {what}, {dispatches} dispatches", shown(&file)))?;
        super::tell(format!("Next: qrenderdoc {}", shown(&file)));
        if self.json {
            let mut line = super::device_json(gpu);
            line.extend(object(json!({
                "profile": what, "steps": steps, "capture": shown(&file), "dispatches": dispatches,
            })));
            super::print_json("profile", line)?;
        }
        Ok(Verdict::Yes)
    }

    fn profile(&self, what: &'static str, gpu: &Gpu, work: &Work, steps: usize) -> Outcome {
        let profiler = match self.by_passes {
            true => Profiler::by_passes(gpu),
            false => Profiler::new(gpu),
        };
        let profiler = profiler.map_err(failure)?;
        let mut watch = Watch { tell: &mut |line| super::tell(line), stop: &|| false };
        let wanted = if self.seconds > 0.0 { &PROFILE_CEILINGS[..] } else { &[] };
        let mut limits = || probes::ceilings(gpu, wanted, Room::of(gpu), self.seconds / 2.0, &mut watch);
        let before = limits();
        let profile = profile::profile(gpu, profiler, work, steps).map_err(failure)?;
        let ceilings = before.better(limits());
        let page = Page { what, gpu, work, ceilings: &ceilings, profile: &profile };
        super::say(super::gpu_line(gpu))?;
        super::say(page.limits())?;
        super::say(page.kernels())?;
        super::say(page.step())?;
        if let Some(path) = &self.trace {
            replace(path, page.trace().json().as_bytes()).map_err(failure)?;
            super::tell(format!("{}: open it at https://ui.perfetto.dev or chrome://tracing", shown(path)));
        }
        if self.json {
            let mut line = super::device_json(gpu);
            line.extend(page.json());
            line.insert("trace".into(), json!(self.trace.as_deref().map(shown)));
            super::print_json("profile", line)?;
        }
        Ok(Verdict::Yes)
    }
}

/// What is printed, and in which units.
struct Page<'a> {
    what: &'static str,
    gpu: &'a Gpu,
    work: &'a Work<'a>,
    ceilings: &'a Ceilings,
    profile: &'a Profile,
}

impl Page<'_> {
    fn limits(&self) -> String {
        let limit = |name: &str| match self.ceilings.probe(name).and_then(Probe::value) {
            Some(value) if name == "read" => format!("reads {:.1} GB/s", 1e-9 * value),
            Some(value) if name == "dependent" => {
                format!("a dispatch that waits for another {:.1} us", 1e6 * value)
            }
            Some(value) => format!("{name} {:.1} Gops/s", 1e-9 * value),
            None => format!("{name} not measured"),
        };
        format!("limits: {}\n", PROFILE_CEILINGS.map(limit).join(", "))
    }

    fn kernels(&self) -> String {
        #[rustfmt::skip]
        let head = [
            "kernel", "calls", "ms", "share", "us each", "after", "bytes each", "GB/s", "%", "Gops/s", "%", "bound by", "",
        ];
        let mut lines = vec![head.map(String::from).to_vec()];
        let total: f64 = self.profile.kernels.iter().map(|row| row.seconds).sum();
        let steps = self.profile.steps.len() as f64;
        let or_dash = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
        for row in &self.profile.kernels {
            let calls = row.calls as f64;
            let floor = row.floor(self.ceilings);
            let bound = floor.map_or("-".into(), |floor| match floor.bound() {
                Bound::Bandwidth => "memory".to_string(),
                Bound::Compute => row.arithmetic.ceiling().unwrap_or_default().to_string(),
                Bound::Launch => "launch".to_string(),
                Bound::Balanced => "balanced".to_string(),
            });
            lines.push(vec![
                row.kernel.into(),
                format!("{:.0}", calls / steps),
                format!("{:.3}", 1e3 * row.seconds / steps),
                format!("{:.1} %", 100.0 * row.seconds / total),
                format!("{:.1}", 1e6 * row.seconds / calls),
                format!("{:.1}", 1e6 * row.waited / calls),
                thousands(row.cost.bytes as usize / row.calls),
                format!("{:.2}", 1e-9 * row.bytes_per_second()),
                or_dash(percent(row.bytes_per_second(), self.ceilings.read.value())),
                format!("{:.2}", 1e-9 * row.ops_per_second()),
                or_dash(percent(row.ops_per_second(), self.ceilings.rate(row.arithmetic))),
                bound,
                floor.map_or("-".into(), |floor| format!("{:.0} %", 100.0 * floor.seconds() / row.seconds)),
            ]);
        }
        let over =
            |row: &KernelRow| percent(row.bytes_per_second(), self.ceilings.read.value()) > Some(100.0);
        let cached = match self.profile.kernels.iter().any(over) {
            true => {
                "\nabove 100 % of GB/s: what is used again lies in a cache, where the probe of the limit does not look"
            }
            false => "",
        };
        format!(
            "{}calls and ms: of one step; after: us since the dispatch before ended; %: of the limit above; bound by: the\n\
             limit that takes the kernel longest, with the share of it that was reached{cached}\n",
            columns(&lines)
        )
    }

    fn step(&self) -> String {
        let parts = self.profile.parts();
        let count = self.profile.steps.len();
        let mut lines = vec![vec![format!("one step, mean of {count}"), "ms".into(), "share".into()]];
        let mut line = |name: &str, seconds: f64| {
            let share = format!("{:.1} %", 100.0 * seconds / parts.wall);
            lines.push(vec![name.into(), format!("{:.3}", 1e3 * seconds), share]);
        };
        line("recording it, on the host", parts.recording);
        line("from submitting to the first dispatch, and back from the last", parts.around());
        line("dispatches", parts.dispatches);
        line("between them", parts.between);
        line("wall", parts.wall);
        let each = self.profile.usual();
        format!(
            "{}as it runs unprofiled, {} to a submission: {:.3} ms a step; the dispatches above are {:.0} % of it\n\
             profiling makes a step that is submitted alone {:.2} times as long (medians, in turns)",
            columns(&lines),
            self.profile.together_steps,
            1e3 * each,
            100.0 * parts.dispatches / each,
            self.profile.overhead(),
        )
    }

    fn trace(&self) -> Trace {
        let mut trace = Trace::default();
        let device = format!("device: {}", self.gpu.name());
        let [recording, submitting, waiting] =
            ["recording", "submitting", "waiting"].map(|name| trace.row("host: sterna", name));
        let [passes, dispatches] = ["passes", "dispatches"].map(|name| trace.row(&device, name));
        let (offset, within) = self.profile.offset();
        for (i, step) in self.profile.steps.iter().enumerate() {
            let ops = self.work.step(i);
            let args = json!({"step": i + 1, "dispatches": ops.len()});
            let seen = &step.seen;
            trace.span(recording, &step.name, seen.recording.clone(), args.clone());
            trace.span(submitting, &step.name, seen.submitting.clone(), args.clone());
            trace.span(waiting, &step.name, seen.submitting.end..seen.done, args);
            let on_host = |span: &std::ops::Range<f64>| span.start + offset..span.end + offset;
            let timed: Vec<_> = ops.iter().zip(&seen.dispatches).collect();
            for phase in timed.chunk_by(|a, b| a.0.phase() == b.0.phase()) {
                let span = phase[0].1.start..phase[phase.len() - 1].1.end;
                let name = format!("{} / {}", step.name, phase[0].0.phase());
                trace.span(passes, &name, on_host(&span), json!({"dispatches": phase.len()}));
            }
            for (op, span) in timed {
                trace.span(dispatches, op.name(), on_host(span), Value::Object(described(op)));
            }
        }
        trace.about("profile", self.what);
        trace.about("adapter", self.gpu.name());
        trace.about("backend", self.gpu.backend());
        trace.about("device_clock_within_us", 1e6 * within);
        trace.about("schema", super::SCHEMA);
        trace.about("sterna_version", env!("CARGO_PKG_VERSION"));
        trace
    }

    fn json(&self) -> Map<String, Value> {
        let parts = self.profile.parts();
        let kernels = self.profile.kernels.iter().map(|row| {
            let floor = row.floor(self.ceilings);
            json!({
                "kernel": row.kernel, "calls": row.calls, "seconds": row.seconds,
                "mean_seconds": row.seconds / row.calls as f64, "min_seconds": row.range[0],
                "max_seconds": row.range[1], "waited_seconds": row.waited, "bytes": row.cost.bytes, "ops": row.cost.ops,
                "gb_per_s": 1e-9 * row.bytes_per_second(), "gops_per_s": 1e-9 * row.ops_per_second(),
                "percent_of_read": percent(row.bytes_per_second(), self.ceilings.read.value()),
                "rate": row.arithmetic.ceiling(), "percent_of_rate": percent(row.ops_per_second(), self.ceilings.rate(row.arithmetic)),
                "bound_by": floor.map(|floor| floor.bound()),
                "percent_of_bound": floor.map(|floor| 100.0 * floor.seconds() / row.seconds),
            })
        });
        // One step, dispatch by dispatch: means over those steps that ran over the same buffers as the first.
        let first = self.work.step(0);
        let same: Vec<_> = self.profile.steps.iter().step_by(self.work.instances.len()).collect();
        let dispatches = first.iter().enumerate().map(|(i, op)| {
            let took = same.iter().map(|step| step.seen.dispatches[i].end - step.seen.dispatches[i].start);
            let mut dispatch = described(op);
            dispatch.insert("seconds".into(), json!(took.sum::<f64>() / same.len() as f64));
            dispatch
        });
        let ceilings: Map<String, Value> = self
            .ceilings
            .each()
            .into_iter()
            .filter(|(name, _)| PROFILE_CEILINGS.contains(name))
            .map(|(name, probe)| (name.to_string(), json!(probe.value())))
            .collect();
        object(json!({
            "profile": self.what, "steps": self.profile.steps.len(), "checked": self.gpu.checked(),
            "clock": self.profile.grain.name(),
            "kernels": kernels.collect::<Vec<_>>(), "dispatches": dispatches.collect::<Vec<_>>(),
            "step_seconds": {
                "recording": parts.recording, "around": parts.around(), "dispatches": parts.dispatches,
                "between": parts.between, "wall": parts.wall,
            },
            "device_seconds": self.profile.steps.iter().map(profile::Profiled::kernels).sum::<f64>(),
            "unprofiled_seconds": self.profile.plain, "together_seconds": self.profile.together,
            "together_steps": self.profile.together_steps, "profiling_costs": self.profile.overhead(),
            "ceilings": ceilings,
        }))
    }
}

/// What a dispatch is, as arguments.
fn described(op: &Op) -> Map<String, Value> {
    let tensor = |tensor: &crate::Tensor| format!("{} {:?}", tensor.label(), tensor.shape());
    object(json!({
        "kernel": op.name(), "phase": op.phase(), "groups": op.groups(), "bytes": op.cost().bytes,
        "ops": op.cost().ops, "tensors": op.tensors().iter().map(tensor).collect::<Vec<_>>(),
    }))
}

/// A rate in percent of its limit.
fn percent(rate: f64, limit: Option<f64>) -> Option<f64> {
    limit.map(|limit| 100.0 * rate / limit)
}
