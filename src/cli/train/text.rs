//! Runs on a text: the flags, the words and the results of a language model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};

use super::compare::Gap;
use super::log::Log;
use super::{Finished, Flags, Kind, KindRun, KindTrainer, Places, not_negative, number};
use crate::cli::arguments::some;
use crate::cli::{
    DeviceFlags, Failure, Verdict, command, counted, data_path, failure, insert_path, object, refused, say,
    warn,
};
use crate::digest;
use crate::generate::{Generator, Sampling};
use crate::gpu::{Error, Gpu};
use crate::kernels::KeyForm;
use crate::model::{Network, Precision, Transformer, TransformerShape};
use crate::parameter::Role;
use crate::report::{LayerCost, Subject, attention_png, thousands};
use crate::store::{Arch, escaped};
use crate::ternary::Packed;
use crate::text::{Corpus, Vocabulary};
use crate::train::{Epoch, Evaluator, Exchange, Files, Score, TEXT_FILES, Text, TextConfig, Trainer};

#[derive(Args)]
#[command(next_help_heading = "Runs on a text")]
pub struct TextFlags {
    /// Train a language model on a text: a file, or the .txt and .md files of a folder. Without a value: nine plays of
    /// Shakespeare inside the program. Tokens are characters, or bytes where the text has more than 256 different
    /// characters or is not UTF-8. The last tenth of the text is for validation.
    #[arg(long, value_name = "FILE|FOLDER", num_args = 0..=1)]
    text: Option<Option<PathBuf>>,
    /// Number of steps.
    #[arg(long, value_name = "N", default_value_t = TextConfig::default().steps, value_parser = some)]
    steps: usize,
    /// Steps between two evaluations. [default: a tenth of --steps]
    #[arg(long, value_name = "N", value_parser = some)]
    every: Option<usize>,
    #[command(flatten)]
    shape: ShapeFlags,
    /// Steps in which the learning rate rises. [default: a tenth of --steps, at most 50]
    #[arg(long, value_name = "N", value_parser = some)]
    warmup: Option<usize>,
    /// The largest norm of all gradients together; 0 for no limit.
    #[arg(long, value_name = "F", default_value_t = TextConfig::default().clip, value_parser = not_negative())]
    clip: f64,
}

/// The shape of a language model.
#[derive(Args)]
pub struct ShapeFlags {
    /// Number of layers.
    #[arg(long, value_name = "N", default_value_t = TextConfig::default().layers, value_parser = some)]
    layers: usize,
    /// Width of the network, a multiple of 64.
    #[arg(long, value_name = "N", default_value_t = TextConfig::default().width, value_parser = some)]
    width: usize,
    /// Heads of attention, which share the width: 16 to 128 for each, in steps of 16.
    #[arg(long, value_name = "N", default_value_t = TextConfig::default().heads, value_parser = some)]
    heads: usize,
    /// Heads of keys and values; several query heads may share one. [default: --heads]
    #[arg(long, value_name = "N", value_parser = some)]
    kv_heads: Option<usize>,
    /// Width inside the feed-forward part. [default: 8/3 of --width: 344]
    #[arg(long, value_name = "N", value_parser = some)]
    ffn: Option<usize>,
    /// Characters of a sequence, which are all that the network sees at once.
    #[arg(long, value_name = "N", default_value_t = TextConfig::default().context, value_parser = some)]
    context: usize,
}

impl ShapeFlags {
    /// `config` with this shape.
    pub fn of(&self, config: TextConfig) -> TextConfig {
        let &ShapeFlags { layers, width, heads, context, .. } = self;
        let (kv_heads, ffn) =
            (self.kv_heads.unwrap_or(heads), self.ffn.unwrap_or(TextConfig::default_ffn(width)));
        TextConfig { context, layers, width, heads, kv_heads, ffn, ..config }
    }
}

impl TextFlags {
    /// Whether the flags request a run on a text.
    pub fn asked(&self) -> bool {
        self.text.is_some()
    }

    /// The place of the text, if it is not the one inside the program.
    pub fn path(&self) -> Option<&Path> {
        self.text.as_ref()?.as_deref()
    }
}

