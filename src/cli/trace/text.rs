//! `sterna trace` of a text: the last token through a language model.

use std::path::Path;

use serde_json::json;

use super::Flags;
use crate::cli::{Failure, Outcome, Verdict, failure, network, runs, shown};
use crate::digest;
use crate::generate::Generator;
use crate::kernels::KeyForm;
use crate::model::{AnyShape, Opened, Precision, TransformerShape, WeightSource};
use crate::report::Sentence;

/// Follows `text` through the language model of a file. The CPU twin reads one layer of a file at a time.
pub fn run(flags: &Flags, path: &Path, mut opened: Opened, text: Option<&str>) -> Outcome {
    let (shape, vocabulary) = network::text(&opened, path)?;
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        let example = crate::cli::command(&[&"trace", &path, &"ROMEO:"]);
        return Err(failure(format!(
            "{} holds a network of text: name the text that is followed through it, as in {example}",
            shown(path)
        )));
    };
    let unused = [("--index", flags.index.is_some()), ("--data", flags.data.folder().is_some())];
    if let Some((flag, _)) = unused.iter().find(|(_, given)| *given) {
        return Err(failure(format!("{flag} is about images, but a text is traced: leave it out")));
    }
    let ids = vocabulary.encode(text).map_err(|error| failure(format!("the text: {error}")))?;
    if ids.len() > shape.context {
        return Err(failure(format!(
            "the text has {} {}, but {} was trained with a context of {}: give a shorter one",
            ids.len(),
            vocabulary.unit(),
            shown(path),
            shape.context
        )));
    }
    let layer = flags.layer.unwrap_or(0);
    if layer >= shape.layers {
        return Err(failure(format!("--layer {layer}: the network has layers 0 to {}", shape.layers - 1)));
    }
    if let Some(&neuron) = flags.neuron.iter().find(|&&neuron| neuron >= shape.width) {
        return Err(failure(format!("--neuron {neuron}: the queries have rows 0 to {}", shape.width - 1)));
    }
    if flags.neuron.len() > 1 {
        return Err(failure(format!(
            "--neuron names {} neurons, but one row of the queries is shown: name one",
            flags.neuron.len()
        )));
    }
    if let Some(png) = &flags.png {
        crate::cli::place(png, flags.force)?;
    }

    let gpu = flags.device.open()?;
    // The cache needs no more room than the text.
    let shape = TransformerShape { context: ids.len(), ..shape.clone() };
    opened.shape = AnyShape::Transformer(shape.clone());
    let device = opened.transformer(&gpu, network::embedding(&shape)).map_err(failure)?;
    let logits = Generator::new(&gpu, &device, &ids, KeyForm::F32).and_then(|mut text| text.logits());
    let logits = logits.map_err(failure)?;
    let (title, neuron) = (title(path, &opened), flags.neuron.first().copied());
    let read = |source: &dyn WeightSource| {
        let twin = digest::Twin::new(&shape, source);
        Sentence::of(title.clone(), &twin, &vocabulary, &ids, layer, neuron).map_err(crate::cli::unread)
    };
    let sentence = match (opened.source(), shape.precision) {
        (Some(source), _) => read(source)?,
        (None, Precision::Ternary) => read(&network::model(&opened, path)?)?,
        (None, Precision::F32) => {
            let twin = digest::twin_of(&gpu, &shape, &device.params).map_err(failure)?;
            let Ok(sentence) = Sentence::of(title.clone(), &twin, &vocabulary, &ids, layer, neuron);
            sentence
        }
    };
    let pairs = || logits.iter().zip(&sentence.logits);
    if let Some((id, (device, twin))) = pairs().enumerate().find(|(_, (a, b))| !(*a - *b).is_finite()) {
        return Err(failure(format!(
            "{}: the logit of token {id} is {device} on the device and {twin} in the CPU twin, expected numbers: a scale or \
             a gain is too large",
            shown(path)
        )));
    }
    let apart = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    crate::cli::tell(format!("{} in the CPU twin and on {}", shown(path), crate::cli::gpu_line(&gpu)));
    if let Some(png) = &flags.png {
        crate::cli::write(png, &sentence.png(), flags.force)?;
    }
    if flags.json {
        let mut line = crate::cli::device_json(&gpu);
        line.insert("model".into(), crate::cli::named(path));
        line.insert("text".into(), json!(text));
        line.extend(crate::cli::object(sentence.json()));
        line.insert("logits_apart".into(), json!(apart));
        line.insert("picture".into(), json!(flags.png.as_deref().map(crate::cli::named)));
        crate::cli::print_json("trace", line)?;
    } else {
        crate::cli::say(format!(
            "{}\n{}",
            sentence.text(flags.terms),
            verdict(shape.precision, apart, path)
        ))?;
        if let Some(png) = &flags.png {
            crate::cli::say(format!("Picture: {}", shown(png)))?;
        }
    }
    Ok(Verdict::Yes)
}

/// The text of the run, for a title.
fn title(path: &Path, opened: &Opened) -> String {
    match opened.about["data"]["name"].as_str() {
        Some(name) => format!("a text in the network that learned {name}"),
        None => format!("a text in {}", shown(path)),
    }
}

/// How far apart the logits of the device and of the twin are, and what compares the integers.
fn verdict(precision: Precision, apart: f32, path: &Path) -> String {
    let near = if apart == 0.0 { "to the bit".into() } else { format!("within {apart:.1e}") };
    let more = match precision {
        Precision::Ternary => {
            format!("; every integer is compared by\n{}", crate::cli::command(&[&"verify", &path]))
        }
        Precision::F32 => ", for floats are rounded".into(),
    };
    format!("The logits of the device agree with the CPU twin's {near}{more}")
}

/// The words for a network that the text needs.
pub fn newest() -> Result<std::path::PathBuf, Failure> {
    runs::model_or_newest(None, runs::TEXT, crate::train::Found::is_text)
}
