//! `sterna train`: the flags, and a run from its first step to its last. Both kinds of run share this code. `digits`
//! and `text` contain the parts that depend on the data and on the network.

mod compare;
mod digits;
mod go;
pub(super) mod log;
pub(super) mod scale;
mod start;
mod text;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::arguments::{count, real, some, whole};
use super::ranks::{self, RankFlags, Ranks};
use super::{DataFlags, DeviceFlags, Failure, Outcome, Verdict, failure, interrupt};
use crate::gpu::Gpu;
use crate::kernels::MOST_TERMS;
use crate::model::{Network, Precision, TRANSFORMER};
use crate::report::{Subject, Weights};
use crate::store::{Arch, Checkpoint, shown};
use crate::ternary::Packed;
use crate::train::{Epoch, Evaluator, Exchange, Files, Optimizer, Run, Source, Trainer};
use compare::Gap;
use digits::{DigitsFlags, OnDigits};
use go::Finished;
use log::Log;
use start::Start;
pub use text::ShapeFlags;
pub use text::matrices;
use text::{OnText, TextFlags};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Folder for the run: config.json, metrics.jsonl, model.safetensors, and pictures of it.
    /// [default: runs/<time>-<seed>]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Images or sequences per step. [default: 128 images; on a text 12 sequences]
    #[arg(long, value_name = "N", value_parser = some)]
    batch: Option<usize>,
    /// Ternary weights and int8 activations, or f32 throughout to compare with.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// The optimizer, which turns gradients into updates.
    #[arg(long, value_enum, default_value_t)]
    optimizer: Optimizer,
    /// Peak learning rate. It rises for half an epoch, on a text for --warmup steps, and falls to 0 along a cosine.
    /// [default: 0.003; for f32 0.001; for sgd 0.05; on a text 0.0015]
    #[arg(long, value_name = "F", value_parser = real("a number above 0, up to 1e38", |x| x > 0.0 && x <= 1e38))]
    lr: Option<f64>,
    /// Decoupled weight decay. On a text it ends after half of the steps. [default: 0; on a text 0.1]
    #[arg(long, value_name = "F", value_parser = not_negative())]
    weight_decay: Option<f64>,
    /// Share of each target that is spread over all classes.
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = real("a number from 0 to below 1", |x| (0.0..1.0).contains(&x)))]
    label_smoothing: f64,
    /// Keep no float copy of the weights: round them to trits after every update. It fails, and shows why
    /// shadow weights are needed.
    #[arg(long)]
    no_shadow: bool,
    /// Compute each step in this many micro-batches and add their gradients as integers. The result is then the same
    /// on any number of machines.
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST_TERMS as u64))]
    micro_batches: Option<usize>,
    /// Seed of the first weights, and of the images and sequences of every step.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>(0, u64::MAX))]
    seed: u64,
    /// Train two networks from one seed and put both into one table and one curve: the ternary one and its float
    /// twin, which has its own default --lr; with --no-shadow, without and with shadow weights. With the same
    /// --out an interrupted comparison continues.
    #[arg(long, conflicts_with_all = ["resume", "precision"])]
    compare: bool,
    /// Compare the means over this many seeds, --seed and those after it. The accuracy of one seed varies by a tenth
    /// of a point.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(1, 1000))]
    #[arg(requires = "compare")]
    seeds: u64,
    /// Continue an interrupted run, given by its folder or its model.safetensors. On the same adapter the weights are
    /// the same as without interruption. All settings come from the file. With --epochs, on a text with --steps, the
    /// run, even a finished one, is extended to this many in all.
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Replace files in the folder that have the names of a run's files but come from elsewhere. With --out this
    /// includes a whole run. A comparison continues the runs that it finds.
    #[arg(long)]
    force: bool,
    /// Save the run at this interval, in addition to every epoch. 0 means after epochs only.
    #[arg(long, value_name = "F", default_value_t = 60.0, value_parser = real("seconds, 0 or more and below 1e9", |x| (0.0..1e9).contains(&x)))]
    checkpoint_seconds: f64,
    #[command(flatten)]
    ranks: RankFlags,
    /// For tests of a lost device: destroys the device after this many steps.
    #[arg(long, hide = true, value_parser = count)]
    destroy_device_after: Option<usize>,
    /// Show the live run on the whole terminal: curves, flips, weights. The key q closes the view, and the run
    /// continues.
    #[arg(long)]
    watch: bool,
    /// Print one JSON object on one line, and nothing else. Accuracies are 0 to 1, losses in nats.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    digits: DigitsFlags,
    #[command(flatten)]
    text: TextFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

