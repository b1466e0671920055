//! The command line: parsing here, one file per subcommand. stdout is the result, stderr the progress.
//!
//! Exit codes: 0 done, 1 the result says no (accuracy below `--require`, a run that
//! diverged, a benchmark that contradicts itself), 2 an error, 130 interrupted.

mod amd;
mod arguments;
mod bench;
mod chat;
mod eval;
mod explain;
mod export;
mod generate;
mod import;
mod info;
mod inspect;
mod interrupt;
mod kernels;
mod network;
mod pack;
mod page;
mod predict;
mod profile;
mod ranks;
mod runs;
mod shell;
mod trace;
mod train;
mod tune;
mod verify;
mod wall;
mod watch;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::{Map, Value, json};

use crate::gpu::{Choice, Error, Gpu, WGPU_VERSION, backends};
use crate::measure::{Room, tuning};
use crate::mnist::Dataset;
use crate::model::Shape;
use crate::reason::unwritten;
use crate::report::{LayerCost, model_table, thousands};
use crate::store::{FileError, SCHEMA, create, escaped, folder, replace, shown, taken, target};
use crate::store::{Imported, Loss, Model, Reading};
use crate::ternary::Packed;
use crate::train::{Config, ConfigError, Score};

/// Ternary neural networks on any GPU: weights in {-1, 0, 1}, trained, measured and run by WGSL shaders.
#[derive(Parser)]
#[command(name = "sterna", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Show no progress; results, warnings and errors stay.
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// Whether stdout holds a single JSON object, and whether progress on stderr is off.
static JSON: AtomicBool = AtomicBool::new(false);
static QUIET: AtomicBool = AtomicBool::new(false);

/// Whether this process prints nothing, because another rank of the same run prints the same.
static MUTED: AtomicBool = AtomicBool::new(false);

const EXAMPLES: &str = "\
Examples:
  sterna train                          MNIST, 784-256-128-10, 20 epochs
  sterna train --resume runs/NAME       go on after Ctrl-C or a power cut
  sterna train --resume runs/NAME --epochs 40
                                        extend it to 40 epochs
  sterna train --compare                beside the same network in f32
  sterna train --text                   a language model of Shakespeare
  sterna runs                           every run, how good, how it ended
  sterna watch                          a run that goes on elsewhere
  sterna explain straight-through       an idea in ten lines, your numbers
  sterna trace runs/NAME --index 3      one image through it, term by term
  sterna trace \"To be, or\"              a text through the newest language model
  sterna eval                           accuracy of the newest run
  sterna predict runs/NAME digit.png    which digit that is
  sterna generate runs/NAME ROMEO:      text that goes on from there
  sterna chat model.gguf                talk with BitNet b1.58 2B4T or SmolLM2
  sterna pack runs/NAME -o digits.safetensors
                                        64 KB to deploy, not 2.8 MB to train on
  sterna page digits.safetensors        the same in anyone's browser
  sterna verify digits.safetensors      every bit on this device against the CPU
  sterna inspect digits.safetensors     what is inside
  sterna export digits.safetensors --to gguf-tq2_0 -o digits.gguf
                                        for other programs; `import` reads them
  sterna bench gemv                     how fast a matrix times one row is here
  sterna profile train                  where the time of a training step goes
  sterna scale runs/NAME                how fast many machines would train it
  sterna kernels matmul_ternary         what a shader computes, moves and does
  sterna tune                           which kernels are the fastest here
  sterna wall --quick                   the memory wall of this GPU on one page
  sterna info                           the GPUs of this machine
  sterna completions bash               for the shell; `sterna man` for man

Exit codes: 0 done; 1 the result says no, as a benchmark that contradicts itself or an accuracy below --require; 2 an \
error; 130 interrupted by Ctrl-C.";

