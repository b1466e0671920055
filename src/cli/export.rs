//! `sterna export`: write a network for other programs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Outcome, Verdict, failure, object, runs, shown};
use crate::report::{short, thousands};
use crate::store::{Exchange, Loss, WeightScale};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A network: a run's folder, a packed file, or any file that `sterna import` takes without flags. [default: the
    /// newest ternary run below runs/]
    model: Option<PathBuf>,
    /// The format to write.
    #[arg(long, value_name = "FORMAT")]
    to: Exchange,
    /// The file to write.
    #[arg(short, long = "out", alias = "output", value_name = "FILE")]
    output: PathBuf,
    /// What `weight_scale` is in an hf-bitnet file; `quantization_config.linear_class` in it says so. [default:
    /// multiply]
    #[arg(long, value_name = "HOW")]
    weight_scale: Option<WeightScale>,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Before the file is written, stderr says what readers of the format alone find changed: ggml's blocks keep a \
scale in f16. The exact scales, and all else that a format has no place for, travel in its metadata under \
sterna.model, from where `sterna import` takes them: the network comes back to the bit. Shadow weights and \
optimizer state of a checkpoint are no part of a network and stay behind.

Examples:
  sterna export runs/NAME --to gguf-tq2_0 -o model.gguf
  sterna export packed.safetensors --to hf-bitnet -o model.safetensors
  sterna export packed.safetensors --to npy -o model.npz
                                  numpy.load('model.npz')['layers.0.weight']";

pub fn run(flags: &Flags) -> Outcome {
    super::place(&flags.output, flags.force)?;
    if flags.weight_scale.is_some() && flags.to != Exchange::HfBitnet {
        let to = flags.to.name();
        return Err(failure(format!("--weight-scale is for --to hf-bitnet, {to} has none: leave it out")));
    }
    let file = runs::model_or_newest(flags.model.as_deref(), "with ternary weights", runs::ternary)?;
    super::apart(&file, &flags.output)?;
    let (model, mut lost, warnings) = super::deployed(&file)?;
    let written = model.to_exchange(flags.to, flags.weight_scale.unwrap_or(WeightScale::Multiply));
    let (bytes, changed) = written.map_err(|what| failure(format!("{}: {what}", shown(&file))))?;
    let keeper = format!("a reader of {} that does not know sterna.model", flags.to.name());
    tell_lost(&changed, &keeper);
    lost.extend(changed);
    super::write(&flags.output, &bytes, flags.force)?;
    let (path, size) = (shown(&flags.output), thousands(bytes.len()));
    super::say(format!("{path}: {size} bytes of {}, {} layers", flags.to.name(), model.matrices().count()))?;
    super::say_warnings(&warnings)?;
    if flags.json {
        let line = json!({"path": super::named(&flags.output), "bytes": bytes.len(), "format": flags.to.name(), "lost": lost,
            "warnings": warnings});
        super::print_json("export", object(line))?;
    }
    Ok(Verdict::Yes)
}

/// Prints the changes that `who` will find.
pub fn tell_lost(lost: &[Loss], who: &str) {
    for Loss { tensor, what, largest, mean } in lost {
        super::warn(format!(
            "{tensor}: {what}; {who} finds values changed by {} at most, {} on average",
            short(*largest),
            short(*mean)
        ));
    }
    if lost.is_empty() {
        super::tell("no value is changed");
    }
}
