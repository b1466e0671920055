//! `sterna train`: the flags, the run from its first step to its last, and the report at the end.

mod compare;
pub(super) mod log;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::arguments::{count, real, some, whole};
use super::{DataFlags, DeviceFlags, Failure, Outcome, Verdict, failure, interrupt};
use crate::gpu::Gpu;
use crate::mnist::Dataset;
use crate::model::{Mlp, Precision, Shape, logits};
use crate::parameter::Role;
use crate::report::{Weights, confusion_png, contact_sheet_png, short, weights_png};
use crate::store::{Checkpoint, FileError, Progress, SCHEMA, shown};
use crate::ternary::{Packed, RMSNORM_EPS};
use crate::train::{
    Augment, Config, DIGITS_FILES, Digits, Ended, Epoch, Evaluator, Fault, FolderError, Heard, MODEL,
    Observer, Optimizer, Run, RunFolder, Score, Standing, Trainer, classes,
};
use log::Log;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    #[command(flatten)]
    data: DataFlags,
    /// Folder for the run: config.json, metrics.jsonl, model.safetensors, and pictures of it.
    /// [default: runs/<time>-<seed>]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Passes over the training set.
    #[arg(long, value_name = "N", default_value_t = Config::default().epochs, value_parser = some)]
    epochs: usize,
    /// Images per step.
    #[arg(long, value_name = "N", default_value_t = Config::default().batch, value_parser = some)]
    batch: usize,
    /// Widths of the hidden layers.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "256,128", value_parser = some)]
    hidden: Vec<usize>,
    /// How training images are varied, afresh in every step; augment.png in the run folder shows it.
    #[arg(long, value_enum, default_value_t)]
    augment: Augment,
    /// Ternary weights and int8 activations, or f32 throughout to compare with.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// The optimizer, which turns gradients into updates.
    #[arg(long, value_enum, default_value_t)]
    optimizer: Optimizer,
    /// Peak learning rate; it rises for half an epoch and falls to 0 along a cosine.
    /// [default: 0.003; for f32 0.001; for sgd 0.05]
    #[arg(long, value_name = "F", value_parser = real("a number above 0", |x| x > 0.0 && x.is_finite()))]
    lr: Option<f64>,
    /// Decoupled weight decay of the weights.
    #[arg(long, value_name = "F", default_value_t = Config::default().weight_decay, value_parser = real("a finite number, 0 or more", |x| x >= 0.0 && x.is_finite()))]
    weight_decay: f64,
    /// Share of each target that is spread over all classes.
    #[arg(long, value_name = "F", default_value_t = Config::default().label_smoothing, value_parser = real("a number from 0 to below 1", |x| (0.0..1.0).contains(&x)))]
    label_smoothing: f64,
    /// Keep no float copy of the weights: round them to trits after every update. It fails, and shows why
    /// shadow weights are needed.
    #[arg(long)]
    no_shadow: bool,
    /// Seed of the first weights, of the order of the images and of their variations.
    #[arg(long, value_name = "N", default_value_t = Config::default().seed, value_parser = whole::<u64>(0, u64::MAX))]
    seed: u64,
    /// Train two networks from one seed and put both into one table and one curve: the ternary one and its float
    /// twin, which has its own default --lr; with --no-shadow, without and with shadow weights. With the same
    /// --out it goes on where it was interrupted.
    #[arg(long, conflicts_with_all = ["resume", "precision"])]
    compare: bool,
    /// Compare the means over this many seeds, --seed and those after it. The result of one seed varies by a tenth of
    /// a point.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(1, 1000))]
    #[arg(requires = "compare")]
    seeds: u64,
    /// Continue an interrupted run, given by its folder or its model.safetensors. On the same adapter the weights are
    /// the same as without interruption. All settings come from the file. With --epochs the run, even a finished one,
    /// is extended to this many epochs in all.
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Replace files in the folder that have the names of a run's files but come from elsewhere. With --out this
    /// includes a whole run. A comparison continues the runs that it finds.
    #[arg(long)]
    force: bool,
    /// Save the run at this interval, in addition to every epoch. 0 means after epochs only.
    #[arg(long, value_name = "F", default_value_t = 60.0, value_parser = real("seconds, 0 or more and below 1e9", |x| (0.0..1e9).contains(&x)))]
    checkpoint_seconds: f64,
    /// For tests of what a lost device does: destroys it after so many steps.
    #[arg(long, hide = true, value_parser = count)]
    destroy_device_after: Option<usize>,
    /// Show the live run on the whole terminal: curves, flips, weights. The key q closes the view, and the run
    /// continues.
    #[arg(long)]
    watch: bool,
    /// Exit with 1 if the test accuracy ends below this: 0.98, or 98 for percent.
    #[arg(long, value_name = "ACC", value_parser = real("an accuracy, 0.98 or 98 for 98 %", is_accuracy))]
    require: Option<f64>,
    /// Print one JSON object on one line, and nothing else. Accuracies are 0 to 1, losses in nats.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const EXAMPLES: &str = "\