#[derive(Subcommand)]
enum Command {
    /// Train a ternary network on MNIST, on another set of images, or on a text.
    Train(Box<train::Flags>),
    /// Watch a run that another terminal trains: curves, flips, weights.
    Watch(watch::Flags),
    /// Score a trained network on a test set.
    Eval(eval::Flags),
    /// Say which digit is in a picture.
    Predict(predict::Flags),
    /// Write on from a prompt with a language model.
    Generate(generate::Flags),
    /// Talk with a language model that was taught to answer.
    Chat(chat::Flags),
    /// List the runs: when, on what, how good, and whether they ended.
    Runs(runs::Flags),
    /// Explain an idea in ten lines, with the numbers of this machine and of the last run.
    Explain(explain::Flags),
    /// Follow one test image through a network, layer by layer, term by term.
    Trace(trace::Flags),
    /// Write the file that is deployed: trits, scales and gains alone.
    Pack(pack::Flags),
    /// Write one HTML file that runs a network in anyone's browser.
    Page(page::Flags),
    /// Run a network on the device and in its CPU twin, and compare every bit.
    Verify(verify::Flags),
    /// Show what a file holds: tensors, trits, scales, metadata, pictures.
    Inspect(inspect::Flags),
    /// Write a network for other programs: GGUF, BitNet safetensors, NumPy.
    Export(export::Flags),
    /// Make a packed file from a file of another program.
    Import(import::Flags),
    /// Measure the kernels on this adapter, beside its own memory bandwidth.
    Bench(bench::Flags),
    /// Show where the time of a step goes: kernel by kernel, on a timeline, or in RenderDoc.
    Profile(profile::Flags),
    /// Plan a run on several machines: predict the time of its steps for any number of ranks.
    Scale(train::scale::Flags),
    /// List the shaders: equation, bindings, cost; or print one as a driver is given it.
    Kernels(kernels::Flags),
    /// Find the fastest kernels for this adapter, and keep the choice.
    Tune(tune::Flags),
    /// Measure the memory wall of this adapter and put it on one page.
    Wall(wall::Flags),
    /// Its ceilings, and products of every format held against them.
    #[command(after_help = wall::ROOFLINE)]
    Roofline(wall::MeasureFlags),
    /// How fast memory is read, written and copied, and by working set.
    #[command(after_help = wall::BANDWIDTH)]
    Bandwidth(wall::MeasureFlags),
    /// Energy of every format: by published tables, and by this machine's counters.
    Energy(wall::EnergyFlags),
    /// Number formats from FP32 to ternary: bits, range, digits, bytes of a model.
    Formats(wall::FormatsFlags),
    /// List every adapter, and say which one would be used and why.
    Info(info::Flags),
    /// Print the script by which a shell completes commands and flags.
    Completions(shell::CompletionsFlags),
    /// Print the manual page of the program or of one of its commands.
    Man(shell::ManFlags),
}

/// Which device to use.
#[derive(Args, Clone)]
#[command(next_help_heading = "Device")]
struct DeviceFlags {
    /// Use the adapter of this number or PCI address, as `sterna info` shows them, or whose `backend name driver`
    /// contains this text, in any case.
    #[arg(long, value_name = "WHICH")]
    adapter: Option<String>,
    /// Use this graphics interface.
    #[arg(long, value_parser = ["vulkan", "metal", "dx12", "gl"])]
    backend: Option<String>,
    /// Keep bounds checks in every shader. Slower; the results are the same.
    #[arg(long)]
    checked: bool,
    /// Take the default kernels, not those that were the fastest here; the results are the same.
    #[arg(long)]
    no_tune: bool,
}

impl DeviceFlags {
    fn choice(&self) -> Choice {
        Choice {
            backend: self.backend.clone(),
            adapter: self.adapter.clone(),
            checked: self.checked,
            ..Choice::default()
        }
    }

    /// The flags as they were given.
    fn words(&self) -> Vec<&str> {
        let named = [("--adapter", &self.adapter), ("--backend", &self.backend)];
        let named = named.into_iter().filter_map(|(flag, value)| Some([flag, value.as_deref()?])).flatten();
        let checked = self.checked.then_some("--checked");
        named.chain(checked).chain(self.no_tune.then_some("--no-tune")).collect()
    }

