//! `sterna eval --text`: score a language model on a text.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::Flags;
use crate::cli::{
    Failure, Outcome, Verdict, data_path, device_json, failure, gpu_line, named, network, object, runs,
};
use crate::cli::{print_json, say, shown, tell};
use crate::digest::Fixed;
use crate::kernels::KeyForm;
use crate::model::{Opened, Precision};
use crate::report::thousands;
use crate::store::FileError;
use crate::text::{Corpus, Vocabulary};
use crate::train::{Evaluator, Found, MODEL, Text, TextLoss, Windows, text_loss};

/// The text for a score.
struct Scored {
    ids: Vec<u32>,
    /// The name of the text.
    text: String,
    /// Whether the ids are the validation split, not the whole text.
    validation: bool,
}

pub fn run(flags: &Flags, file: Option<&Path>) -> Outcome {
    // The value after --text is a text. If no model is named, it may be a model.
    let (model, file) = match (flags.model.as_deref(), file) {
        (None, Some(path)) if path.join(MODEL).exists() || runs::ends_like_a_network(path) => {
            (Some(path), None)
        }
        named => named,
    };
    let model = runs::model_or_newest(model, runs::TEXT, Found::is_text)?;
    score(flags, &model, &network::open(&model)?, file)
}

/// Scores a network on a file, or on the validation split of the text on which it was trained.
pub fn score(flags: &Flags, model: &Path, opened: &Opened, file: Option<&Path>) -> Outcome {
    let (shape, vocabulary) = network::text(opened, model)?;
    if vocabulary.unit() == "tokens" {
        return in_windows(flags, model, file);
    }
    let Scored { ids, text, validation } = scored(model, &opened.about, &vocabulary, file)?;
    let (context, unit) = (shape.context, vocabulary.unit());
    if ids.len() <= context {
        return Err(failure(format!(
            "{text} has {} {unit}, but a context of {context} and the token after it take {}: give a longer text",
            ids.len(),
            context + 1
        )));
    }
    let gpu = flags.device.open()?;
    let network = opened.upload(&gpu).map_err(failure)?;
    let source = Text::whole(&gpu, &ids, context).map_err(failure)?;
    let evaluator = Evaluator::on(&gpu, &*network, &source).map_err(failure)?;
    let start = Instant::now();
    let score = evaluator.score().map_err(failure)?;
    let rate = (ids.len() - 1) as f64 / start.elapsed().as_secs_f64();
    if !score.loss.is_finite() {
        return Err(failure(format!(
            "{}: its loss is {}, expected a number: a scale or a gain is too large",
            shown(model),
            score.loss
        )));
    }
    // A float network has no integers.
    let digest = match shape.precision {
        Precision::Ternary => {
            let fixed = Fixed::of(&network::model(opened, model)?);
            let fixed = fixed.map_err(|what| network::unread(model, what))?;
            Some(fixed.hex(&fixed.on(&gpu, &*network).map_err(failure)?))
        }
        Precision::F32 => None,
    };

    tell(format!("{} on {}", shown(model), gpu_line(&gpu)));
    let one = unit.trim_end_matches('s');
    let part = if validation { ", its last tenth, which validates" } else { "" };
    say(format!("Text: {text}{part}: {} {unit}", thousands(ids.len())))?;
    say(format!(
        "Loss {:.4} nats, perplexity {:.3}, {:.4} bits a {one}; {:.1} % of the {unit} guessed right",
        score.loss,
        score.perplexity(),
        score.bits(),
        100.0 * score.accuracy
    ))?;
    say(format!("{} tokens a second", thousands(rate as usize)))?;
    if let Some(digest) = &digest {
        say(format!(
            "Digest of all codes and accumulators: {digest}; the same on every machine and driver for these weights"
        ))?;
    }
    if flags.json {
        let mut out = device_json(&gpu);
        out.extend(object(json!({
            "precision": shape.precision, "text": text, "split": if validation { "validation" } else { "whole" },
            "tokens": ids.len() - 1, "unit": one, "loss": score.loss,
            "validation_loss": validation.then_some(score.loss), "perplexity": score.perplexity(),
            "accuracy": score.accuracy, "tokens_per_second": rate,
            "digest": digest, "checkpoint": named(model),
        })));
        out.insert(format!("bits_per_{one}"), json!(score.bits()));
        print_json("eval", out)?;
    }
    Ok(Verdict::Yes)
}

/// Length of a window of llama-perplexity.
const WINDOW: usize = 512;