The network is [RMSNorm, ternary matrix, ReLU] per hidden layer, RMSNorm and a ternary matrix last.

`flips` is the share of weights whose trit changed since the epoch before. Healthy: about 45 % in the first \
epoch, 20 % in the next ones, under 1 % at the end. Many to the end: the learning rate does not come down. \
Hardly any from the start: it is too low.

Ctrl-C finishes the step, saves the run and says how to go on.

--resume RUN --epochs TOTAL extends a run, or shortens it. The rule: every step from there on has the learning rate \
that it would have in a run of TOTAL epochs, and all else stays as it is. So the rate of a run that had come to 0 \
jumps up once, and comes to 0 again at the end of epoch TOTAL.

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
                                            for scripts: exit 1 below 97 %";

pub fn run(flags: &Flags, given: &[String]) -> Outcome {
    flags.out.as_deref().map_or(Ok(()), super::no_dash)?;
    interrupt::listen()?;
    if flags.compare {
        return compare::run(flags);
    }
    let start = match &flags.resume {
        None => Start::fresh(flags, flags.config(), flags.out.as_deref())?,
        Some(run) => Start::resumed(flags, &flags.config(), run, Some(given))?,
    };
    let finished = match start.train(flags)? {
        Ok(finished) => finished,
        Err(verdict) => return Ok(verdict),
    };
    finished.print()?;
    if flags.json {
        super::print_json("train", finished.summary)?;
    }
    Ok(flags.satisfied(finished.test))
}

/// A share, or percent.
fn is_accuracy(x: f64) -> bool {
    (0.0..=1.0).contains(&x) || (10.0..=100.0).contains(&x)
}

impl Flags {
    fn config(&self) -> Config {
        Config {
            epochs: self.epochs,
            batch: self.batch,
            hidden: self.hidden.clone(),
            precision: self.precision,
            augment: self.augment,
            optimizer: self.optimizer,
            lr: self.lr.unwrap_or_else(|| Config::default_lr(self.precision, self.optimizer)),
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            shadow: !self.no_shadow,
            seed: self.seed,
        }
    }

    /// The seeds of all runs of a comparison.
    fn seeds(&self) -> impl Iterator<Item = u64> {
        (0..self.seeds).map(|i| self.seed.wrapping_add(i))
    }

    /// Refuses settings in `asked` that differ from those of the continued run. With `given` only these flags are
    /// compared, without the number of epochs, which may change. Without it all settings are compared.
    fn agree(asked: &Config, given: Option<&[String]>, file: &Path, config: &Config) -> Result<(), Failure> {
        let [asked, its] = [asked, config].map(|config| json!(config));
        for (key, asked) in asked.as_object().into_iter().flatten() {
            let (id, flag) = match key.as_str() {
                "shadow" => ("no_shadow", "--no-shadow".to_string()),
                key => (key, format!("--{} {}", key.replace('_', "-"), plain(asked))),
            };
            let counts = given.is_none_or(|given| id != "epochs" && given.iter().any(|given| given == id));
            if counts && *asked != its[key] {
                let its = if key == "shadow" { "shadow weights".into() } else { plain(&its[key]) };
                return Err(failure(format!(
                    "{flag} contradicts {}, whose run has {its}: go on with the run's own value, or start a new run \
                     in another folder",
                    shown(file)
                )));
            }
        }
        Ok(())
    }

    fn satisfied(&self, test: Score) -> Verdict {
        let Some(least) = self.require else { return Verdict::Yes };
        let least = if least > 1.0 { least / 100.0 } else { least };
        if test.accuracy >= least {
            return Verdict::Yes;
        }
        super::warn(format!("sterna: test accuracy {:.4} is below the required {least}", test.accuracy));
        Verdict::No
    }
}