    /// Whether measured choices of kernels are used. Shaders with checks are slower, so their times would be
    /// misleading.
    fn keeps_choices(&self) -> bool {
        !self.no_tune && !self.checked
    }

    /// Opens the device, with the kernels that were the fastest on it.
    fn open(&self) -> Result<Gpu, Failure> {
        self.open_as(self.choice())
    }

    /// The part of this memory that the device really gives.
    fn found(&self, room: Room) -> Result<Room, Failure> {
        room.found(|| Gpu::new(&self.choice())).map_err(failure)
    }

    /// [`DeviceFlags::open`] for a choice with more wishes than the flags have.
    fn open_as(&self, choice: Choice) -> Result<Gpu, Failure> {
        let gpu = Gpu::new(&choice).map_err(failure)?;
        if self.keeps_choices() {
            let found = tune::choices(&gpu).map_or(0, |file| tuning::recall(&gpu, &file));
            log::info!("{found} kernels chosen by their times");
        }
        Ok(gpu)
    }
}

/// How much of the device to fill.
#[derive(Args)]
struct MemoryFlags {
    /// Fill no more than about this many MiB of the device's memory.
    #[arg(long, value_name = "MIB", value_parser = arguments::whole::<u64>(4, 1 << 30))]
    memory: Option<u64>,
}

impl MemoryFlags {
    fn room(&self, gpu: &Gpu) -> Room {
        Room::of(gpu).at_most(self.memory.map_or(u64::MAX, |mib| mib << 20))
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
    /// Turn the images of --data upright, because their files hold them transposed. Pictures for `predict` are
    /// upright.
    ///
    /// EMNIST's files are transposed, and are recognised by their names; --transposed=false leaves their images
    /// unchanged. A model remembers whether its images were turned.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(requires = "data")]
    transposed: Option<bool>,
}

impl DataFlags {
    /// The absolute path of the folder, so that it is valid for a later start from another folder.
    fn folder(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.clone()))
    }

    /// The data set as its files and the flags define it.
    fn read(&self) -> Result<Dataset, Failure> {
        let Some(folder) = &self.data else { return Ok(Dataset::embedded()) };
        let data = Dataset::load(folder).map_err(failure)?;
        // The name of a folder becomes a title in pictures and in JSON.
        let data = Dataset { name: escaped(&data.name, &[]), ..data };
        Ok(if self.transposed.is_some_and(|wanted| wanted != data.transposed) { data.turned() } else { data })
    }

    fn load(&self) -> Result<Dataset, Failure> {
        self.load_for(&Value::Null)
    }

    /// The data set, with its images turned as in the run with this description.
    fn load_for(&self, run: &Value) -> Result<Dataset, Failure> {
        Ok(self.turned_for(self.read()?, run))
    }

    /// The data set, with its images turned as in the run with this description, unless a flag decides.
    fn turned_for(&self, mut data: Dataset, run: &Value) -> Dataset {
        let crc32 = &run["data"]["crc32"];
        if self.transposed.is_none() && crc32.is_u64() && *crc32 != json!(data.fingerprint()) {
            let other = data.clone().turned();
            data = if *crc32 == json!(other.fingerprint()) { other } else { data };
        }
        if data.transposed {
            tell(format!("{}: its files hold every image transposed; here they are upright", data.name));
        }
        data
    }
}

/// One sentence for stderr. The exit code is 2.
struct Failure(String);

fn failure(error: impl Display) -> Failure {
    Failure(error.to_string())
}

/// The error of a network's file, in the words of the command line: the fields of a [`Reading`] are flags here.
fn unread(error: FileError) -> Failure {
    const WORDS: [[&str; 2]; 8] = [
        ["a reading takes `weight_scale`", "`sterna import` takes --weight-scale"],
        ["a reading of `floats`", "`sterna import`"],
        ["a reading of `absmean`", "`sterna import --absmean`"],
        ["`weight_scale`", "--weight-scale"],
        ["`tensors`", "--tensors"],
        ["`absmean`", "--absmean"],
        ["`transposed`", "`sterna import --transposed`"],
        ["`drop`", "`sterna import --drop`"],
    ];
    failure(WORDS.iter().fold(error.to_string(), |sentence, [field, flag]| sentence.replace(field, flag)))
}

