//! Runs on digits: the flags, the words and the pictures of MNIST and of sets in its form.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};

use super::compare::Gap;
use super::log::Log;
use super::{Finished, Flags, Kind, KindRun, KindTrainer, Places, number, plain, seconds};
use crate::cli::arguments::{real, some};
use crate::cli::{
    DataFlags, DeviceFlags, Failure, Verdict, command, confusion, data_path, failure, insert_path,
    model_json, object, print_model, refused, score_json, unfit, warn,
};
use crate::gpu::Gpu;
use crate::mnist::Dataset;
use crate::model::{Mlp, Precision, Shape, logits};
use crate::report::{Subject, Weights, confusion_png, contact_sheet_png, thousands, weights_png};
use crate::store::Arch;
use crate::ternary::{Packed, RMSNORM_EPS};
use crate::train::{
    Augment, Config, DIGITS_FILES, Digits, Epoch, Evaluator, Exchange, Files, Score, Trainer, classes,
};

#[derive(Args)]
#[command(next_help_heading = "Runs on digits")]
pub struct DigitsFlags {
    #[command(flatten)]
    data: DataFlags,
    /// Passes over the training set.
    #[arg(long, value_name = "N", default_value_t = Config::default().epochs, value_parser = some)]
    epochs: usize,
    /// Widths of the hidden layers.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "256,128", value_parser = some)]
    hidden: Vec<usize>,
    /// The random variation of training images in every step. augment.png in the run folder shows it.
    #[arg(long, value_enum, default_value_t)]
    augment: Augment,
    /// Exit with 1 if the test accuracy ends below this: 0.98, or 98 for percent.
    #[arg(long, value_name = "ACC", value_parser = real("an accuracy, 0.98 or 98 for 98 %", is_accuracy))]
    require: Option<f64>,
}

/// Whether a number is a share, or percent.
fn is_accuracy(x: f64) -> bool {
    (0.0..=1.0).contains(&x) || (10.0..=100.0).contains(&x)
}

/// A run on a data set of digits.
pub struct OnDigits {
    data: Dataset,
    /// The folder of the data set. It is `None` for the one inside the program.
    folder: Option<PathBuf>,
    config: Config,
}

impl DigitsFlags {
    /// The place of the images.
    pub fn data(&self) -> &DataFlags {
        &self.data
    }
}

impl OnDigits {
    fn shape(&self) -> Shape {
        self.config.shape(&self.data)
    }
}

impl Kind for OnDigits {
    type Network = Mlp;
    type Source = Digits;
    type Config = Config;