/// Scores a network with a tokenizer on a file, in windows.
fn in_windows(flags: &Flags, model: &Path, file: Option<&Path>) -> Outcome {
    let Some(file) = file else {
        return Err(failure(format!(
            "{} does not say on what it was trained: name a text by --text FILE",
            shown(model)
        )));
    };
    let (opened, shape, vocabulary) = flags.network.open(model, WINDOW)?;
    let text =
        std::fs::read(file).map_err(|reason| failure(FileError::Read { path: file.into(), reason }))?;
    let text = String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        failure(format!("{}: is not UTF-8 at byte {at}, but the tokenizer reads text", shown(file)))
    })?;
    let ids = vocabulary.encode(&text).map_err(|error| failure(format!("{}: {error}", shown(file))))?;
    let ids: Vec<u32> = vocabulary.bos().into_iter().chain(ids).collect();
    let context = shape.context.min(ids.len());
    if context < 4 {
        return Err(failure(format!(
            "{}: {} tokens are no text to score: give a longer one",
            shown(file),
            ids.len()
        )));
    }
    let stride = flags.stride.unwrap_or(context / 2);
    if stride >= context {
        return Err(failure(format!(
            "--stride {stride}: windows of {context} tokens overlap below {context}"
        )));
    }
    let gpu = flags.device.open()?;
    let network = flags.network.upload(&gpu, &opened, &shape)?;
    tell(format!("{} on {}", shown(model), gpu_line(&gpu)));
    say(format!("Text: {}: {} tokens", shown(file), thousands(ids.len())))?;
    let start = Instant::now();
    let keys = flags.network.keys(KeyForm::F32);
    let score = |windows| {
        let mut last = Instant::now();
        let mut progress = |loss: &TextLoss, all: usize| {
            if last.elapsed().as_secs() >= 5 && loss.count < all {
                last = Instant::now();
                tell(format!(
                    "{} of {} tokens, perplexity {:.4}",
                    thousands(loss.count),
                    thousands(all),
                    loss.perplexity()
                ));
            }
        };
        let loss = text_loss(&gpu, &network, &ids, context, windows, keys, &mut progress).map_err(failure)?;
        match loss.sum.is_finite() {
            true => Ok(loss),
            false => Err(failure(format!("{}: its loss is {}, expected a number", shown(model), loss.sum))),
        }
    };
    let halves = score(Windows::Halves { bos: vocabulary.bos() })?;
    let strided = score(Windows::Strided { stride })?;
    let rate = (ids.len() / context * context + ids.len()) as f64 / start.elapsed().as_secs_f64();
    let told = |loss: &TextLoss| {
        let nats = loss.sum / loss.count as f64;
        format!(
            "perplexity {:.4}, loss {nats:.4} nats over {} tokens",
            loss.perplexity(),
            thousands(loss.count)
        )
    };
    say(format!("Windows of llama-perplexity, {context} tokens, second half: {}", told(&halves)))?;
    say(format!("Strided windows, {context} tokens, {stride} apart: {}", told(&strided)))?;
    say(format!("{} tokens a second", thousands(rate as usize)))?;
    if flags.json {
        let mut out = device_json(&gpu);
        let of = |loss: &TextLoss| json!({"perplexity": loss.perplexity(), "loss": loss.sum / loss.count as f64, "tokens": loss.count});
        out.extend(object(json!({
            "precision": shape.precision, "text": named(file), "unit": "token", "tokens": ids.len(), "context": context,
            "perplexity": halves.perplexity(), "loss": halves.sum / halves.count as f64, "halves": of(&halves),
            "strided": of(&strided), "stride": stride, "embedding": flags.network.form(&shape).name(),
            "tokens_per_second": rate, "checkpoint": named(model),
        })));
        print_json("eval", out)?;
    }
    Ok(Verdict::Yes)
}

/// Loads a file, or the text on which the network was trained.
fn scored(
    model: &Path,
    about: &Value,
    vocabulary: &Vocabulary,
    file: Option<&Path>,
) -> Result<Scored, Failure> {
    let its = &about["data"];
    let corpus = match file.map(Path::to_path_buf).or(data_path(about, "path")) {
        Some(path) => Corpus::load(&path).map_err(failure)?,
        None => Corpus::embedded(),
    };
    let name = corpus.name.clone();
    if its["crc32"] == json!(corpus.fingerprint()) {
        return Ok(Scored { ids: corpus.validation, text: name, validation: true });
    }
    if file.is_none() {
        let trained = its["name"].as_str().unwrap_or("a text that its file does not name");
        return Err(failure(format!(
            "{} was trained on {trained}, which is not at hand as it was: name a text by --text FILE",
            shown(model)
        )));
    }
    let ids: Vec<u32> = corpus.train.iter().chain(&corpus.validation).copied().collect();
    let bytes = corpus.vocabulary.decode_bytes(&ids);
    let ids = match (vocabulary.characters(), std::str::from_utf8(&bytes)) {
        (None, _) => bytes.iter().map(|&byte| byte.into()).collect(),
        (Some(_), Ok(text)) => {
            vocabulary.encode(text).map_err(|error| failure(format!("{name}: {error}")))?
        }
        (Some(_), Err(error)) => {
            return Err(failure(format!(
                "{name}: is not UTF-8 at byte {}, but the network knows characters",
                error.valid_up_to()
            )));
        }
    };
    Ok(Scored { ids, text: name, validation: false })
}