/// The error of a config, in the words of the command line.
fn refused(error: ConfigError) -> Failure {
    failure(match error {
        ConfigError::Range { setting, what } => format!("--{} {what}", setting.replace('_', "-")),
        ConfigError::Width { data, hidden, what } => format!("{data} and --hidden {hidden:?} make {what}"),
        ConfigError::Shape(what) => {
            format!("--layers, --width, --heads, --kv-heads and --ffn ask for {what}")
        }
        ConfigError::NoShadow => {
            "--no-shadow needs --precision ternary: a float network has no shadow weights".into()
        }
    })
}

/// The error for a network that is too large for the device, with the widest hidden layers that fit.
fn unfit<'a>(gpu: &'a Gpu, config: &'a Config, data: &'a Dataset) -> impl Fn(Error) -> Failure + 'a {
    move |mut error| {
        let widest = match &error {
            Error::TooLarge { .. } => config.widest_bound(gpu, data),
            Error::NoMemory { held, .. } => config.widest_within(data, *held),
            _ => None,
        };
        if let (Error::TooLarge { advice, .. } | Error::NoMemory { advice, .. }, Some(widest)) =
            (&mut error, widest)
        {
            let widths: Vec<String> = widest.iter().map(usize::to_string).collect();
            *advice = format!("the largest that fits is --hidden {}", widths.join(","));
        }
        failure(error)
    }
}

/// The verdict of a command.
enum Verdict {
    Yes,
    No,
    /// The user interrupted the program, so there is no verdict.
    Interrupted,
}

type Outcome = Result<Verdict, Failure>;

/// Parses the arguments, runs the command and turns its outcome into an exit code. `commit` is the commit of the
/// source, if it is known.
pub fn main(commit: Option<&str>) -> ExitCode {
    run(std::env::args_os(), commit)
}

/// The command line as a command of clap.
fn parser(commit: Option<&str>) -> clap::Command {
    let commit = commit.filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    let (version, backends) = (env!("CARGO_PKG_VERSION"), backends().join(", "));
    let version = format!("{version}\ncommit {commit}\nwgpu {WGPU_VERSION}\nbackends {backends}");
    // clap keeps this text until the program ends.
    arguments::with_signs(Cli::command().long_version(&*version.leak()))
}

/// [`main`] for the given arguments. The first one is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>, commit: Option<&str>) -> ExitCode {
    crate::gpu::silence_device_select();
    // A second call finds the logger of the first one.
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).try_init();
    let parsed = parser(commit).try_get_matches_from(args);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() => {
            warn(format!("sterna: {}", arguments::refusal(&error)));
            return ExitCode::from(2);
        }
        // Help, or the version.
        Err(asked) => {
            let printed = asked.print().and_then(|()| std::io::stdout().flush());
            return ended(written(printed).map(|()| Verdict::Yes));
        }
    };
    QUIET.store(cli.quiet, Relaxed);
    JSON.store(asks_for_json(&matches), Relaxed);
    let outcome = match cli.command {
        Command::Train(flags) => train::run(*flags, &given(&matches)),
        Command::Watch(flags) => watch::run(&flags),
        Command::Eval(flags) => eval::run(&flags),
        Command::Predict(flags) => predict::run(&flags),
        Command::Generate(flags) => generate::run(&flags),
        Command::Chat(flags) => chat::run(&flags),
        Command::Runs(flags) => runs::run(&flags),
        Command::Explain(flags) => explain::run(&flags),
        Command::Trace(flags) => trace::run(&flags),
        Command::Export(flags) => export::run(&flags),
        Command::Import(flags) => import::run(&flags),
        Command::Pack(flags) => pack::run(&flags),
        Command::Page(flags) => page::run(&flags),
        Command::Verify(flags) => verify::run(&flags),
        Command::Inspect(flags) => inspect::run(&flags),
        Command::Bench(flags) => bench::run(&flags),
        Command::Profile(flags) => profile::run(&flags, &given(&matches)),
        Command::Scale(flags) => train::scale::run(&flags),
        Command::Kernels(flags) => kernels::run(&flags),
        Command::Tune(flags) => tune::run(&flags),
        Command::Wall(flags) => wall::run(&flags),
        Command::Roofline(flags) => wall::roofline(&flags),
        Command::Bandwidth(flags) => wall::bandwidth(&flags),
        Command::Energy(flags) => wall::energy(&flags),
        Command::Formats(flags) => wall::formats(&flags),
        Command::Info(flags) => info::run(&flags),
        Command::Completions(flags) => shell::completions(&flags, parser(commit)),
        Command::Man(flags) => shell::man(&flags, parser(commit)),
    };
    ended(outcome)
}

