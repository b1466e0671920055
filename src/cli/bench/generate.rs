//! `sterna bench generate`: tokens per second of a language model, beside what this adapter's memory allows.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{kept, spinner};
use crate::cli::arguments::{some, whole};
use crate::cli::{self, DeviceFlags, Failure, MemoryFlags, Outcome, Verdict, failure, network, shown};
use crate::gpu::Gpu;
use crate::kernels::KeyForm;
use crate::measure::decode::{Generation, Test, peak_bytes};
use crate::measure::kept::Keeping;
use crate::measure::{Wanted, Watch};
use crate::model::{
    MOST_AT_ONCE, MadeUp, PIECE, Precision, SHAPES, Transformer, TransformerShape, named_shape,
};
use crate::parameter::{Parameter, Role};
use crate::report::{Form, GenerateReport};
use crate::store::Floats;

const EXAMPLES: &str = "\
`pp512` is the reading of a prompt of 512 tokens, `tg64` the writing of 64, `tg64 @ d4000` with 4000 tokens before them; \
± is the standard deviation of the repetitions. A named shape gets made-up weights, so nothing is downloaded: the time \
depends on shapes alone. `bound` is the speed at which a token's bytes (weights, keys and values, each once) pass the \
measured bandwidth and its dispatches take the measured time of an empty one: 1 / (bytes / bandwidth + dispatches * \
launch). `binds` is the larger of the two, or the arithmetic where that takes longer than both. Bandwidth and launch are \
kept in the cache folder for four hours; --fresh measures them again.

Examples:
  sterna bench generate                       BitNet b1.58 2B4T's shape
  sterna bench generate --shape 10m -p 64,256 -n 128
  sterna bench generate --shape ggml-model-i2_s.gguf --depth 0,1024,4000
  sterna bench generate --to md               a table for an issue or a page";

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// Columns for a terminal.
    Table,
    /// Comma-separated values.
    Csv,
    /// A table in Markdown, as llama-bench prints it.
    Md,
    /// One JSON object on one line.
    Json,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// The shape of a known model, with made-up weights (2b4t, 10m, 0.8m), or the file or folder of a language model.
    #[arg(long, value_name = "SHAPE|FILE", default_value = "2b4t")]
    shape: OsString,
    /// Lengths of prompts, separated by commas. 0 measures none. [default: 512, and 16 on a software rasteriser]
    #[arg(short, long, value_name = "N,N", value_delimiter = ',', value_parser = whole::<usize>(0, 1 << 20))]
    prompt: Option<Vec<usize>>,
    /// Number of tokens to write. [default: 64, and 16 on a software rasteriser]
    #[arg(short = 'n', long, value_name = "N", value_parser = some)]
    tokens: Option<usize>,
    /// Numbers of tokens before the written ones, separated by commas.
    #[arg(short, long, value_name = "N,N", value_delimiter = ',', default_value = "0", value_parser = whole::<usize>(0, 1 << 20))]
    depth: Vec<usize>,
    /// Tokens that the device writes before the host reads them. [default: 16, and 4 on a software rasteriser]
    #[arg(long, value_name = "K", value_parser = whole::<usize>(1, MOST_AT_ONCE as u64))]
    at_once: Option<usize>,
    /// Repetitions of each test, after one that does not count. [default: 5, and 3 on a software rasteriser]
    #[arg(short, long, value_name = "N", value_parser = some)]
    repeat: Option<usize>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = To::Table)]
    to: To,
    /// Print one JSON object on one line, and nothing else, as --to json does.
    #[arg(long, conflicts_with = "to")]
    json: bool,
    /// Measure each ceiling for this many seconds.
    #[arg(long, value_name = "S", default_value_t = 0.3, value_parser = cli::arguments::seconds)]
    seconds: f64,
    /// Measure bandwidth and launch again, even if they were measured within the last four hours.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    network: network::TextFlags,
    #[command(flatten)]
    memory: MemoryFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