    const FILES: Files = DIGITS_FILES;
    const LENGTH: &'static str = "epochs";
    const GAP: (&'static str, usize) = ("points", 2);

    fn config(flags: &Flags, seed: u64) -> Config {
        let (own, default) = (&flags.digits, Config::default());
        Config {
            epochs: own.epochs,
            batch: flags.batch.unwrap_or(default.batch),
            hidden: own.hidden.clone(),
            precision: flags.precision,
            augment: own.augment,
            optimizer: flags.optimizer,
            lr: flags.lr.unwrap_or_else(|| Config::default_lr(flags.precision, flags.optimizer)),
            weight_decay: flags.weight_decay.unwrap_or(default.weight_decay),
            label_smoothing: flags.label_smoothing,
            shadow: !flags.no_shadow,
            micro_batches: flags.micro_batches,
            seed,
        }
    }

    fn twin(config: &Config) -> Config {
        match config.shadow {
            true => {
                let (precision, optimizer) = (Precision::F32, config.optimizer);
                Config { precision, lr: Config::default_lr(precision, optimizer), ..config.clone() }
            }
            false => Config { shadow: true, ..config.clone() },
        }
    }

    fn load(places: &Places, config: Config, about: &Value) -> Result<OnDigits, Failure> {
        let given = places.digits;
        let folder = given.folder().or_else(|| data_path(about, "folder"));
        let set = DataFlags { data: folder.clone(), ..*given };
        Ok(OnDigits { data: set.load_for(about)?, folder: set.folder(), config })
    }

    fn check(&self) -> Result<(), Failure> {
        self.config.validate(&self.data).map_err(refused)
    }

    fn check_file(&self, arch: &Arch) -> Result<(), String> {
        let (found, dims) = (Shape::of(arch)?.dims, self.shape().dims);
        match found == dims {
            true => Ok(()),
            false => Err(format!("has layers of {found:?}, but its config asks for {dims:?}")),
        }
    }

    fn open(&self, device: &DeviceFlags, tune: bool) -> Result<Gpu, Failure> {
        let gpu = device.open()?;
        if tune {
            device.tune_training(&gpu, &self.config, &self.data)?;
        }
        Ok(gpu)
    }

    fn trainer(&self, gpu: &Gpu, exchange: Arc<dyn Exchange>) -> Result<KindTrainer<Self>, Failure> {
        let OnDigits { data, config, .. } = self;
        Trainer::new_among(gpu, data, config, exchange).map_err(unfit(gpu, config, data))
    }

    fn evaluator(&self, gpu: &Gpu, network: &Mlp) -> Result<Evaluator, Failure> {
        Evaluator::new(gpu, network, &self.data.test).map_err(failure)
    }

    fn arch(&self) -> Arch {
        self.shape().arch()
    }

    fn describe(&self) -> Map<String, Value> {
        let data = &self.data;
        let mut about_data = object(json!({
            "name": data.name, "height": data.height, "width": data.width, "classes": data.classes,
            "train_images": data.train.len(), "test_images": data.test.len(),
            "crc32": data.fingerprint(), "transposed": data.transposed,
        }));
        insert_path(&mut about_data, "folder", self.folder.as_deref());
        object(json!({
            "config": self.config, "dims": self.shape().dims, "rmsnorm_eps": RMSNORM_EPS, "data": about_data,
        }))
    }

    fn other_data(&self, its: &str) -> String {
        let (name, size) = (&self.data.name, self.data.train.len());
        format!(
            "was trained on {its}, not on this {name} of {size} training images: use --data DIR with that set"
        )
    }

    fn steps(&self, epochs: usize) -> usize {
        epochs.saturating_mul(self.steps_per_epoch())
    }

    fn steps_per_epoch(&self) -> usize {
        self.config.steps_per_epoch(self.data.train.len())
    }

    fn begun(&self, run: &mut KindRun<Self>) -> Result<(), Failure> {
        let trainer = &run.trainer;
        if let Some(samples) = trainer.source.samples(&trainer.gpu, 10, 9).map_err(failure)? {
            let title = format!("{}, --augment {}", self.data.name, plain(&json!(self.config.augment)));
            let sheet = contact_sheet_png(&title, &samples, self.size());
            run.folder.write("augment.png", &sheet).map_err(failure)?;
        }
        Ok(())
    }

    fn subject(&self) -> Subject {
        Subject::Digits
    }

    fn matrices(&self) -> Vec<(usize, String, usize)> {
        let layers = self.shape().layers().into_iter().enumerate();
        layers.map(|(i, [rows, cols])| (i, String::new(), rows * cols)).collect()
    }

    fn data(&self) -> &str {
        &self.data.name
    }

    fn weights(&self) -> (Precision, bool) {
        (self.config.precision, self.config.shadow)
    }

    fn introduce(&self) -> [String; 2] {
        let dims: Vec<String> = self.shape().dims.iter().map(usize::to_string).collect();
        let Dataset { name, train, test, .. } = &self.data;
        [dims.join("-"), format!("{name}: {} training and {} test images", train.len(), test.len())]
    }

    fn size(&self) -> [usize; 2] {
        [self.data.height, self.data.width]
    }

    /// Trits, or floats for a float network.
    fn look(&self, network: &Mlp, gpu: &Gpu, trits: &[Packed], show: &mut dyn FnMut(&Weights)) {
        match trits.first() {
            Some(first) => show(&Weights::Trits(first)),
            None => {
                // If the device failed, its next use reports it.
                let weights = network.weights(gpu).unwrap_or_default();
                weights.first().into_iter().for_each(|(first, cols)| show(&Weights::Floats(first, *cols)));
            }
        }
    }

    fn result(&self, epoch: &Epoch, trits: &[Packed], spent: &[(usize, f64)]) -> Map<String, Value> {
        let times: Vec<f64> = spent.iter().map(|(_, seconds)| *seconds).collect();
        let total: f64 = times.iter().sum();
        let mut result = model_json(&self.shape(), trits);
        result.extend(object(json!({
            "epochs": epoch.epoch,
            "batch": self.config.batch,
            "steps": epoch.step,
            "seed": self.config.seed,
            "train_seconds": total,
            "samples_per_second": (self.data.train.len() * times.len()) as f64 / total,
            "seconds_per_epoch": median(&times),
            "train_loss": epoch.train_loss,
            "train_accuracy": epoch.train_accuracy,
        })));
        result.extend(score_json(Score { loss: epoch.test_loss, accuracy: epoch.test_accuracy }));
        result
    }

    fn ended(
        &self,
        run: &mut KindRun<Self>,
        trits: &[Packed],
        title: &str,
        log: &mut Log,
    ) -> Result<Vec<bool>, Failure> {
        let trainer = &run.trainer;
        let logits = logits(&trainer.gpu, &trainer.network, &self.data.test.images).map_err(failure)?;
        let said = classes(&logits, self.data.classes);
        // A run that was already finished stays unchanged.
        if run.folder.trains() {
            let floats = match trits.is_empty() {
                true => trainer.network.weights(&trainer.gpu).map_err(failure)?,
                false => Vec::new(),
            };
            let floats = floats.iter().map(|(values, cols)| Weights::Floats(values, *cols));
            let drawn = trits.iter().map(Weights::Trits).chain(floats).enumerate();
            let drawn: Vec<_> = drawn.map(|(i, weights)| (format!("layer {i}"), weights)).collect();
            let weights = weights_png(title, &drawn, self.size());
            log.note("weights.png", run.folder.write("weights.png", &weights));
            let picture = confusion_png(title, &confusion(&self.data, &said));
            log.note("confusion.png", run.folder.write("confusion.png", &picture));
        }
        Ok(said.iter().zip(&self.data.test.labels).map(|(&said, &is)| said == usize::from(is)).collect())
    }

    fn print(&self, finished: &Finished<Self>) -> Result<(), Failure> {
        let [loss, accuracy] = ["test_loss", "test_accuracy"].map(|key| number(&finished.summary, key));
        print_model(&self.shape(), &finished.layers, Score { loss, accuracy })
    }

    fn speed(summary: &Map<String, Value>) -> String {
        format!("{} s per epoch", seconds(number(summary, "seconds_per_epoch")))
    }

    fn next(&self, folder: &Path) -> String {
        let mut next: Vec<&dyn AsRef<OsStr>> = vec![&"eval", &folder];
        if let Some(data) = &self.folder {
            next.extend([&"--data" as &dyn AsRef<OsStr>, data]);
        }
        command(&next)
    }

    fn verdict(flags: &Flags, score: &Map<String, Value>) -> Verdict {
        let Some(least) = flags.digits.require else { return Verdict::Yes };
        let least = if least > 1.0 { least / 100.0 } else { least };
        let accuracy = number(score, "test_accuracy");
        if accuracy >= least {
            return Verdict::Yes;
        }
        warn(format!("sterna: test accuracy {accuracy:.4} is below the required {least}"));
        Verdict::No
    }

    fn score(&self, mean: &dyn Fn(&str) -> f64) -> Map<String, Value> {
        score_json(Score { loss: mean("test_loss"), accuracy: mean("test_accuracy") })
    }

    fn columns(&self, mean: &dyn Fn(&str) -> f64) -> Vec<(&'static str, String)> {
        let score = Score { loss: mean("test_loss"), accuracy: mean("test_accuracy") };
        vec![
            ("test", format!("{:.2} %", 100.0 * score.accuracy)),
            ("train", format!("{:.2} %", 100.0 * mean("train_accuracy"))),
            ("test loss", format!("{:.4}", score.loss)),
            ("perplexity", format!("{:.3}", score.perplexity())),
            ("weights", format!("{} B", thousands(mean("bytes") as usize))),
            ("per epoch", format!("{} s", seconds(mean("seconds_per_epoch")))),
        ]
    }

    fn gap(first: &Finished<Self>, second: &Finished<Self>) -> Gap {
        paired(&first.hits, &second.hits)
    }
}

/// The gap of one seed in points of test accuracy. Its standard error comes from the choice of the test images: the
/// difference of paired proportions (McNemar 1947).
fn paired(first: &[bool], second: &[bool]) -> Gap {
    let images = first.len() as f64;
    let count = |hit: [bool; 2]| first.iter().zip(second).filter(|pair| hit == [*pair.0, *pair.1]).count();
    let [lost, won] = [count([false, true]), count([true, false])];
    let (disagreements, difference) = (lost + won, lost as f64 - won as f64);
    let variance = disagreements as f64 - difference * difference / images;
    let amount = 100.0 * difference / images;
    let told = format!("the two disagree on {disagreements} of {} test images", thousands(first.len()));
    Gap {
        amount,
        error: Some(100.0 * variance.sqrt() / images),
        disagreements: Some(disagreements),
        each: vec![amount],
        told,
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::paired;

    #[test]
    fn a_gap_is_as_sure_as_the_images_that_it_comes_from() {
        // Of 100 images, both networks classify 80 correctly and 4 incorrectly. Only the first network is correct for
        // 10 images, and only the second network for 6.
        let hits =
            |runs: [(bool, usize); 4]| runs.iter().flat_map(|&(hit, n)| vec![hit; n]).collect::<Vec<_>>();
        let first = hits([(true, 80), (false, 4), (false, 10), (true, 6)]);
        let second = hits([(true, 80), (false, 4), (true, 10), (false, 6)]);
        let gap = paired(&first, &second);
        assert_eq!((gap.amount, gap.disagreements, &gap.each[..]), (4.0, Some(16), &[4.0][..]));
        // sqrt(16 - 4 * 4 / 100), relative to 100 images.
        assert!((gap.error.expect("known") - 3.979_95).abs() < 1e-5, "{:?}", gap.error);
        assert!(gap.told.contains("16 of 100"), "{}", gap.told);
        let none = paired(&first, &first);
        assert_eq!((none.amount, none.error, none.disagreements), (0.0, Some(0.0), Some(0)));
    }
}
