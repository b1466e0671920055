//! `sterna train`: the run folder, the progress, the table, the JSON line.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{DataFlags, DeviceFlags, Failure, Outcome, failure, shown};
use crate::checkpoint::{SCHEMA, replace};
use crate::gpu::Gpu;
use crate::mnist::Dataset;
use crate::report::{Point, curve_svg};
use crate::train::{Config, Evaluator, RMSNORM_EPS, Score, Trainer};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    #[command(flatten)]
    data: DataFlags,
    /// Folder for the run: config.json, metrics.jsonl, model.safetensors, curve.svg.
    /// [default: runs/<time>-<seed>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Passes over the training set.
    #[arg(long, value_name = "N", default_value_t = Config::default().epochs)]
    epochs: usize,
    /// Images per step.
    #[arg(long, value_name = "N", default_value_t = Config::default().batch)]
    batch: usize,
    /// Widths of the hidden layers.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "256,128")]
    hidden: Vec<usize>,
    /// Peak learning rate; it rises for half an epoch and falls to 0 along a cosine.
    #[arg(long, value_name = "F", default_value_t = Config::default().lr)]
    lr: f64,
    /// Decoupled weight decay of the shadow weights.
    #[arg(long, value_name = "F", default_value_t = Config::default().weight_decay)]
    weight_decay: f64,
    /// Share of each target that is spread over all classes.
    #[arg(long, value_name = "F", default_value_t = Config::default().label_smoothing)]
    label_smoothing: f64,
    /// Seed of the first weights and of the order of the images.
    #[arg(long, value_name = "N", default_value_t = Config::default().seed)]
    seed: u64,
    /// Exit with 1 if the test accuracy ends below this: 0.98, or 98 for percent.
    #[arg(long, value_name = "ACC")]
    require: Option<f64>,
    /// Print one JSON object as the last line of stdout. Accuracies are 0 to 1, losses in nats.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const EXAMPLES: &str = "\
The network is [RMSNorm, ternary matrix, ReLU] per hidden layer, RMSNorm and a ternary matrix last.

Examples:
  sterna train                                        20 epochs of MNIST, about 98.2 %
  sterna train --epochs 2                             about 97.6 %
  sterna train --hidden 1024,1024 --batch 256 --lr 2e-3
  sterna train --data ~/fashion-mnist --out runs/fashion
  sterna train --epochs 2 --require 0.97 --json       for scripts: exit 1 below 97 %";

pub fn run(flags: &Flags) -> Outcome {
    let start = Instant::now();
    let config = flags.config()?;
    let data = flags.data.load()?;
    config.validate(&data).map_err(failure)?;
    let gpu = flags.device.open()?;
    let mut trainer = Trainer::new(&gpu, &data, config.clone()).map_err(failure)?;
    let evaluator = Evaluator::new(&gpu, &trainer.mlp, &data.test).map_err(failure)?;
    // Last of what can be refused, so that a refusal leaves no empty folder behind.
    let folder = RunFolder::create(flags.out.as_deref(), config.seed)?;
    let description = describe(&gpu, &data, &config, &trainer);
    folder.write("config.json", format!("{description:#}\n").as_bytes())?;
    let dims: Vec<String> = trainer.mlp.shape.dims.iter().map(usize::to_string).collect();
    super::tell(format!("{} on {}", dims.join("-"), super::gpu_line(&gpu)));
    super::tell(format!(
        "{}: {} training and {} test images, into {}",
        data.name,
        data.train.len(),
        data.test.len(),
        shown(&folder.path)
    ));

    let model = folder.path.join(MODEL);
    let mut log = Log::open(&folder, config.epochs, data.train.len())?;
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..config.epochs {
        let began = Instant::now();
        let train = trainer.run_epoch(&mut |images| log.progress(images)).map_err(failure)?;
        times.push(began.elapsed().as_secs_f64());
        // Scoring quantises the weights as they are now, and so do the layers that are read after it.
        let test = evaluator.score().map_err(failure)?;
        let layers = trainer.mlp.packed(&gpu).map_err(failure)?;
        log.epoch(&trainer, train, test, &times, start);
        if !(train.loss.is_finite() && test.loss.is_finite()) {
            log.bar.finish_and_clear();
            let what = "the loss is no number any more: use a smaller --lr or --weight-decay";
            return Err(failure(format!("after epoch {} {what}", trainer.epoch)));
        }

        let mut summary = super::device_json(&gpu);
        summary.extend(super::model_json(&layers));
        summary.extend(super::object(run_json(&trainer, &times, train)));
        summary.extend(super::score_json(test));
        let mut run = description.clone();
        run["result"] = Value::Object(summary.clone());
        let saved = trainer.checkpoint(run).map_err(failure)?.save(&model);
        log.note(saved.map_err(failure));
        log.note(folder.write("curve.svg", log.curve(&data.name).as_bytes()));
        last = Some((layers, test, summary));
    }
    log.bar.finish_and_clear();
    let (layers, test, mut summary) = last.expect("a run has at least one epoch");

    super::print_model(&layers, test)?;
    log.complete()?;
    super::say(format!("{} s per epoch; the run is in {}", seconds(median(&times)), shown(&folder.path)))?;
    let program = std::env::args().next().unwrap_or_else(|| "sterna".into());
    super::say(format!("Next: {program} eval {}", shown(&model)))?;
    if flags.json {
        summary.insert("checkpoint".into(), json!(shown(&model)));
        super::print_json("train", summary)?;
    }
    Ok(flags.satisfied(test))
}

