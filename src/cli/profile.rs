//! `sterna profile`: where the time of a step goes, as a table, on a timeline, or as a capture for RenderDoc.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::arguments::{some, whole};
use super::bench::subject;
use super::network::TextFlags;
use super::train::{ShapeFlags, flag_ids};
use super::{DataFlags, DeviceFlags, Failure, Outcome, Verdict, failure, object, shown};
use crate::gpu::{Capture, Choice, Gpu, Op, Profiler};
use crate::kernels::{self, KeyForm, MOST_TERMS};
use crate::measure::profile::{self, PROFILE_CEILINGS, Work};
use crate::measure::{Room, Watch, probes, rotation};
use crate::model::{Mlp, Network, Precision, Transformer};
use crate::report::ProfileReport;
use crate::text::Corpus;
use crate::train::{Augment, Config, Evaluator, Source, Text, TextConfig, Trainer};

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
    /// The writing of a language model, token by token.
    Generate(GenerateFlags),
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
  sterna profile train --text             the default language model
  sterna profile train --text --layers 6 --width 384 --heads 6
  sterna profile train --text --micro-batches 4
                                          with the kernels of an exchange
  sterna profile eval -o eval.json        a timeline for https://ui.perfetto.dev
  sterna profile generate --shape 10m     every dispatch of a token
  sterna profile gemv --shape 11008x4096 --kernel gemv_f32
  renderdoccmd capture -w -d . -c step sterna profile train --renderdoc
                                          one step as a capture for RenderDoc";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct TrainFlags {
    #[command(flatten)]
    network: NetworkFlags,
    /// Images or sequences per step. [default: 128 images; on a text 12 sequences]
    #[arg(long, value_name = "N", value_parser = some)]
    batch: Option<usize>,
    /// Compute each step in this many micro-batches, as one of several ranks does.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST_TERMS as u64))]
    micro_batches: Option<usize>,
    /// How training images are varied.
    #[arg(long, value_enum, default_value_t, conflicts_with = "text")]
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
struct GenerateFlags {
    /// The shape of a known model, with made-up weights (2b4t, 10m, 0.8m), or the file or folder of a language model.
    #[arg(long, value_name = "SHAPE|FILE", default_value = "2b4t")]
    shape: OsString,
    /// Number of tokens before the first step.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = some)]
    depth: usize,
    #[command(flatten)]
    network: TextFlags,
    #[command(flatten)]
    common: CommonFlags,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct GemvFlags {
    /// The matrix as ROWSxCOLS.
    #[arg(long, value_name = "SHAPE", value_parser = super::bench::shape, default_value = "4096x4096")]
    shape: [usize; 2],
    /// gemv_f32, gemv_i8, gemv_ternary, gemv_ternary_addsub, gemv_base3, or one of their variants; for an operation
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
    /// A language model on a text, a file or a folder, instead of a network on digits. Without a value: the text inside
    /// the program.
    #[arg(long, value_name = "FILE|FOLDER", num_args = 0..=1, conflicts_with_all = ["data", "hidden"])]
    text: Option<Option<PathBuf>>,
    #[command(flatten, next_help_heading = "Shape of a language model")]
    shape: ShapeFlags,
    /// Widths of the hidden layers.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "256,128", value_parser = some)]
    hidden: Vec<usize>,
    /// Ternary weights and int8 activations, or f32 throughout.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
}

impl NetworkFlags {
    fn config(&self) -> Config {
        Config { hidden: self.hidden.clone(), precision: self.precision, ..Config::default() }
    }