/// The ceilings that a token is compared with.
const LIMITS: [&str; 5] = ["read", "launch", "fma_f32", "add_i32", "dot4_i8"];

/// A model to measure: its name, and where its weights come from.
pub struct Subject {
    /// The name of the shape, or of the file.
    pub name: String,
    shape: TransformerShape,
    opened: Option<crate::model::Opened>,
}

/// Finds the model of `--shape`: a named shape, or a file.
pub fn subject(named: &OsString, flags: &network::TextFlags) -> Result<Subject, Failure> {
    if let Some(shape) = named.to_str().and_then(named_shape) {
        let name = named.to_string_lossy().into_owned();
        return Ok(Subject { name, shape, opened: None });
    }
    let path = Path::new(named);
    if !path.exists() {
        return Err(failure(format!(
            "--shape {}: no shape and no file has this name; the shapes are {}",
            shown(path),
            SHAPES.join(", ")
        )));
    }
    let (opened, shape, _) = flags.open(path, usize::MAX)?;
    Ok(Subject { name: shown(path), shape, opened: Some(opened) })
}

impl Subject {
    /// Checks that the model has room for so many tokens, and gives it this context.
    pub fn with_context(mut self, context: usize) -> Result<Subject, Failure> {
        if context > self.shape.context {
            return Err(failure(format!(
                "{context} tokens: {} has a context of {}: take fewer, or less --depth",
                self.name, self.shape.context
            )));
        }
        self.shape.context = context;
        if let Some(opened) = &mut self.opened {
            opened.shape = crate::model::AnyShape::Transformer(self.shape.clone());
        }
        Ok(self)
    }

    /// The network on the device, and the form of its embedding.
    pub fn upload(&self, gpu: &Gpu, flags: &network::TextFlags) -> Result<(Transformer, Floats), Failure> {
        // What is too large for f32 is measured in its smallest form.
        let form = flags.embedding(match network::embedding(&self.shape) {
            Floats::F32 => Floats::F32,
            _ => Floats::Int8,
        });
        let network = match &self.opened {
            Some(opened) => opened.transformer(gpu, form),
            None => {
                let source = MadeUp { parameters: self.shape.parameters(), seed: 1 };
                Transformer::load(gpu, self.shape.clone(), &source, form)
            }
        };
        Ok((network.map_err(|error| flags.unloaded(&self.shape, error))?, form))
    }

    /// Finds the fastest kernels for one token, and for a piece of a prompt.
    pub fn tune(&self, gpu: &Gpu, device: &DeviceFlags, prompt: bool) -> Result<(), Failure> {
        if self.shape.precision == Precision::F32 {
            return Ok(());
        }
        let wanted = |operation, batch: usize| {
            let matrix =
                move |(_, [rows, cols]): (&str, [usize; 2])| Wanted { operation, shape: [batch, rows, cols] };
            self.shape.stacked().map(matrix)
        };
        let mut all = wanted("gemv_ternary", 1).to_vec();
        if prompt {
            all.extend(wanted("matmul_ternary", PIECE));
        }
        device.tune(gpu, &all, 0.5)
    }
}