/// A JSON value in the form of the command line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Everything that is ready before the first step.
struct Start {
    data: Dataset,
    config: Config,
    run: Run<Mlp, Digits>,
    /// The completed epochs.
    epochs: Vec<Epoch>,
}

impl Start {
    fn fresh(flags: &Flags, config: Config, out: Option<&Path>) -> Result<Start, Failure> {
        let path = out.map_or_else(|| fresh(config.seed), Path::to_path_buf);
        vacant(&path, flags.force)?;
        let data = flags.data.load()?;
        config.validate(&data).map_err(super::refused)?;
        let gpu = flags.device.open()?;
        flags.device.tune_training(&gpu, &config, &data)?;
        let trainer = Trainer::new(&gpu, &data, &config).map_err(super::unfit(&gpu, &config, &data))?;
        let evaluator = Evaluator::new(&gpu, &trainer.network, &data.test).map_err(failure)?;
        // It is made last of what can be refused, so that a refusal leaves no empty folder behind.
        let folder = RunFolder::create(&path, DIGITS_FILES, flags.force).map_err(unopened)?;
        let description = describe(&gpu, &data, &config, &trainer, flags.data.folder());
        let arch = trainer.network.shape.arch();
        let mut run = Run {
            trainer,
            evaluator,
            folder,
            arch,
            description,
            result: Value::Null,
            trits: None,
            seconds: 0.0,
            elapsed: 0.0,
        };
        run.begin().map_err(failure)?;
        write_config(&mut run)?;
        if let Some(samples) = run.trainer.source.samples(&gpu, 10, 9).map_err(failure)? {
            let title = format!("{}, --augment {}", data.name, plain(&json!(config.augment)));
            let sheet = contact_sheet_png(&title, &samples, [data.height, data.width]);
            run.folder.write("augment.png", &sheet).map_err(failure)?;
        }
        let start = Start { data, config, run, epochs: Vec::new() };
        start.introduce("into");
        Ok(start)
    }