/// The exit code of an outcome, after a word on what is wrong.
fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Ok(Verdict::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(Failure(sentence)) => {
            warn(format!("sterna: {sentence}"));
            ExitCode::from(2)
        }
    }
}

/// The ids of the innermost subcommand's flags that the user gave.
fn given(matches: &ArgMatches) -> Vec<String> {
    if let Some((_, matches)) = matches.subcommand() {
        return given(matches);
    }
    let given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    matches.ids().map(|id| id.as_str()).filter(given).map(String::from).collect()
}

/// Whether the innermost subcommand was given `--json`.
fn asks_for_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, matches)) => asks_for_json(matches),
        None => matches!(matches.try_get_one("json"), Ok(Some(true))),
    }
}

/// A command of this program that people can copy. `words` follow the program's own name.
fn command(words: &[&dyn AsRef<OsStr>]) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "sterna".into());
    let words = words.iter().map(|word| word.as_ref());
    [program.as_os_str()].into_iter().chain(words).map(quoted).collect::<Vec<_>>().join(" ")
}

/// A word in the syntax of shells. Bytes that are no printable text become the octal escapes of `$'...'`.
fn quoted(word: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,~%".contains(c);
    match word.to_str() {
        Some(text) if text.chars().all(plain) && !text.is_empty() => text.into(),
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let byte = |&byte: &u8| match byte {
                b' '..=b'~' if !br"'\".contains(&byte) => char::from(byte).to_string(),
                _ => format!("\\{byte:03o}"),
            };
            format!("$'{}'", word.as_encoded_bytes().iter().map(byte).collect::<String>())
        }
    }
}

/// Prints a line of the result on stdout, for people. With `--json` it prints nothing.
fn say(line: impl Display) -> Result<(), Failure> {
    if JSON.load(Relaxed) { Ok(()) } else { print(line) }
}

/// Prints a line on stdout. A reader that stops reading, as in `sterna info | head`, is no error.
fn print(line: impl Display) -> Result<(), Failure> {
    if MUTED.load(Relaxed) {
        return Ok(());
    }
    written(writeln!(std::io::stdout(), "{}", escaped(&line.to_string(), LINES)))
}

/// What became of text for stdout.
fn written(outcome: std::io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failure(format!("the result cannot be written to stdout: {}", unwritten(&error))))
        }
        _ => Ok(()),
    }
}

/// Prints a line of progress on stderr. With `--quiet` it prints nothing.
fn tell(line: impl Display) {
    if !QUIET.load(Relaxed) {
        warn(line);
    }
}

/// Prints an important line on stderr: an error, a warning, or the reason of an exit code. A closed stderr does not
/// end a run.
fn warn(line: impl Display) {
    if MUTED.load(Relaxed) {
        return;
    }
    let _ = writeln!(std::io::stderr(), "{}", escaped(&line.to_string(), LINES));
}

/// Control characters that may be printed. All others come from names in files or folders.
const LINES: &[char] = &['\n', '\t'];