const MODEL: &str = "model.safetensors";

impl Flags {
    fn config(&self) -> Result<Config, Failure> {
        if let Some(least) = self.require.filter(|x| !(0.0..=1.0).contains(x) && !(10.0..=100.0).contains(x))
        {
            return Err(failure(format!("--require {least} is no accuracy: 98 % is 0.98 or 98")));
        }
        Ok(Config {
            epochs: self.epochs,
            batch: self.batch,
            hidden: self.hidden.clone(),
            lr: self.lr,
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            seed: self.seed,
        })
    }

    fn satisfied(&self, test: Score) -> bool {
        let Some(least) = self.require else { return true };
        let least = if least > 1.0 { least / 100.0 } else { least };
        let enough = test.accuracy >= least;
        if !enough {
            super::tell(format!("sterna: test accuracy {:.4} is below the required {least}", test.accuracy));
        }
        enough
    }
}

/// What a run says of itself in config.json and in the checkpoint.
fn describe(gpu: &Gpu, data: &Dataset, config: &Config, trainer: &Trainer) -> Value {
    json!({
        "command": "train",
        "schema": SCHEMA,
        "sterna_version": env!("CARGO_PKG_VERSION"),
        "config": config,
        "dims": trainer.mlp.shape.dims,
        "rmsnorm_eps": RMSNORM_EPS,
        "steps_per_epoch": config.steps_per_epoch(data.train.len()),
        "data": {
            "name": data.name, "height": data.height, "width": data.width, "classes": data.classes,
            "train_images": data.train.len(), "test_images": data.test.len(),
        },
        "adapter": gpu.name(),
        "backend": gpu.backend(),
        "device_type": gpu.device_type(),
        "checked": gpu.checked(),
    })
}

/// The keys that describe the training itself.
fn run_json(trainer: &Trainer, times: &[f64], train: Score) -> Value {
    let images = trainer.images() * trainer.epoch;
    let total: f64 = times.iter().sum();
    json!({
        "epochs": trainer.epoch,
        "batch": trainer.config.batch,
        "steps": trainer.steps(),
        "seed": trainer.config.seed,
        "train_seconds": total,
        "samples_per_second": images as f64 / total,
        "seconds_per_epoch": median(times),
        "train_accuracy": train.accuracy,
    })
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

/// The run's folder, created and proved writable before anything is trained.
struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    fn create(asked: Option<&Path>, seed: u64) -> Result<RunFolder, Failure> {
        let path = match asked {
            Some(path) => path.to_path_buf(),
            None => {
                let time = jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S");
                let base = PathBuf::from("runs").join(format!("{time}-{seed}"));
                // Two runs may start in one second.
                let numbered = (2..).map(|n| PathBuf::from(format!("{}.{n}", base.display())));
                let mut names = std::iter::once(base.clone()).chain(numbered);
                names.find(|path| !path.exists()).expect("the names do not end")
            }
        };
        if path.join(MODEL).exists() || path.join("metrics.jsonl").exists() {
            return Err(failure(format!(
                "--out {} already holds a run: choose another folder, or remove this one",
                shown(&path)
            )));
        }
        let writable = fs::create_dir_all(&path).and_then(|()| tempfile::tempfile_in(&path)).map(drop);
        writable.map_err(|error| failure(format!("--out {} cannot be written: {error}", shown(&path))))?;
        Ok(RunFolder { path })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        replace(&self.path.join(name), bytes).map_err(failure)
    }
}

