//! `sterna eval`: score a trained network on a test set, or on a text.

mod text;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::arguments::some;
use super::{DataFlags, DeviceFlags, Outcome, Verdict, failure, shown};
use super::{network, runs};
use crate::digest;
use crate::model::{AnyShape, Mlp, Precision, logits};
use crate::report::confusion_table;
use crate::train::{Evaluator, classes};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, a packed file, or one of another format that holds a network. [default: the newest run below
    /// runs/ that was trained on this data set]
    model: Option<PathBuf>,
    /// Score a language model on this text. Without FILE, score it on the last tenth of the text that it was trained
    /// on, which is the validation split.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["data", "transposed"])]
    text: Option<Option<PathBuf>>,
    #[command(flatten)]
    data: DataFlags,
    /// Tokens between two windows of a model with a tokenizer, where windows overlap. [default: half of --context]
    #[arg(long, value_name = "N", value_parser = some, requires = "text")]
    stride: Option<usize>,
    #[command(flatten)]
    network: network::TextFlags,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const NOTES: &str = "\
The digest is the sha256 of every int8 code and every i32 accumulator of the forward pass over all test \
images. It depends on the model and the images alone: two machines that print the same one computed the \
same integers, whatever their drivers. Of a language model it is the digest that `sterna verify` explains.

A language model is scored by its loss in nats, perplexity = exp(loss), and bits = loss / ln 2. Each token but the first \
is predicted once, in windows as long as the context. A FILE is scored as a whole, unless the model was trained on that \
very text: then on its last tenth.

A language model with a tokenizer is scored in two ways, and a perplexity compares only with one of the same way. The \
windows of llama-perplexity follow each other, 512 tokens each, and the tokens of their second half count; the token that \
begins a text stands at the beginning of each. Strided windows overlap by half, and each token counts once, in the window \
where the most tokens stand before it. --context gives another length of both.

Examples:
  sterna eval                     the newest run on MNIST
  sterna eval runs/NAME --json
  sterna eval --text              the newest run on a text
  sterna eval runs/NAME --text other.txt
  sterna eval bitnet-b1.58-2B-4T --text wiki.test.raw";

pub fn run(flags: &Flags) -> Outcome {
    if let Some(file) = &flags.text {
        return text::run(flags, file.as_deref());
    }
    let data = flags.data.read()?;
    let what = format!("trained on {}", data.name);
    let model = runs::model_or_newest(flags.model.as_deref(), &what, runs::trained_on(&data))?;
    let network = network::open(&model)?;
    if matches!(network.shape, AnyShape::Transformer(_)) && flags.data.data.is_none() {
        return text::score(flags, &model, &network, None);
    }
    let data = flags.data.turned_for(data, &network.about);
    let shape = network::mlp(&network, &model)?;
    network::takes(shape, &model, &data)?;
    let gpu = flags.device.open()?;
    let mlp = Mlp::new(shape.clone(), network.params(&gpu).map_err(failure)?);
    let evaluator = Evaluator::new(&gpu, &mlp, &data.test).map_err(failure)?;
    let test = evaluator.score().map_err(failure)?;
    let logits = logits(&gpu, &mlp, &data.test.images).map_err(failure)?;
    let image = |i: usize| format!("{} test image {i}", data.name);
    network::finite(&model, image, logits.chunks_exact(data.classes))?;
    let confusion = super::confusion(&data, &classes(&logits, data.classes));
    let layers = mlp.params.packed(&gpu).map_err(failure)?;
    // A float network has no integers.
    let digest = match mlp.shape.precision {
        Precision::Ternary => Some(digest::network(&gpu, &mlp, &data.test.images).map_err(failure)?),
        Precision::F32 => None,
    };

    super::tell(format!("{} on {}", shown(&model), super::gpu_line(&gpu)));
    let its = &network.about["data"];
    if its["crc32"].is_u64() && its["crc32"] != json!(data.fingerprint()) {
        let name = its["name"].as_str().unwrap_or("another data set");
        super::warn(format!(
            "sterna: the network was trained on another set ({name}) than it is scored on here"
        ));
    }
    super::print_model(&mlp.shape, &layers, test)?;
    if let Some(digest) = &digest {
        super::say(format!(
            "Digest of all codes and accumulators: {digest}; the same on every machine and driver for these weights"
        ))?;
    }
    super::say("\nConfusion matrix: rows are the true classes, columns what the network said\n")?;
    super::say(confusion_table(&confusion).trim_end())?;
    if flags.json {
        // The file describes the training. The other numbers were measured now.
        let known =
            ["epochs", "batch", "steps", "seed", "train_seconds", "samples_per_second", "seconds_per_epoch"];
        let known = known.into_iter().chain(["train_accuracy"]);
        let mut out: serde_json::Map<String, Value> =
            known.map(|key| (key.to_string(), network.about["result"][key].clone())).collect();
        out.extend(super::device_json(&gpu));
        out.extend(super::model_json(&mlp.shape, &layers));
        out.extend(super::score_json(test));
        out.insert("checkpoint".into(), super::named(&model));
        out.insert("confusion".into(), json!(confusion));
        out.insert("digest".into(), json!(digest));
        super::print_json("eval", out)?;
    }
    Ok(Verdict::Yes)
}