    /// The text that was asked for, and the settings of a run on it.
    fn on_text(
        &self,
        batch: Option<usize>,
        micro_batches: Option<usize>,
    ) -> Result<Option<(Corpus, TextConfig)>, Failure> {
        let Some(path) = &self.text else { return Ok(None) };
        let corpus = match path {
            Some(path) => Corpus::load(path).map_err(failure)?,
            None => Corpus::embedded(),
        };
        let default = TextConfig::default();
        let batch = batch.unwrap_or(default.batch);
        let config = TextConfig { batch, micro_batches, precision: self.precision, ..default };
        let config = self.shape.of(config);
        config.validate(corpus.vocabulary.len()).map_err(super::refused)?;
        corpus.fits(config.context).map_err(failure)?;
        Ok(Some((corpus, config)))
    }
}

#[derive(Args)]
struct CommonFlags {
    /// Steps to look at.
    /// [default: 20; for a capture 1]
    #[arg(long, value_name = "N", value_parser = some)]
    steps: Option<usize>,
    /// Write a timeline to this file: recording and submission on the host, passes and dispatches on the device.
    #[arg(short = 'o', long = "out", alias = "trace", value_name = "FILE", conflicts_with = "renderdoc")]
    trace: Option<PathBuf>,
    /// Replace the file of --trace if it exists.
    #[arg(long, requires = "trace")]
    force: bool,
    /// Under RenderDoc: record the steps as one capture in which every object has a name, and print its path.
    #[arg(long)]
    renderdoc: bool,
    /// Seconds to measure each of the adapter's limits, half before and half after the steps; the better value
    /// counts. 0 skips them.
    #[arg(long, alias = "seconds", value_name = "S", default_value_t = 0.3, value_parser = super::arguments::seconds)]
    limit_seconds: f64,
    /// Give each dispatch its own pass. This is automatic on a device that reads its clock only at the ends of
    /// passes.
    #[arg(long)]
    by_passes: bool,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

pub fn run(flags: &Flags, given: &[String]) -> Outcome {
    if let What::Train(TrainFlags { network, .. }) | What::Eval(EvalFlags { network, .. }) = &flags.what
        && network.text.is_none()
        && let Some(id) = flag_ids::<ShapeFlags>().iter().find(|id| given.contains(id))
    {
        let flag = id.replace('_', "-");
        return Err(failure(format!("--{flag} is for a language model: add --text, or leave it out")));
    }
    match &flags.what {
        What::Train(flags) => {
            if let Some((corpus, config)) = flags.network.on_text(flags.batch, flags.micro_batches)? {
                let gpu = flags.common.open()?;
                return flags.common.train(&gpu, &Trainer::on_text(&gpu, &corpus, &config).map_err(failure)?);
            }
            let config = flags.network.config();
            let batch = flags.batch.unwrap_or(config.batch);
            let micro_batches = flags.micro_batches;
            let config = Config { batch, micro_batches, augment: flags.augment, ..config };
            let data = flags.network.data.load()?;
            config.validate(&data).map_err(super::refused)?;
            let gpu = flags.common.open()?;
            let trainer = Trainer::new(&gpu, &data, &config).map_err(super::unfit(&gpu, &config, &data))?;
            flags.common.train(&gpu, &trainer)
        }
        What::Eval(flags) => {
            if let Some((corpus, config)) = flags.network.on_text(None, None)? {
                let gpu = flags.common.open()?;
                let shape = config.shape(corpus.vocabulary.len());
                let values = shape.initial(config.seed);
                let network = Transformer::upload(&gpu, shape, &values).map_err(failure)?;
                let source = Text::whole(&gpu, &corpus.validation, config.context).map_err(failure)?;
                return flags.common.eval(&gpu, &Evaluator::on(&gpu, &network, &source).map_err(failure)?);
            }
            let config = flags.network.config();
            let data = flags.network.data.load()?;
            let shape = config.shape(&data);
            shape
                .validate()
                .map_err(|width| failure(format!("--hidden {:?} makes {width}", config.hidden)))?;
            let gpu = flags.common.open()?;
            config.fits(&gpu, &data).map_err(super::unfit(&gpu, &config, &data))?;
            let values = shape.initial(config.seed);
            let mlp = Mlp::upload(&gpu, shape, &values).map_err(failure)?;
            flags.common.eval(&gpu, &Evaluator::new(&gpu, &mlp, &data.test).map_err(failure)?)
        }
        What::Generate(flags) => {
            let steps = flags.common.wanted();
            let subject = subject(&flags.shape, &flags.network)?.with_context(flags.depth + steps)?;
            let gpu = flags.common.open()?;
            subject.tune(&gpu, &flags.common.device, false)?;
            let (network, _) = subject.upload(&gpu, &flags.network)?;
            let cache = network.cache(&gpu, flags.network.keys(KeyForm::F16));
            let cache = cache.map_err(|error| flags.network.unfit(&network.shape, error))?;
            cache.make_up(&gpu, flags.depth);
            let decoder = network.decoder(&gpu, &cache).map_err(failure)?;
            let rewind = || decoder.rewind(&gpu, flags.depth);
            rewind();
            let work = Work { instances: vec![decoder.token()], most: steps, rewind: &rewind };
            flags.common.show("generate", &gpu, &work)
        }
        What::Gemv(flags) => {
            let all = || kernels::OPERATIONS.iter().copied().flatten();
            let Some(named) = all().find(|kernel| kernel.name == flags.kernel) else {
                return Err(super::kernels::unknown(&flags.kernel));
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
            // A capture contains the data that its dispatches read, so one matrix is enough.
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
    /// The number of steps.
    fn wanted(&self) -> usize {
        self.steps.unwrap_or(if self.renderdoc { 1 } else { 20 })
    }

    /// Opens the device. For a debugger its objects get names.
    fn open(&self) -> Result<Gpu, Failure> {
        if let Some(path) = &self.trace {
            super::place(path, self.force)?;
        }
        // Vulkan's layer loads RenderDoc with the first instance. Without the layer RenderDoc must be loaded already.
        let layer = std::env::var_os("ENABLE_VULKAN_RENDERDOC_CAPTURE").is_some();
        if self.renderdoc && !layer {
            self.attach()?;
        }
        self.device.open_as(Choice { debug: self.renderdoc, ..self.device.choice() })
    }

    fn attach(&self) -> Result<Capture, Failure> {
        Capture::attach().ok_or_else(|| {
            let args: Vec<OsString> = std::env::args_os().skip(1).collect();
            let args: Vec<&dyn AsRef<OsStr>> = args.iter().map(|arg| arg as &dyn AsRef<OsStr>).collect();
            failure(format!(
                "--renderdoc captures under RenderDoc, which this is not; run: renderdoccmd capture -w -d . -c step {} \
                 (Debian has it in the package renderdoc; `make renderdoc` installs it and does this)",
                super::command(&args)
            ))
        })
    }

    fn train<N: Network, S: Source>(&self, gpu: &Gpu, trainer: &Trainer<N, S>) -> Outcome {
        let most = trainer.items() / trainer.recipe.batch;
        let work = Work { instances: vec![trainer.step()], most, rewind: &|| trainer.rewind() };
        self.show("train", gpu, &work)
    }

    fn eval(&self, gpu: &Gpu, evaluator: &Evaluator) -> Outcome {
        let (instances, rewind) = (vec![evaluator.step()], &|| evaluator.rewind());
        self.show("eval", gpu, &Work { instances, most: evaluator.steps(), rewind })
    }

    fn show(&self, what: &'static str, gpu: &Gpu, work: &Work) -> Outcome {
        let steps = self.wanted();
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
        // The first use clears buffers and compiles. It must not be part of the capture.
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
                "profile": what, "steps": steps, "capture": super::named(&file), "dispatches": dispatches,
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
        let wanted = if self.limit_seconds > 0.0 { &PROFILE_CEILINGS[..] } else { &[] };
        let mut limits =
            || probes::ceilings(gpu, wanted, Room::of(gpu), self.limit_seconds / 2.0, &mut watch);
        let before = limits();
        let profile = profile::profile(gpu, profiler, work, steps).map_err(failure)?;
        let ceilings = before.better(limits());
        let report = ProfileReport { what, gpu, work, ceilings: &ceilings, profile: &profile };
        super::say(format!("{}\n{}", super::gpu_line(gpu), report.text()))?;
        if let Some(path) = &self.trace {
            super::write(path, report.trace().json().as_bytes(), self.force)?;
            super::tell(format!("{}: open it at https://ui.perfetto.dev or chrome://tracing", shown(path)));
        }
        if self.json {
            let mut line = super::device_json(gpu);
            line.extend(report.json());
            line.insert("trace".into(), json!(self.trace.as_deref().map(super::named)));
            super::print_json("profile", line)?;
        }
        Ok(Verdict::Yes)
    }
}