/// Number of tokens of the text that the network writes after an evaluation.
const SAMPLE: usize = 200;

/// Tokens of the sentence whose attention is drawn at the end.
const SENTENCE: usize = 24;

/// A run on a text.
pub struct OnText {
    corpus: Corpus,
    /// The file or folder of the text. It is `None` for the one inside the program.
    path: Option<PathBuf>,
    config: TextConfig,
}

impl OnText {
    fn shape(&self) -> TransformerShape {
        self.config.shape(self.corpus.vocabulary.len())
    }

    /// The tokens whose attention is drawn: from the first line end of the validation split on.
    fn sentence(&self) -> &[u32] {
        let Corpus { vocabulary, validation, .. } = &self.corpus;
        let line_end =
            vocabulary.encode("\n").ok().and_then(|ids| validation.iter().position(|id| *id == ids[0]));
        let length = SENTENCE.min(self.config.context).min(validation.len());
        let from = line_end.map_or(0, |at| at + 1).min(validation.len() - length);
        &validation[from..][..length]
    }

    /// `character` or `byte`.
    fn token(&self) -> &'static str {
        if self.corpus.vocabulary.characters().is_some() { "character" } else { "byte" }
    }

    /// The score of a run: the loss on the validation split, and the numbers that follow from it.
    fn score_json(&self, loss: f64) -> Map<String, Value> {
        let score = Score { loss, accuracy: f64::NAN };
        let mut all = object(json!({"validation_loss": loss, "perplexity": score.perplexity()}));
        all.insert(format!("bits_per_{}", self.token()), json!(score.bits()));
        all
    }

    /// The device's error for a network that is too large, with the largest network that fits.
    fn unfit(&self, gpu: &Gpu, mut error: Error) -> Failure {
        let vocabulary = self.corpus.vocabulary.len();
        let fitting = match &error {
            Error::TooLarge { .. } => self.config.largest(|config| config.fits(gpu, vocabulary).is_ok()),
            Error::NoMemory { held, .. } => self.config.largest(|config| config.bytes(vocabulary) <= *held),
            _ => None,
        };
        if let (Error::TooLarge { advice, .. } | Error::NoMemory { advice, .. }, Some(fitting)) =
            (&mut error, fitting)
        {
            let sizes = |config: &TextConfig| {
                let TextConfig { batch, context, width, ffn, .. } = *config;
                [("batch", batch), ("context", context), ("width", width), ("ffn", ffn)]
            };
            let changed = sizes(&fitting).into_iter().zip(sizes(&self.config)).filter(|(a, b)| a != b);
            let flags: Vec<String> = changed.map(|((flag, value), _)| format!("--{flag} {value}")).collect();
            *advice = format!("the largest that fits is {}", flags.join(" "));
        }
        failure(error)
    }
}

/// Layer and role of a matrix. `model.layers.3.self_attn.q_proj.weight` has layer 3 and role `q`.
fn place(name: &str) -> (usize, String) {
    let mut parts = name.split('.').skip(2);
    let layer = parts.next().and_then(|layer| layer.parse().ok()).unwrap_or(0);
    let role = parts.nth(1).unwrap_or(name);
    (layer, role.trim_end_matches("_proj").to_string())
}

/// Layer, role and number of weights of each matrix of a network.
pub fn matrices(shape: &TransformerShape) -> Vec<(usize, String, usize)> {
    let ternary = TransformerShape { precision: Precision::Ternary, ..shape.clone() }.parameters();
    let matrices = ternary.into_iter().filter(|parameter| parameter.role == Role::Ternary);
    let entry = |(layer, role): (usize, String), weights| (layer, role, weights);
    matrices.map(|parameter| entry(place(&parameter.name), parameter.count())).collect()
}

impl Kind for OnText {
    type Network = Transformer;
    type Source = Text;
    type Config = TextConfig;