const EXAMPLES: &str = "\
On digits the network is [RMSNorm, ternary matrix, ReLU] per hidden layer, RMSNorm and a ternary matrix last. On a text \
it is the transformer of BitNet b1.58 2B4T, which predicts the next character.

`flips` is the share of weights whose trit changed since the evaluation before. Healthy: about 45 % in the first \
epoch, 20 % in the next ones, under 1 % at the end. Many to the end: the learning rate does not come down. \
Hardly any from the start: it is too low.

Ctrl-C finishes the step, saves the run and says how to go on.

--resume RUN --epochs TOTAL extends a run, or shortens it; of a run on a text, --steps TOTAL does. The rule: every step \
from there on has the learning rate that it would have in a run of TOTAL epochs, and all else stays as it is. So the \
rate of a run that had come to 0 jumps up once, and comes to 0 again at the end of epoch TOTAL.

Examples:
  sterna train                              20 epochs of MNIST, about 98.8 %
  sterna train --epochs 2 --augment none    a quick look: about 97.6 %
  sterna train --hidden 1024,1024 --batch 256 --lr 2e-3
  sterna train --data ~/fashion-mnist --out runs/fashion
  sterna train --resume runs/fashion
  sterna train --resume runs/fashion --epochs 40
                                            extend it to 40 epochs in all
  sterna train --watch                      on the whole terminal
  sterna train --compare                    beside the same network in f32
  sterna train --compare --seeds 3          the means of three seeds
  sterna train --compare --no-shadow --epochs 5
                                            why shadow weights are needed
  sterna train --epochs 2 --require 0.97 --json
                                            for scripts: exit 1 below 97 %
  sterna train --text                       a language model of Shakespeare
  sterna train --text notes.txt --steps 3000 --out runs/notes
  sterna train --text books --layers 6 --width 256 --heads 8
                                            the .txt and .md files of a folder";

pub fn run(mut flags: Flags, given: &[String]) -> Outcome {
    let late = "; the last checkpoint is whole: go on with --resume";
    let ranks = Ranks::join(&flags.device, &flags.ranks, late)?;
    if ranks.launched {
        let most = flags.batch.unwrap_or(usize::MAX);
        flags.micro_batches = flags.micro_batches.or(Some(ranks::MICRO_BATCHES.min(most)));
        flags.watch &= ranks.is_first();
    }
    if flags.compare && ranks.are_several() {
        return ranks.end(Err(failure("--compare trains two networks on one machine: leave out mpirun")));
    }
    let outcome = run_as(&flags, given, &ranks);
    ranks.end(outcome)
}

/// [`run`] as one of these ranks.
fn run_as(flags: &Flags, given: &[String], ranks: &Ranks) -> Outcome {
    flags.out.as_deref().map_or(Ok(()), super::no_dash)?;
    interrupt::listen()?;
    let on_text = match &flags.resume {
        Some(run) => {
            let file = super::runs::model(run)?;
            let about = match Checkpoint::story(&file) {
                Ok((about, _)) => about,
                // A file that cannot be read has no kind. The reason is that of the whole file.
                Err(_) => Checkpoint::load(&file).map_err(failure)?.run,
            };
            about["network"] == TRANSFORMER
        }
        None => flags.text.asked(),
    };
    let foreign = if on_text { flag_ids::<DigitsFlags>() } else { flag_ids::<TextFlags>() };
    if let Some(id) = foreign.iter().find(|id| given.contains(id)) {
        return Err(other_kind(id, on_text, flags));
    }
    match on_text {
        true => run_kind::<OnText>(flags, given, ranks),
        false => run_kind::<OnDigits>(flags, given, ranks),
    }
}

/// A number that is not negative, and not too large for the f32 values of the device.
fn not_negative() -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync {
    real("a number from 0 to 1e38", |x| (0.0..=1e38).contains(&x))
}

