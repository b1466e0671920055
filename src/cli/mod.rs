//! The command line: parsing here, one file per subcommand. stdout is the result, stderr the progress.
//!
//! Exit codes: 0 done, 1 the result says no (accuracy below `--require`), 2 an error.

mod eval;
mod info;
mod train;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value, json};

use crate::checkpoint::SCHEMA;
use crate::gpu::{Choice, Gpu};
use crate::mnist::Dataset;
use crate::report::{LayerCost, model_table};
use crate::ternary::Packed;
use crate::train::Score;

/// Ternary neural networks on any GPU: weights in {-1, 0, 1}, trained, measured and run by WGSL shaders.
#[derive(Parser)]
#[command(name = "sterna", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sterna train                                MNIST, 784-256-128-10, 20 epochs
  sterna train --epochs 2 --require 0.97      a quick check: exit 1 below 97 %
  sterna eval runs/NAME/model.safetensors     accuracy and confusion matrix
  sterna info                                 the GPUs of this machine";

#[derive(Subcommand)]
enum Command {
    /// Train a ternary network, on MNIST unless told otherwise.
    Train(train::Flags),
    /// Score a trained network on a test set.
    Eval(eval::Flags),
    /// List every adapter, and say which one would be used and why.
    Info(info::Flags),
}

/// Which device to use.
#[derive(Args)]
#[command(next_help_heading = "Device")]
struct DeviceFlags {
    /// Use the adapter whose `backend name driver` contains this text, in any case.
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
    /// Use this graphics interface.
    #[arg(long, value_parser = ["vulkan", "metal", "dx12", "gl"])]
    backend: Option<String>,
    /// Keep bounds checks in every shader. Slower; the results are the same.
    #[arg(long)]
    checked: bool,
}

impl DeviceFlags {
    fn choice(&self) -> Choice {
        Choice {
            backend: self.backend.clone(),
            adapter: self.adapter.clone(),
            checked: self.checked,
            tuning: None,
        }
    }

    fn open(&self) -> Result<Gpu, Failure> {
        Gpu::new(&self.choice()).map_err(failure)
    }
}

/// What to read.
#[derive(Args)]
struct DataFlags {
    /// Folder of another data set in MNIST's four-file form (Fashion-MNIST, KMNIST, EMNIST), gzip or plain.
    ///
    /// The files are called `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`
    /// and `t10k-labels-idx1-ubyte`, with or without `.gz`. Image size and number of classes are read
    /// from them. Without this flag: the MNIST inside the program.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataFlags {
    fn load(&self) -> Result<Dataset, Failure> {
        match &self.data {
            Some(folder) => Dataset::load(folder).map_err(failure),
            None => Ok(Dataset::embedded()),
        }
    }
}

/// One sentence for stderr; exit code 2.
struct Failure(String);

fn failure(error: impl Display) -> Failure {
    Failure(error.to_string())
}

/// Whether the result says yes.
type Outcome = Result<bool, Failure>;

/// Parses the arguments, runs the command and turns its outcome into an exit code.
pub fn main() -> ExitCode {
    crate::gpu::silence_device_select();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    let outcome = match Cli::parse().command {
        Command::Train(flags) => train::run(&flags),
        Command::Eval(flags) => eval::run(&flags),
        Command::Info(flags) => info::run(&flags),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure(sentence)) => {
            tell(format!("sterna: {sentence}"));
            ExitCode::from(2)
        }
    }
}

/// A line of the result on stdout. Who reads it may stop reading, `sterna info | head`; that is no error.
fn say(line: impl Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(failure(format!("the result cannot be written to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// A line for people on stderr. A run does not end because nobody listens.
fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints the last line of stdout for machines.
fn print_json(command: &str, result: Map<String, Value>) -> Result<(), Failure> {
    let mut line = object(json!({"command": command}));
    line.extend(result);
    line.insert("schema".into(), json!(SCHEMA));
    line.insert("sterna_version".into(), json!(env!("CARGO_PKG_VERSION")));
    say(Value::Object(line))
}

/// The keys that describe a device.
fn device_json(gpu: &Gpu) -> Map<String, Value> {
    object(json!({"adapter": gpu.name(), "backend": gpu.backend(), "device_type": gpu.device_type()}))
}

/// The keys that describe a test score.
fn score_json(test: Score) -> Map<String, Value> {
    object(json!({
        "test_accuracy": test.accuracy, "test_loss": test.loss, "perplexity": test.perplexity(),
    }))
}

/// The keys that describe a model's size.
fn model_json(layers: &[Packed]) -> Map<String, Value> {
    let costs = costs(layers);
    let total = LayerCost::total(&costs);
    object(json!({
        "precision": "ternary",
        "zeros": costs.iter().map(LayerCost::zeros).collect::<Vec<_>>(),
        "bytes": {"f32": total.f32_bytes, "packed": total.packed_bytes, "base3": total.base3_bytes},
    }))
}

fn costs(layers: &[Packed]) -> Vec<LayerCost> {
    let last = layers.len().saturating_sub(1);
    layers.iter().enumerate().map(|(i, packed)| LayerCost::count(packed, i == last)).collect()
}

/// The model's table and its score, for people.
fn print_model(layers: &[Packed], test: Score) -> Result<(), Failure> {
    say(model_table(&costs(layers)))?;
    say(format!(
        "Test accuracy {:.2} %, loss {:.4} nats, perplexity {:.3}",
        100.0 * test.accuracy,
        test.loss,
        test.perplexity()
    ))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn gpu_line(gpu: &Gpu) -> String {
    let checked = if gpu.checked() { ", shaders checked" } else { "" };
    let software = if gpu.is_software() { ", a software rasteriser on the CPU" } else { "" };
    format!("{} ({}{software}{checked})", gpu.name(), gpu.backend())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