    fn resumed(
        flags: &Flags,
        asked: &Config,
        run: &Path,
        given: Option<&[String]>,
    ) -> Result<Start, Failure> {
        let path = &super::runs::model(run)?;
        if path.exists() && !path.ends_with(MODEL) {
            return Err(failure(format!(
                "{} is not called {MODEL}: a run goes on in its own folder, under its own name",
                shown(path)
            )));
        }
        let mut file = Checkpoint::load(path).map_err(failure)?;
        let refuse = |what: String| failure(format!("{}: {what}", shown(path)));
        let mut config: Config = serde_json::from_value(file.run["config"].clone()).map_err(|error| {
            refuse(format!("has no config to go on with ({error}); `sterna eval` can use it"))
        })?;
        let (Some(progress), true) =
            (file.progress.clone(), file.parameters.iter().all(|saved| saved.moments.is_some()))
        else {
            return Err(refuse(
                "has weights, but not where its training stands; `sterna eval` can use it".into(),
            ));
        };
        Flags::agree(asked, given, path, &config)?;
        let told = given.is_some_and(|given| given.iter().any(|given| given == "epochs"));
        let planned = config.epochs;
        if told && asked.epochs != planned {
            let (total, Progress { epoch, step, .. }) = (asked.epochs, &progress);
            if total <= *epoch {
                let done = super::counted(*epoch, "epoch");
                let what = match (total == *epoch, step) {
                    (true, 0) => format!("is already done by {}", shown(path)),
                    _ => format!("is less than {} has done, {done}", shown(path)),
                };
                return Err(failure(format!("--epochs {total} {what}: give a total above {epoch}")));
            }
            config.epochs = total;
        }
        let extended = config.epochs != planned;

        let known = super::data_folder(&file.run);
        let set = DataFlags { data: flags.data.folder().or(known), ..flags.data };
        let data = set.load_for(&file.run)?;
        if file.run["data"]["crc32"] != json!(data.fingerprint()) {
            let (its, size) = (&file.run["data"]["name"], data.train.len());
            return Err(refuse(format!(
                "was trained on {}, not on this {} of {size} training images: use --data DIR with that set",
                plain(its),
                data.name
            )));
        }
        config.validate(&data).map_err(|error| {
            let Failure(what) = super::refused(error);
            refuse(format!("its config is out of range: {what}"))
        })?;
        let dims = config.shape(&data).dims;
        let found = Shape::of(&file.arch).map_err(refuse)?.dims;
        if found != dims {
            return Err(refuse(format!("has layers of {found:?}, but its config asks for {dims:?}")));
        }
        let steps = config.steps_per_epoch(data.train.len());
        if progress.epoch > config.epochs || progress.step >= steps {
            return Err(refuse(format!(
                "stands after epoch {} and step {}, but its run has {} of {steps} steps",
                progress.epoch,
                progress.step,
                super::counted(config.epochs, "epoch")
            )));
        }

        let mut plans = file.run["plans"].as_array().cloned().unwrap_or_default();
        if extended {
            plans
                .push(json!({"epochs": planned, "until_epoch": progress.epoch, "until_step": progress.step}));
        }
        let standing = Standing {
            epoch: progress.epoch,
            planned,
            total: config.epochs,
            ended: plans.iter().any(|plan| plan["epochs"] == plan["until_epoch"]),
        };
        let (folder, epochs) =
            RunFolder::reopen(path, DIGITS_FILES, standing, flags.force).map_err(unopened)?;
        let gpu = flags.device.open()?;
        if folder.trains() {
            flags.device.tune_training(&gpu, &config, &data)?;
        }
        let mut trainer = Trainer::new(&gpu, &data, &config).map_err(super::unfit(&gpu, &config, &data))?;
        trainer.restore(&file).map_err(failure)?;
        let evaluator = Evaluator::new(&gpu, &trainer.network, &data.test).map_err(failure)?;
        if epochs.len() < progress.epoch {
            super::warn(format!(
                "sterna: metrics.jsonl holds {} of {}: the curve has no others",
                epochs.len(),
                super::counted(progress.epoch, "epoch")
            ));
        }
        let begun = ["adapter", "backend", "checked"].map(|key| file.run[key].clone());
        let ternary = file.parameters.iter_mut().filter(|saved| saved.parameter.role == Role::Ternary);
        let trits = ternary.map(|saved| {
            let [rows, cols] = saved.parameter.matrix();
            Some(Packed { rows, cols, scale: 1.0, words: saved.trits.take()? })
        });
        let mut run = Run {
            description: describe(&gpu, &data, &config, &trainer, set.folder()),
            trits: trits.collect(),
            result: file.run["result"].take(),
            seconds: progress.seconds,
            elapsed: epochs.last().map_or(0.0, |epoch| epoch.elapsed_seconds),
            arch: trainer.network.shape.arch(),
            trainer,
            evaluator,
            folder,
        };
        if !plans.is_empty() {
            run.description["plans"] = json!(plans);
        }
        if extended {
            // From here on the run has this number of epochs, whatever happens.
            run.begin().map_err(failure)?;
            write_config(&mut run)?;
        }
        let start = Start { data, config, run, epochs };
        let (epoch, epochs) = (progress.epoch, start.config.epochs);
        start.introduce(&match epoch == epochs {
            true => format!("{} already done, in", super::counted(epochs, "epoch")),
            false => format!("going on after epoch {epoch}/{epochs} and step {}/{steps}, in", progress.step),
        });
        if extended {
            let next = start.config.rate(start.data.train.len(), epoch * steps + progress.step);
            super::tell(format!(
                "{} in all instead of {planned}: the learning rate goes on at {}, as in a run of \
                 {epochs}",
                super::counted(epochs, "epoch"),
                short(next)
            ));
        }
        let here = ["adapter", "backend", "checked"].map(|key| start.run.description[key].clone());
        if epoch < epochs && begun != here {
            super::warn(format!(
                "sterna: the run was begun on {} ({}): on another adapter its weights end a little different",
                plain(&begun[0]),
                plain(&begun[1])
            ));
        }
        Ok(start)
    }

    /// Trains to the end, or returns the reason for an earlier stop.
    fn train(self, flags: &Flags) -> Result<Result<Finished, Verdict>, Failure> {
        let model = self.run.folder.model();
        self.work(flags).map_err(|Failure(sentence)| match model.exists() {
            true => failure(format!("{sentence}; the last checkpoint is whole: {}", go_on(&model, flags))),
            false => Failure(sentence),
        })
    }