    const FILES: Files = TEXT_FILES;
    const LENGTH: &'static str = "steps";
    const GAP: (&'static str, usize) = ("nats", 4);

    fn config(flags: &Flags, seed: u64) -> TextConfig {
        let (own, default) = (&flags.text, TextConfig::default());
        own.shape.of(TextConfig {
            steps: own.steps,
            every: own.every.unwrap_or_else(|| TextConfig::default_every(own.steps)),
            batch: flags.batch.unwrap_or(default.batch),
            precision: flags.precision,
            optimizer: flags.optimizer,
            lr: flags.lr.unwrap_or_else(|| TextConfig::default_lr(flags.optimizer)),
            warmup: own.warmup.unwrap_or_else(|| TextConfig::default_warmup(own.steps)),
            weight_decay: flags.weight_decay.unwrap_or(default.weight_decay),
            clip: own.clip,
            label_smoothing: flags.label_smoothing,
            shadow: !flags.no_shadow,
            micro_batches: flags.micro_batches,
            seed,
            ..default
        })
    }

    fn twin(config: &TextConfig) -> TextConfig {
        match config.shadow {
            // The same learning rate suits both networks.
            true => TextConfig { precision: Precision::F32, ..config.clone() },
            false => TextConfig { shadow: true, ..config.clone() },
        }
    }

    fn load(places: &Places, config: TextConfig, about: &Value) -> Result<OnText, Failure> {
        let path = places.text.map(Path::to_path_buf).or_else(|| data_path(about, "path"));
        let path = path.map(|path| std::path::absolute(&path).unwrap_or(path));
        let corpus = match &path {
            Some(path) => Corpus::load(path).map_err(failure)?,
            None => Corpus::embedded(),
        };
        // The name of a file becomes a title in pictures and JSON.
        let corpus = Corpus { name: escaped(&corpus.name, &[]), ..corpus };
        if let Some(note) = &corpus.note {
            warn(format!("sterna: {} {note}", corpus.name));
        }
        Ok(OnText { corpus, path, config })
    }

    fn check(&self) -> Result<(), Failure> {
        self.config.validate(self.corpus.vocabulary.len()).map_err(refused)?;
        self.corpus.fits(self.config.context).map_err(failure)
    }

    fn check_file(&self, arch: &Arch) -> Result<(), String> {
        let (found, own) = (TransformerShape::of(arch)?, self.shape());
        let vocabulary: Vocabulary = arch.setting("tokens")?;
        match found == own && vocabulary == self.corpus.vocabulary {
            true => Ok(()),
            false => Err("has another network than its config asks for".into()),
        }
    }

    fn open(&self, device: &DeviceFlags, tune: bool) -> Result<Gpu, Failure> {
        let OnText { corpus, config, .. } = self;
        let gpu = device.open()?;
        config.fits(&gpu, corpus.vocabulary.len()).map_err(|error| self.unfit(&gpu, error))?;
        if tune && config.precision == Precision::Ternary {
            let products = self.shape().stacked().map(|(_, [rows, cols])| [rows, cols]);
            device.tune_products(&gpu, config.batch * config.context, &products)?;
        }
        Ok(gpu)
    }

    fn trainer(&self, gpu: &Gpu, exchange: Arc<dyn Exchange>) -> Result<KindTrainer<Self>, Failure> {
        let trainer = Trainer::on_text_among(gpu, &self.corpus, &self.config, exchange);
        trainer.map_err(|error| self.unfit(gpu, error))
    }

    fn evaluator(&self, gpu: &Gpu, network: &Transformer) -> Result<Evaluator, Failure> {
        let validation = Text::whole(gpu, &self.corpus.validation, self.config.context).map_err(failure)?;
        Evaluator::on(gpu, network, &validation).map_err(|error| self.unfit(gpu, error))
    }

    fn arch(&self) -> Arch {
        self.shape().arch_of_text(&self.corpus.vocabulary)
    }

    fn describe(&self) -> Map<String, Value> {
        let Corpus { name, vocabulary, train, validation, .. } = &self.corpus;
        let mut data = object(json!({
            "name": name, "unit": vocabulary.unit(), "vocabulary": vocabulary.len(),
            "train_tokens": train.len(), "validation_tokens": validation.len(),
            "crc32": self.corpus.fingerprint(),
        }));
        insert_path(&mut data, "path", self.path.as_deref());
        object(json!({"config": self.config, "data": data}))
    }

    fn other_data(&self, its: &str) -> String {
        let (name, size, unit) = (&self.corpus.name, self.corpus.len(), self.corpus.vocabulary.unit());
        format!(
            "was trained on the text {its}, not on this {name} of {size} {unit}: use --text FILE with that text"
        )
    }

    fn steps(&self, steps: usize) -> usize {
        steps
    }

    fn steps_per_epoch(&self) -> usize {
        self.config.every
    }

    fn subject(&self) -> Subject {
        Subject::Text { token: self.token() }
    }

    fn matrices(&self) -> Vec<(usize, String, usize)> {
        matrices(&self.shape())
    }

    fn data(&self) -> &str {
        &self.corpus.name
    }

    fn weights(&self) -> (Precision, bool) {
        (self.config.precision, self.config.shadow)
    }

    fn introduce(&self) -> [String; 2] {
        let TextConfig { layers, width, heads, context, batch, .. } = self.config;
        let parameters: usize = self.shape().parameters().iter().map(|parameter| parameter.count()).sum();
        let Corpus { name, vocabulary, train, validation, .. } = &self.corpus;
        let unit = vocabulary.unit();
        [
            format!(
                "{}, {width} wide, {}: {} parameters",
                counted(layers, "layer"),
                counted(heads, "head"),
                thousands(parameters)
            ),
            format!(
                "{name}: {} {unit} to train on and {} to validate with, {} different; {batch} sequences of {context} per \
                 step",
                thousands(train.len()),
                thousands(validation.len()),
                vocabulary.len(),
            ),
        ]
    }

    fn result(&self, epoch: &Epoch, trits: &[Packed], spent: &[(usize, f64)]) -> Map<String, Value> {
        let TextConfig { batch, context, precision, seed, .. } = self.config;
        let (steps, seconds) =
            spent.iter().fold((0, 0.0), |(n, s), (steps, seconds)| (n + steps, s + seconds));
        let shape = self.shape();
        let parameters: usize = shape.parameters().iter().map(|parameter| parameter.count()).sum();
        let costs: Vec<LayerCost> = trits.iter().map(|packed| LayerCost::count(packed, false)).collect();
        let total = LayerCost::total(&costs);
        let ternary = |bytes: usize| if trits.is_empty() { Value::Null } else { json!(bytes) };
        let mut result = object(json!({
            "precision": precision,
            "parameters": parameters,
            "ternary_parameters": if trits.is_empty() { 0 } else { shape.weights() },
            "zeros": zeros_by_layer(trits, self.config.layers),
            "bytes": {
                "f32": 4 * shape.weights(),
                "packed": ternary(total.packed_bytes),
                "base3": ternary(total.base3_bytes),
            },
            "steps": epoch.step,
            "batch": batch,
            "context": context,
            "seed": seed,
            "train_seconds": seconds,
            "tokens_per_second": (steps * batch * context) as f64 / seconds,
            "train_loss": epoch.train_loss,
        }));
        result.extend(self.score_json(epoch.test_loss));
        result
    }

    /// Text of 200 tokens after a line end. If the vocabulary has no line end, it begins after the first token of the
    /// text.
    fn sample(&self, network: &Transformer, gpu: &Gpu) -> Option<String> {
        let vocabulary = &self.corpus.vocabulary;
        let prompt = vocabulary.encode("\n").unwrap_or_else(|_| self.corpus.train[..1].to_vec());
        let sampling = Sampling { temperature: 1.0, top_k: None, top_p: 1.0, seed: self.config.seed };
        // If the device failed, its next use reports it.
        let mut text = Generator::new(gpu, network, &prompt, KeyForm::F32).ok()?;
        let mut ids = Vec::new();
        let mut keep = |id| {
            ids.push(id);
            true
        };
        text.generate(&sampling, SAMPLE, 8, &mut keep).ok()?;
        Some(vocabulary.decode(&ids))
    }

    fn ended(
        &self,
        run: &mut KindRun<Self>,
        _: &[Packed],
        title: &str,
        log: &mut Log,
    ) -> Result<Vec<bool>, Failure> {
        // A run that was already finished stays unchanged.
        if run.folder.trains() {
            let trainer = &run.trainer;
            let params = trainer.network.params();
            let twin = digest::twin_of(&trainer.gpu, &self.shape(), params).map_err(failure)?;
            let picture = attention_png(title, &twin, &self.corpus.vocabulary, self.sentence());
            log.note("attention.png", run.folder.write("attention.png", &picture));
        }
        Ok(Vec::new())
    }

    fn print(&self, finished: &Finished<Self>) -> Result<(), Failure> {
        let summary = &finished.summary;
        let parameters = thousands(number(summary, "parameters") as usize);
        let bytes = thousands(number(summary, "bytes") as usize);
        say(match finished.layers.is_empty() {
            true => format!("{parameters} parameters in f32; the matrices have {bytes} B"),
            false => {
                let ternary = number(summary, "ternary_parameters");
                let zeros: usize = finished.layers.iter().map(|packed| packed.histogram()[1]).sum();
                format!(
                    "{parameters} parameters, {} of them ternary: {bytes} B packed, {:.1} % of them 0",
                    thousands(ternary as usize),
                    100.0 * zeros as f64 / ternary
                )
            }
        })?;
        let token = self.token();
        let [loss, perplexity, bits] =
            ["validation_loss", "perplexity", &format!("bits_per_{token}")].map(|key| number(summary, key));
        say(format!(
            "Validation loss {loss:.4} nats per {token}, perplexity {perplexity:.3}, {bits:.3} bits per {token}"
        ))
    }

    fn speed(summary: &Map<String, Value>) -> String {
        format!("{} tokens/s", thousands(number(summary, "tokens_per_second") as usize))
    }

    fn next(&self, folder: &Path) -> String {
        command(&[&"generate", &folder])
    }

    fn verdict(_: &Flags, _: &Map<String, Value>) -> Verdict {
        Verdict::Yes
    }

    fn score(&self, mean: &dyn Fn(&str) -> f64) -> Map<String, Value> {
        self.score_json(mean("validation_loss"))
    }

    fn columns(&self, mean: &dyn Fn(&str) -> f64) -> Vec<(&'static str, String)> {
        let score = Score { loss: mean("validation_loss"), accuracy: f64::NAN };
        let bits = if self.token() == "character" { "bits/character" } else { "bits/byte" };
        vec![
            ("val loss", format!("{:.4}", score.loss)),
            ("train loss", format!("{:.4}", mean("train_loss"))),
            ("perplexity", format!("{:.3}", score.perplexity())),
            (bits, format!("{:.3}", score.bits())),
            ("matrices", format!("{} B", thousands(mean("bytes") as usize))),
            ("tokens/s", thousands(mean("tokens_per_second") as usize)),
        ]
    }

    fn gap(first: &Finished<Self>, second: &Finished<Self>) -> Gap {
        let [first, second] = [first, second].map(|run| number(&run.summary, "validation_loss"));
        let (amount, told) = (first - second, "of one seed; --seeds 3 says how far seeds differ".into());
        Gap { amount, error: None, disagreements: None, each: vec![amount], told }
    }
}

/// The share of zeros in the matrices of each layer. It is empty for a float network.
fn zeros_by_layer(trits: &[Packed], layers: usize) -> Vec<f64> {
    let share = |layer: &[Packed]| {
        let zeros: usize = layer.iter().map(|packed| packed.histogram()[1]).sum();
        let weights: usize = layer.iter().map(|packed| packed.rows * packed.cols).sum();
        zeros as f64 / weights as f64
    };
    trits.chunks((trits.len() / layers).max(1)).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_have_a_layer_and_a_role() {
        let shape = TextConfig { layers: 2, ..TextConfig::default() }.shape(65);
        let matrices = matrices(&shape);
        assert_eq!(matrices.len(), 14);
        assert_eq!(matrices[0], (0, "q".into(), 128 * 128));
        assert_eq!(matrices[13], (1, "down".into(), 128 * 344));
        assert_eq!(matrices.iter().map(|matrix| matrix.2).sum::<usize>(), shape.weights());
    }
}