/// The names of the flags in a group.
pub fn flag_ids<A: Args>() -> Vec<String> {
    let flags = A::augment_args(clap::Command::new("train"));
    flags.get_arguments().map(|flag| flag.get_id().to_string()).collect()
}

/// Refuses a flag that belongs to the other kind of run.
fn other_kind(id: &str, on_text: bool, flags: &Flags) -> Failure {
    let flag = id.replace('_', "-");
    let [own, other] = if on_text { ["a text", "digits"] } else { ["digits", "a text"] };
    let what = match &flags.resume {
        Some(run) => format!("but {} is a run on {own}: leave it out", shown(run)),
        None if on_text => "and --text asks for one on a text: leave one of the two out".into(),
        None => "which --text asks for: add it, or leave this out".into(),
    };
    failure(format!("--{flag} is for a run on {other}, {what}"))
}

fn run_kind<K: Kind>(flags: &Flags, given: &[String], ranks: &Ranks) -> Outcome {
    if flags.compare {
        return compare::run::<K>(flags);
    }
    let config = K::config(flags, flags.seed);
    let start: Start<K> = match &flags.resume {
        None => Start::fresh(flags, config, flags.out.as_deref(), ranks)?,
        Some(run) => Start::resumed(flags, &config, run, Some(given), ranks)?,
    };
    let finished = match start.train(flags)? {
        Ok(finished) => finished,
        Err(verdict) => return Ok(verdict),
    };
    finished.print()?;
    let verdict = K::verdict(flags, &finished.summary);
    if flags.json {
        super::print_json("train", finished.summary)?;
    }
    Ok(verdict)
}

impl Flags {
    fn places(&self) -> Places<'_> {
        Places { digits: self.digits.data(), text: self.text.path() }
    }

    /// The seeds of all runs of a comparison.
    fn seeds(&self) -> impl Iterator<Item = u64> {
        (0..self.seeds).map(|i| self.seed.wrapping_add(i))
    }
}

/// A kind of run: everything in this command that depends on the data and on the network.
trait Kind: Sized {
    type Network: Network + Clone;
    type Source: Source;
    type Config: Clone + Serialize + DeserializeOwned;

    const FILES: Files;
    /// The setting with the length of a run. It is also the flag that extends one.
    const LENGTH: &'static str;

    /// The settings that the flags ask for, from a seed.
    fn config(flags: &Flags, seed: u64) -> Self::Config;

    /// The settings of the network for comparison: the float network with its own default learning rate, or for a
    /// network without shadow weights the one with them.
    fn twin(config: &Self::Config) -> Self::Config;

    /// Loads the data. `about` is the description of the continued run, or null.
    fn load(places: &Places, config: Self::Config, about: &Value) -> Result<Self, Failure>;

    /// Checks that the settings are possible with the data.
    fn check(&self) -> Result<(), Failure>;

    /// Checks that a file holds the network of these settings.
    fn check_file(&self, arch: &Arch) -> Result<(), String>;

    /// Opens a device on which the network fits, and finds its fastest kernels if `tune` holds.
    fn open(&self, device: &DeviceFlags, tune: bool) -> Result<Gpu, Failure>;

    /// Binds the training of one rank.
    fn trainer(&self, gpu: &Gpu, exchange: Arc<dyn Exchange>) -> Result<KindTrainer<Self>, Failure>;

    /// Binds the evaluation of a network.
    fn evaluator(&self, gpu: &Gpu, network: &Self::Network) -> Result<Evaluator, Failure>;

    /// The header of the run's files.
    fn arch(&self) -> Arch;

    /// The description of config, data and network for config.json and for the checkpoint.
    fn describe(&self) -> Map<String, Value>;

    /// Checks that the data are those of the run with this description, and returns the description of the data.
    fn check_data(&self, about: &Value) -> Result<Value, String> {
        let data = self.describe().swap_remove("data").unwrap_or_default();
        match data["crc32"] == about["data"]["crc32"] {
            true => Ok(data),
            false => Err(self.other_data(&plain(&about["data"]["name"]))),
        }
    }

    /// The sentence that refuses data other than those of the continued run. `its` is the name of the data of that run.
    fn other_data(&self, its: &str) -> String;

    /// Number of steps of a run of this length.
    fn steps(&self, length: usize) -> usize;