/// Prints the one line of stdout with `--json`.
fn print_json(command: &str, result: Map<String, Value>) -> Result<(), Failure> {
    let mut line = object(json!({"command": command}));
    line.extend(result);
    line.insert("schema".into(), json!(SCHEMA));
    line.insert("sterna_version".into(), json!(env!("CARGO_PKG_VERSION")));
    print(Value::Object(line))
}

/// The JSON keys that describe a device.
fn device_json(gpu: &Gpu) -> Map<String, Value> {
    object(json!({"adapter": gpu.name(), "backend": gpu.backend(), "device_type": gpu.device_type()}))
}

/// The JSON keys that describe a test score.
fn score_json(test: Score) -> Map<String, Value> {
    object(json!({
        "test_accuracy": test.accuracy, "test_loss": test.loss, "perplexity": test.perplexity(),
    }))
}

/// The JSON keys that describe the size of a model. A float network has no trits to count or to pack.
fn model_json(shape: &Shape, layers: &[Packed]) -> Map<String, Value> {
    let costs = costs(layers);
    let total = LayerCost::total(&costs);
    let packed = |bytes: usize| if layers.is_empty() { Value::Null } else { json!(bytes) };
    object(json!({
        "precision": shape.precision,
        "zeros": costs.iter().map(LayerCost::zeros).collect::<Vec<_>>(),
        "bytes": {
            "f32": 4 * shape.weights(),
            "packed": packed(total.packed_bytes),
            "base3": packed(total.base3_bytes),
        },
    }))
}

fn costs(layers: &[Packed]) -> Vec<LayerCost> {
    let last = layers.len().saturating_sub(1);
    layers.iter().enumerate().map(|(i, packed)| LayerCost::count(packed, i == last)).collect()
}

/// Prints the table of the model and its score, for people.
fn print_model(shape: &Shape, layers: &[Packed], test: Score) -> Result<(), Failure> {
    match layers {
        [] => {
            let weights = thousands(shape.weights());
            let bytes = thousands(4 * shape.weights());
            say(format!(
                "{weights} weights in f32, {bytes} B; one inference multiplies and adds as many times; there are no biases\n"
            ))?;
        }
        layers => say(model_table(&costs(layers)))?,
    }
    for (i, _) in layers.iter().enumerate().filter(|(_, packed)| packed.is_dead()) {
        say(format!("Note: layer {i} is dead: all its weights are 0, and so is all that it gives"))?;
    }
    say(format!(
        "Test accuracy {:.2} %, loss {:.4} nats, perplexity {:.3}",
        100.0 * test.accuracy,
        test.loss,
        test.perplexity()
    ))
}

/// Counts of images by true class (row) and predicted class (column).
fn confusion(data: &Dataset, said: &[usize]) -> Vec<Vec<u32>> {
    let mut counts = vec![vec![0; data.classes]; data.classes];
    for (&label, &said) in data.test.labels.iter().zip(said) {
        counts[usize::from(label)][said] += 1;
    }
    counts
}

/// Prints assumptions about a file, and tensors that were left out.
fn tell_notes(path: &Path, notes: &[String]) {
    for note in notes {
        warn(format!("{}: {note}", shown(path)));
    }
}

/// The network of a file for distribution, without paths of this machine. Omissions are printed on stderr. Losses in
/// the weights and warnings about the result are returned too.
fn deployed(path: &Path) -> Result<(Model, Vec<Loss>, Vec<String>), Failure> {
    let Imported { mut model, lost, notes, warnings } =
        Model::import(path, &Reading::default()).map_err(unread)?;
    tell_notes(path, &notes);
    if !lost.is_empty() {
        export::tell_lost(&lost, "the ternary network that they stand for");
    }
    let data = model.about.as_object_mut().and_then(|about| about.get_mut("data")?.as_object_mut());
    let keys = ["folder", "folder_bytes", "path", "path_bytes"];
    data.map(|data| keys.map(|key| data.shift_remove(key)));
    Ok((model, lost, warnings))
}