/// The run as it goes on: the bar, a line per epoch on stderr and in metrics.jsonl, the curve.
struct Log {
    bar: ProgressBar,
    metrics: File,
    points: Vec<Point>,
    epochs: usize,
    images: usize,
    trouble: Option<Failure>,
}

impl Log {
    fn open(folder: &RunFolder, epochs: usize, images: usize) -> Result<Log, Failure> {
        let path = folder.path.join("metrics.jsonl");
        let metrics =
            File::create(&path).map_err(|e| failure(format!("{}: cannot be written: {e}", shown(&path))))?;
        let bar = ProgressBar::new((epochs * images) as u64);
        // Two lines, so that the numbers never squeeze the bar out of an 80-column terminal.
        let style = "{msg}\n{wide_bar} {percent} %  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is a constant");
        bar.set_style(style.with_key(
            "per_sec",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{:.0} images/s", state.per_sec());
            },
        ));
        bar.set_message(format!("epoch 1/{epochs}"));
        Ok(Log { bar, metrics, points: Vec::new(), epochs, images, trouble: None })
    }

    fn progress(&self, images: usize) {
        self.bar.set_position((self.points.len() * self.images + images) as u64);
    }

    fn epoch(&mut self, trainer: &Trainer, train: Score, test: Score, times: &[f64], start: Instant) {
        let epoch = trainer.epoch;
        let took = *times.last().expect("an epoch was just timed");
        self.points.push(Point { loss: [train.loss, test.loss], accuracy: [train.accuracy, test.accuracy] });
        let line = json!({
            "epoch": epoch, "step": trainer.steps(), "lr": trainer.rate(),
            "train_loss": train.loss, "train_accuracy": train.accuracy,
            "test_loss": test.loss, "test_accuracy": test.accuracy,
            "seconds": took, "elapsed_seconds": start.elapsed().as_secs_f64(),
            "schema": SCHEMA, "sterna_version": env!("CARGO_PKG_VERSION"),
        });
        let written = writeln!(self.metrics, "{line}").and_then(|()| self.metrics.flush());
        self.note(written.map_err(|error| failure(format!("metrics.jsonl cannot be written: {error}"))));
        let [train_percent, test_percent] = [train, test].map(|score| 100.0 * score.accuracy);
        let told = format!(
            "epoch {epoch:>2}/{}  train loss {:.4}  {train_percent:.2} %   test loss {:.4}  {test_percent:.2} %   \
             {} s  {:.0} images/s",
            self.epochs,
            train.loss,
            test.loss,
            seconds(took),
            self.images as f64 / took,
        );
        self.bar.suspend(|| super::tell(&told));
        let next = (epoch + 1).min(self.epochs);
        self.bar.set_message(format!(
            "epoch {next}/{}  loss {:.4}  train {train_percent:.2} %  test {test_percent:.2} %",
            self.epochs, train.loss
        ));
        self.bar.set_position((epoch * self.images) as u64);
    }

    /// A full disk does not stop a run: it is told at once, and the run ends as an error.
    fn note(&mut self, written: Result<(), Failure>) {
        if let Err(Failure(sentence)) = written {
            self.bar.suspend(|| super::tell(format!("sterna: {sentence}; training goes on")));
            self.trouble.get_or_insert(Failure(sentence));
        }
    }

    /// Whether all that was promised is on disk.
    fn complete(&mut self) -> Result<(), Failure> {
        match self.trouble.take() {
            Some(Failure(sentence)) => Err(Failure(format!("the run ended, but {sentence}"))),
            None => Ok(()),
        }
    }

    fn curve(&self, data: &str) -> String {
        let last = self.points.last().map_or(0.0, |point| 100.0 * point.accuracy[1]);
        curve_svg(
            &format!("{data}, ternary weights: {last:.2} % after {} epochs", self.points.len()),
            &self.points,
        )
    }
}