pub fn run(flags: &Flags) -> Outcome {
    let subject = subject(&flags.shape, &flags.network)?;
    let gpu = flags.device.open()?;
    let either = |gpu_has: usize, software: usize| if gpu.is_software() { software } else { gpu_has };
    let prompts = flags.prompt.clone().unwrap_or_else(|| vec![either(512, 16)]);
    let tokens = flags.tokens.unwrap_or(either(64, 16));
    let prompts = prompts.into_iter().filter(|&tokens| tokens > 0).map(Test::Prompt);
    let texts = flags.depth.iter().map(|&depth| Test::Text { tokens, depth });
    let tests: Vec<Test> = prompts.chain(texts).collect();
    let context = tests.iter().map(|test| test.context()).max().expect("a text at least");
    let subject = subject.with_context(context)?;
    let reads = tests.iter().any(|test| matches!(test, Test::Prompt(_)));
    subject.tune(&gpu, &flags.device, reads)?;

    let bar = spinner();
    let room = flags.device.found(flags.memory.room(&gpu))?;
    let keeping = Keeping { file: flags.device.cache(&gpu, "ceilings", "json"), fresh: flags.fresh };
    let mut watch = Watch { tell: &mut |line| bar.set_message(line), stop: &|| false };
    let (found, age) = keeping.ceilings(&gpu, &LIMITS, room, flags.seconds, &mut watch);
    keeping.keep(&found);
    bar.set_message(format!("{} goes to the device", subject.name));
    let (network, form) = subject.upload(&gpu, &flags.network)?;
    let keys = flags.network.keys(KeyForm::F16);
    let cache = network.cache(&gpu, keys).map_err(|error| flags.network.unfit(&network.shape, error))?;
    let generation = Generation {
        network: &network,
        at_once: flags.at_once.unwrap_or(either(16, 4)),
        repeats: flags.repeat.unwrap_or(either(5, 3)),
        ceilings: &found.ceilings,
    };
    let mut rates = Vec::new();
    for test in tests {
        let name = test.name();
        let mut tell = |speed: f64| bar.set_message(format!("{name}: {speed:.2} tokens a second"));
        rates.push(generation.measure(&gpu, &cache, test, &mut tell).map_err(failure)?);
    }
    bar.finish_and_clear();
    let shape = &network.shape;
    let parameters = shape.parameters();
    let count = |of: &dyn Fn(&Parameter) -> bool| -> usize {
        parameters.iter().filter(|parameter| of(parameter)).map(Parameter::count).sum()
    };
    let (all, weights) = (count(&|_| true), shape.weights());
    let gains = count(&|parameter| parameter.role == Role::Gain);
    // The embedding, and a head that is not tied to it.
    let table = all - weights - gains;
    let matrices = match shape.precision {
        Precision::Ternary => weights / 4,
        Precision::F32 => 4 * weights,
    };
    let scales = if form == Floats::Int8 { 4 * table / shape.width } else { 0 };
    let report = GenerateReport {
        model: &subject.name,
        bytes: (matrices + form.bytes() * table + scales + 4 * gains) as u64,
        parameters: all,
        adapter: &gpu.name(),
        rates: &rates,
    };
    cli::tell(format!(
        "bench generate: {} with an embedding of {}, keys of {}, {} at once; ceilings {}",
        subject.name,
        form.name(),
        keys.name(),
        generation.at_once,
        kept(age)
    ));
    let form_of_output = match flags.to {
        _ if flags.json => None,
        To::Json => None,
        To::Table => Some(Form::Table),
        To::Csv => Some(Form::Csv),
        To::Md => Some(Form::Markdown),
    };
    if form_of_output == Some(Form::Table) {
        cli::say(format!("{}\n", cli::gpu_line(&gpu)))?;
    }
    match form_of_output {
        Some(form) => cli::say(report.text(form))?,
        None => {
            let mut line = cli::device_json(&gpu);
            line.extend(report.json());
            line.extend(cli::object(json!({
                "context": context, "embedding": form.name(), "keys": keys.name(), "at_once": generation.at_once,
                "checked": gpu.checked(), "peak_bytes": peak_bytes(),
                "read_bytes_per_second": found.ceilings.read.value(),
                "launch_seconds": found.ceilings.launch.value(),
                "fma_f32_ops_per_second": found.ceilings.fma_f32.value(),
                "dot4_i8_ops_per_second": found.ceilings.dot4_i8.value(),
                "ceilings_kept_seconds": age,
            })));
            cli::print_json("bench", line)?;
        }
    }
    if form_of_output == Some(Form::Table)
        && let Some(bytes) = peak_bytes()
    {
        let what = if gpu.is_software() { "the program and its device" } else { "the program" };
        cli::say(format!("{what} held at most {:.0} MB", 1e-6 * bytes as f64))?;
    }
    Ok(Verdict::Yes)
}