    fn work(mut self, flags: &Flags) -> Result<Result<Finished, Verdict>, Failure> {
        let (epochs, images) = (self.config.epochs, self.data.train.len());
        let trainer = &self.run.trainer;
        let at = trainer.epoch * images + trainer.position();
        let mut log = Log::open(epochs, images, trainer.steps_per_epoch(), at, &self.epochs);
        if flags.watch && self.run.folder.trains() {
            let title =
                format!("{} on {}, {}", self.title(), trainer.gpu.name(), shown(&self.run.folder.path));
            log.watch(title, [self.data.height, self.data.width]);
        } else {
            log.show();
        }
        let mut teller = Teller {
            log,
            title: self.title(),
            gpu: trainer.gpu.clone(),
            network: trainer.network.clone(),
            config: self.config.clone(),
            images,
            epoch: trainer.epoch,
            destroy_after: flags.destroy_device_after,
        };
        teller.look(&self.run.trainer.network.params.packed(&teller.gpu).map_err(failure)?);
        let period = Some(flags.checkpoint_seconds).filter(|&s| s > 0.0).map(Duration::from_secs_f64);
        let ended = self.run.train(period, &mut teller).map_err(failure)?;
        teller.log.close();
        match ended {
            Ended::Finished(trits) => self.finished(teller.log, trits).map(Ok),
            Ended::Interrupted => self.interrupted(&teller.log, flags).map(Err),
            Ended::Diverged(fault, saved) => Ok(Err(self.diverged(fault, saved))),
        }
    }

    /// The title of a run in its pictures.
    fn title(&self) -> String {
        let weights = match (self.config.precision, self.config.shadow) {
            (Precision::F32, _) => "f32 weights",
            (Precision::Ternary, true) => "ternary weights",
            (Precision::Ternary, false) => "ternary weights without shadow",
        };
        format!("{}, {weights}", self.data.name)
    }

    fn interrupted(&self, log: &Log, flags: &Flags) -> Result<Verdict, Failure> {
        log.complete()?;
        super::warn(format!(
            "Interrupted after epoch {}/{} and {} images of the next; nothing is lost. Go on with:\n  {}",
            self.run.trainer.epoch,
            self.config.epochs,
            self.run.trainer.position(),
            go_on(&self.run.folder.model(), flags)
        ));
        Ok(Verdict::Interrupted)
    }

    /// Prints where values stopped being finite, and which checkpoint is left.
    fn diverged(&self, fault: Option<Fault>, saved: usize) -> Verdict {
        let what = match fault {
            Some(Fault { step, kernel, tensor }) => {
                let epoch = (step - 1) / self.run.trainer.steps_per_epoch() + 1;
                format!(
                    "in step {step}, epoch {epoch}, {kernel} wrote values into {tensor} that are no numbers"
                )
            }
            None => "the loss on the test set is no number any more".into(),
        };
        super::warn(format!(
            "sterna: the run diverged: {what}; the last good checkpoint is {}, after step {saved}; start a new \
             run with a smaller --lr or --weight-decay",
            shown(&self.run.folder.model())
        ));
        Verdict::No
    }

    /// Writes the last pictures and prints the results.
    fn finished(self, mut log: Log, layers: Vec<Packed>) -> Result<Finished, Failure> {
        let (size, title) = ([self.data.height, self.data.width], self.title());
        let Run { trainer, mut folder, result, description, .. } = self.run;
        let logits = logits(&trainer.gpu, &trainer.network, &self.data.test.images).map_err(failure)?;
        let said = classes(&logits, self.data.classes);
        // A run that was already finished stays unchanged.
        if folder.trains() {
            let floats = match layers.is_empty() {
                true => trainer.network.weights(&trainer.gpu).map_err(failure)?,
                false => Vec::new(),
            };
            let floats = floats.iter().map(|(values, cols)| Weights::Floats(values, *cols));
            let drawn: Vec<Weights> = layers.iter().map(Weights::Trits).chain(floats).collect();
            log.note("weights.png", folder.write("weights.png", &weights_png(&title, &drawn, size)));
            let picture = confusion_png(&title, &super::confusion(&self.data, &said));
            log.note("confusion.png", folder.write("confusion.png", &picture));
        }
        let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
        let mut summary = super::object(result.clone());
        summary.insert("checkpoint".into(), super::named(&folder.model()));
        let hits =
            said.iter().zip(&self.data.test.labels).map(|(&said, &is)| said == usize::from(is)).collect();
        Ok(Finished {
            test: Score { loss: number("test_loss"), accuracy: number("test_accuracy") },
            seconds_per_epoch: number("seconds_per_epoch"),
            shape: trainer.network.shape,
            folder: folder.path,
            data: super::data_folder(&description),
            hits,
            layers,
            summary,
            log,
        })
    }