    /// Number of steps of an epoch. An epoch of a run on text is the steps between two evaluations.
    fn steps_per_epoch(&self) -> usize;

    /// Writes the files at the beginning of a run.
    fn begun(&self, _run: &mut KindRun<Self>) -> Result<(), Failure> {
        Ok(())
    }

    /// The subject of pictures and lines.
    fn subject(&self) -> Subject;

    /// The matrices with a point in each curve: layer, role and number of weights of each matrix.
    fn matrices(&self) -> Vec<(usize, String, usize)>;

    /// Name of the data.
    fn data(&self) -> &str;

    /// Whether the weights are ternary, and whether they have float shadow weights.
    fn weights(&self) -> (Precision, bool);

    /// The network in a few words, and the data in a few words.
    fn introduce(&self) -> [String; 2];

    /// Height and width of the images that the first layer sees, or zeros.
    fn size(&self) -> [usize; 2] {
        [0, 0]
    }

    /// Shows the weights of the first layer, if they make a picture for people.
    fn look(&self, _network: &Self::Network, _gpu: &Gpu, _trits: &[Packed], _show: &mut dyn FnMut(&Weights)) {
    }

    /// The result after an evaluation, for the checkpoint and for `--json`. `spent` holds the steps and the seconds of
    /// every epoch so far.
    fn result(&self, epoch: &Epoch, trits: &[Packed], spent: &[(usize, f64)]) -> Map<String, Value>;

    /// An example of the output of the network after an evaluation, if there is one to show.
    fn sample(&self, _network: &Self::Network, _gpu: &Gpu) -> Option<String> {
        None
    }

    /// Writes the files at the end of a run, and returns whether each item of the test set was classified correctly.
    fn ended(
        &self,
        run: &mut KindRun<Self>,
        trits: &[Packed],
        title: &str,
        log: &mut Log,
    ) -> Result<Vec<bool>, Failure>;

    /// Prints the network and its score.
    fn print(&self, finished: &Finished<Self>) -> Result<(), Failure>;

    /// The speed of a run, in words: `4.5 s per epoch`.
    fn speed(summary: &Map<String, Value>) -> String;

    /// The command that is probably useful next.
    fn next(&self, folder: &Path) -> String;

    /// Whether the score is good enough.
    fn verdict(flags: &Flags, score: &Map<String, Value>) -> Verdict;

    /// Unit of the difference of two networks, and its decimal places.
    const GAP: (&'static str, usize);

    /// The difference of two networks from one seed.
    fn gap(first: &Finished<Self>, second: &Finished<Self>) -> Gap;

    /// The columns of the comparison. `mean` gives the mean of a key of the summaries.
    fn columns(&self, mean: &dyn Fn(&str) -> f64) -> Vec<(&'static str, String)>;

    /// The keys of the score, as means.
    fn score(&self, mean: &dyn Fn(&str) -> f64) -> Map<String, Value>;
}

/// The places of the data that the flags name. The description of a run names the others.
struct Places<'a> {
    digits: &'a DataFlags,
    text: Option<&'a Path>,
}

type KindTrainer<K> = Trainer<<K as Kind>::Network, <K as Kind>::Source>;
type KindRun<K> = Run<<K as Kind>::Network, <K as Kind>::Source>;

/// A JSON value in the form of the command line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A length of a run in the unit of [`Kind::LENGTH`]: `1 epoch`, `20 epochs`.
fn long<K: Kind>(length: usize) -> String {
    super::counted(length, K::LENGTH.trim_end_matches('s'))
}

/// The command that continues a run on the same device.
fn go_on(model: &Path, flags: &Flags) -> String {
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"train", &"--resume", &model];
    let device = flags.device.words();
    words.extend(device.iter().map(|word| word as &dyn AsRef<OsStr>));
    format!("{}{}", ranks::mpirun(), super::command(&words))
}

fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

/// A number from a summary. `bytes` is the size of the weights: packed trits, or floats.
fn number(summary: &Map<String, Value>, key: &str) -> f64 {
    let value = summary.get(key).unwrap_or(&Value::Null);
    let bytes = || value["packed"].as_f64().or(value["f32"].as_f64());
    value.as_f64().or_else(bytes).unwrap_or(f64::NAN)
}
