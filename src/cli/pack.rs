//! `sterna pack`: the file that is deployed.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Outcome, Verdict, export, network, runs, shown};
use crate::parameter::Role;
use crate::report::thousands;
use crate::store::{Coding, Floats, Reading, Source};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A trained network: a run's folder, or any file that `sterna eval` reads. [default: the newest ternary run below
    /// runs/]
    model: Option<PathBuf>,
    /// The file to write.
    #[arg(short, long = "out", alias = "output", value_name = "FILE")]
    output: PathBuf,
    /// Layout of the trits: 2 bits each as in the kernels, or five per byte, which is a fifth smaller.
    #[arg(long = "to", alias = "format", value_name = "CODING", default_value = "2bit")]
    format: Coding,
    /// How the embedding of a language model lies in it: in 16 bits, in 8 with a scale for each row, or as it is.
    #[arg(long, value_name = "FORMAT", default_value = "f16")]
    embedding: Floats,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
The packed file holds trits, scales, gains and what made it. It computes the same integers and the same logits, to \
the bit, as what it was packed from; it cannot be trained on, so keep the checkpoint. Only the embedding of a language \
model is rounded, unless --embedding f32 keeps it; what that changes, stderr says.

Examples:
  sterna pack runs/NAME -o digits.safetensors
  sterna pack digits.safetensors -o small.safetensors --to base3
  sterna pack runs/NAME -o text.safetensors --embedding int8
  sterna verify small.safetensors --against runs/NAME";

pub fn run(flags: &Flags) -> Outcome {
    super::place(&flags.output, flags.force)?;
    let file = runs::model_or_newest(flags.model.as_deref(), "with ternary weights", runs::ternary)?;
    super::apart(&file, &flags.output)?;
    let source = Source::open(&file, &Reading::default()).map_err(super::unread)?;
    if export::has_tokenizer(&source) {
        return export::packed(
            &source,
            &flags.output,
            flags.format,
            Some(flags.embedding),
            flags.force,
            flags.json,
            "pack",
        );
    }
    let (model, mut lost, warnings) = super::deployed(&file)?;
    let (_, rounded) = model.rounded(flags.embedding).map_err(|what| network::unread(&file, what))?;
    if !rounded.is_empty() {
        export::tell_lost(&rounded, "the packed file");
    }
    lost.extend(rounded);
    let bytes = model.to_packed_as(flags.format, flags.embedding);
    super::write(&flags.output, &bytes, flags.force)?;

    let weights: usize = model.matrices().map(|packed| packed.rows * packed.cols).sum();
    let path = shown(&flags.output);
    super::say(format!(
        "{path}: {} B, {} weights as {}; as f32 the weights alone are {} B",
        thousands(bytes.len()),
        thousands(weights),
        flags.format.name(),
        thousands(4 * weights),
    ))?;
    super::say_warnings(&warnings)?;
    let against = super::command(&[&"verify", &flags.output, &"--against", &file]);
    super::say(format!("Next: {against}"))?;
    if flags.json {
        let embedded = model.parameters.iter().any(|weights| weights.parameter.role == Role::Float);
        let embedding = embedded.then(|| flags.embedding.name());
        let line = json!({"path": super::named(&flags.output), "bytes": bytes.len(), "format": flags.format.name(),
            "embedding": embedding, "lost": lost, "warnings": warnings});
        super::print_json("pack", super::object(line))?;
    }
    Ok(Verdict::Yes)
}