    /// Prints two lines with the network, the device and the settings.
    fn introduce(&self, how: &str) {
        let (config, trainer) = (&self.config, &self.run.trainer);
        let dims: Vec<String> = trainer.network.shape.dims.iter().map(usize::to_string).collect();
        let shadow = if config.shadow { "" } else { " without shadow weights" };
        super::tell(format!(
            "{} in {}{shadow} on {}",
            dims.join("-"),
            config.precision.name(),
            super::gpu_line(&trainer.gpu)
        ));
        super::tell(format!(
            "{}: {} training and {} test images, {how} {}",
            self.data.name,
            self.data.train.len(),
            self.data.test.len(),
            shown(&self.run.folder.path)
        ));
    }
}

/// The observer that shows a run.
struct Teller {
    log: Log,
    title: String,
    gpu: Gpu,
    network: Mlp,
    config: Config,
    /// Number of images in an epoch, and number of completed epochs.
    images: usize,
    epoch: usize,
    /// See `--destroy-device-after`.
    destroy_after: Option<usize>,
}

impl Teller {
    /// Shows the weights of the first layer in the view: trits, or floats for a float network.
    fn look(&mut self, trits: &[Packed]) {
        match trits.first() {
            _ if !self.log.watched() => {}
            Some(first) => self.log.look(&Weights::Trits(first)),
            None => {
                // If the device failed, its next use reports it.
                let weights = self.network.weights(&self.gpu).unwrap_or_default();
                weights
                    .first()
                    .into_iter()
                    .for_each(|(first, cols)| self.log.look(&Weights::Floats(first, *cols)));
            }
        }
    }
}

impl Teller {
    /// Destroys the device after a number of steps, for tests. `done` are the steps of this epoch.
    fn lose(&self, done: usize) {
        let done = self.epoch * self.config.steps_per_epoch(self.images) + done;
        if self.destroy_after.is_some_and(|steps| done >= steps) {
            self.gpu.device().destroy();
            // The device counts as lost only after all its work has ended.
            let _ = self.gpu.wait(None);
        }
    }
}

impl Observer for Teller {
    fn progress(&mut self, heard: &Heard) {
        self.log.progress(heard);
        self.lose(heard.items / self.config.batch);
    }

    fn stop(&mut self) -> bool {
        interrupt::asked()
    }

    fn result(&mut self, epoch: &Epoch, layers: &[Packed]) -> Value {
        self.look(layers);
        let times = [&self.log.times[..], &[epoch.seconds]].concat();
        let mut result = super::device_json(&self.gpu);
        result.extend(super::model_json(&self.network.shape, layers));
        result.extend(super::object(run_json(epoch, &self.config, self.images, &times)));
        result.extend(super::score_json(Score { loss: epoch.test_loss, accuracy: epoch.test_accuracy }));
        Value::Object(result)
    }

    fn epoch(&mut self, epoch: &Epoch, folder: &mut RunFolder) {
        self.epoch = epoch.epoch;
        self.log.epoch(epoch);
        self.lose(0);
        let written = folder.write("curve.svg", self.log.curve(&self.title).as_bytes());
        self.log.note("curve.svg", written);
    }

    fn diverging(&mut self) {
        self.log.close();
        super::tell("The loss is no number any more: looking for the step where that began");
    }

    fn written(&mut self, file: &'static str, outcome: Result<(), FileError>) {
        self.log.note(file, outcome);
    }
}

/// Writes config.json with all settings of the run.
fn write_config(run: &mut Run<Mlp, Digits>) -> Result<(), Failure> {
    let text = format!("{:#}\n", run.description);
    run.folder.write("config.json", text.as_bytes()).map_err(failure)
}

/// Refuses a folder that cannot be a new run's, before anything is done for the run.
fn vacant(path: &Path, force: bool) -> Result<(), Failure> {
    RunFolder::vacant(path, DIGITS_FILES, force).map_err(unopened)
}