/// Prints the differences between a network and its file, next to the result.
fn say_warnings(warnings: &[String]) -> Result<(), Failure> {
    warnings.iter().try_for_each(|warning| say(format!("Note: {warning}")))
}

/// Refuses `-`, which means stdin for input. Output cannot go there, because it is renamed into its place or is a
/// folder.
fn no_dash(path: &Path) -> Result<(), Failure> {
    match path == Path::new("-") {
        true => {
            Err(failure("- is no file to write: nothing is written to stdout; a file of that name is ./-"))
        }
        false => Ok(()),
    }
}

/// Refuses to write a file over its own source, even with `--force`.
fn apart(from: &Path, to: &Path) -> Result<(), Failure> {
    match (from.canonicalize(), to.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => {
            Err(failure(format!("{} is what this is made from: choose another name", shown(to))))
        }
        _ => Ok(()),
    }
}

/// Refuses a path that [`write`] would refuse, before any work is done.
fn place(path: &Path, force: bool) -> Result<(), Failure> {
    no_dash(path)?;
    if !force && taken(path) {
        return Err(exists(path));
    }
    let target = target(path).map_err(failure)?;
    let refused = |reason| failure(FileError::Write { path: path.into(), reason });
    match std::fs::metadata(folder(&target)) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => Err(refused(ErrorKind::NotADirectory.into())),
        Err(reason) => Err(refused(reason)),
    }
}

fn exists(path: &Path) -> Failure {
    failure(format!("{} exists: choose another name, or replace it by --force", shown(path)))
}

/// Writes a file. An existing one is replaced only with `--force`.
fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let written = if force { replace(path, bytes) } else { create(path, bytes) };
    written.map_err(|error| match error {
        FileError::Exists(path) => exists(&path),
        other => failure(other),
    })
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

/// The shape `[batch, rows, cols]` in JSON: rows, columns, and the batch if it is more than one.
fn lengths([batch, rows, cols]: [usize; 3]) -> Vec<usize> {
    if batch == 1 { vec![rows, cols] } else { vec![rows, cols, batch] }
}

/// `1 shape`, `3 shapes`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The text ` (did you mean relu?)` if a known name is similar to the requested one, or else nothing.
fn nearest(asked: &str, known: &[&str]) -> String {
    let asked = asked.to_lowercase();
    let mut near: Vec<_> = known.iter().map(|name| (strsim::jaro_winkler(&asked, name), *name)).collect();
    near.retain(|(likeness, _)| *likeness > 0.8);
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    match near.first_chunk::<3>().map_or(&near[..], |three| three) {
        [] => String::new(),
        near => {
            let near: Vec<&str> = near.iter().map(|(_, name)| *name).collect();
            format!(" (did you mean {}?)", near.join(" or "))
        }
    }
}

/// A path in JSON, a text always: what is none of the path is U+FFFD there.
fn named(path: &Path) -> Value {
    json!(path.to_string_lossy())
}

/// The bytes of a path in hexadecimal digits, where they are no text, so that it is found again.
fn bytes_of(path: &Path) -> Option<String> {
    let bytes = path.to_str().is_none().then_some(path.as_os_str().as_encoded_bytes())?;
    cfg!(unix).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Puts the path of a run's data into the run's description of them, for [`data_path`].
fn insert_path(data: &mut Map<String, Value>, key: &str, path: Option<&Path>) {
    data.insert(key.into(), path.map_or(Value::Null, named));
    if let Some(digits) = path.and_then(bytes_of) {
        data.insert(format!("{key}_bytes"), json!(digits));
    }
}

/// The path of the data that a run was trained on. A run on digits has it under the key `folder`, a run on a text under
/// `path`.
fn data_path(run: &Value, key: &str) -> Option<PathBuf> {
    let data = &run["data"];
    #[cfg(unix)]
    if let Some(digits) = data[format!("{key}_bytes")].as_str() {
        use std::os::unix::ffi::OsStringExt;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        return bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    }
    data[key].as_str().map(PathBuf::from)
}