/// The reason why a run has no folder, in the words of the command line.
fn unopened(error: FolderError) -> Failure {
    match error {
        FolderError::Taken(folder) => {
            let folder = shown(&folder);
            failure(format!(
                "--out {folder} already holds a run: go on with it by --resume {folder}, choose another folder, or \
                 replace it by --force"
            ))
        }
        FolderError::File(FileError::Exists(file)) => failure(format!(
            "{} exists, and this run did not make it: choose another folder, move the file away, or replace it by \
             --force",
            shown(&file)
        )),
        FolderError::Unwritable(..) => failure(format!("--out {error}")),
        FolderError::Locked(folder) => {
            let folder = shown(&folder);
            let watch = super::command(&[&"watch", &folder]);
            failure(format!("another process trains in {folder}: wait for its end, or look on by {watch}"))
        }
        other => failure(other),
    }
}

/// An unused folder name.
fn fresh(seed: u64) -> PathBuf {
    let time = jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S");
    let base = PathBuf::from("runs").join(format!("{time}-{seed}"));
    // Two runs may start in one second.
    let numbered = (2..).map(|n| base.with_file_name(format!("{time}-{seed}.{n}")));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names.find(|path| !path.exists()).expect("the names do not end")
}

/// The command that continues a run on the same device.
fn go_on(model: &Path, flags: &Flags) -> String {
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"train", &"--resume", &model];
    let device = flags.device.words();
    words.extend(device.iter().map(|word| word as &dyn AsRef<OsStr>));
    super::command(&words)
}

/// A finished run.
struct Finished {
    folder: PathBuf,
    /// The folder of the data set. It is `None` for the one inside the program.
    data: Option<PathBuf>,
    shape: Shape,
    layers: Vec<Packed>,
    test: Score,
    /// Whether each test image was classified correctly.
    hits: Vec<bool>,
    seconds_per_epoch: f64,
    summary: Map<String, Value>,
    log: Log,
}

impl Finished {
    fn print(&self) -> Result<(), Failure> {
        super::print_model(&self.shape, &self.layers, self.test)?;
        self.log.complete()?;
        let (time, folder) = (seconds(self.seconds_per_epoch), shown(&self.folder));
        super::say(format!("{time} s per epoch; the run is in {folder}"))?;
        let mut next: Vec<&dyn AsRef<OsStr>> = vec![&"eval", &self.folder];
        if let Some(data) = &self.data {
            next.extend([&"--data" as &dyn AsRef<OsStr>, data]);
        }
        super::say(format!("Next: {}", super::command(&next)))
    }
}

/// The run's description of itself for config.json and for the checkpoint.
fn describe(
    gpu: &Gpu,
    data: &Dataset,
    config: &Config,
    trainer: &Trainer<Mlp, Digits>,
    folder: Option<PathBuf>,
) -> Value {
    let mut description = json!({
        "command": "train",
        "schema": SCHEMA,
        "sterna_version": env!("CARGO_PKG_VERSION"),
        "config": config,
        "dims": trainer.network.shape.dims,
        "rmsnorm_eps": RMSNORM_EPS,
        "steps_per_epoch": config.steps_per_epoch(data.train.len()),
        "data": {
            "name": data.name, "height": data.height, "width": data.width, "classes": data.classes,
            "train_images": data.train.len(), "test_images": data.test.len(),
            "crc32": data.fingerprint(), "transposed": data.transposed,
            "folder": folder.as_deref().map(super::named),
        },
        "adapter": gpu.name(),
        "backend": gpu.backend(),
        "device_type": gpu.device_type(),
        "checked": gpu.checked(),
    });
    if let Some(digits) = folder.as_deref().and_then(super::bytes_of) {
        description["data"]["folder_bytes"] = json!(digits);
    }
    description
}

/// The keys that describe the training itself.
fn run_json(epoch: &Epoch, config: &Config, images: usize, times: &[f64]) -> Value {
    let total: f64 = times.iter().sum();
    json!({
        "epochs": epoch.epoch,
        "batch": config.batch,
        "steps": epoch.step,
        "seed": config.seed,
        "train_seconds": total,
        "samples_per_second": (images * times.len()) as f64 / total,
        "seconds_per_epoch": median(times),
        "train_loss": epoch.train_loss,
        "train_accuracy": epoch.train_accuracy,
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
