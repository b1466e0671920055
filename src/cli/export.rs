//! `sterna export`: write a network for other programs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Failure, Outcome, Verdict, failure, object, runs, shown};
use crate::model::TRANSFORMER;
use crate::parameter::{Parameter, Role};
use crate::report::{short, thousands};
use crate::store::{Coding, Exchange, Floats, I2sLayout, Loss, Reading, Source, Target, WeightScale};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A network: a run's folder, a packed file, or any file that `sterna import` takes without flags. [default: the
    /// newest ternary run below runs/]
    model: Option<PathBuf>,
    /// The format to write.
    #[arg(long, value_name = "FORMAT")]
    to: Exchange,
    /// The file to write. A language model as hf-bitnet is a folder.
    #[arg(short, long = "out", alias = "output", value_name = "FILE")]
    output: PathBuf,
    /// What `weight_scale` is in an hf-bitnet file; `quantization_config.linear_class` in it says so. [default:
    /// multiply]
    #[arg(long, value_name = "HOW")]
    weight_scale: Option<WeightScale>,
    /// The processor for which a gguf-i2_s file is written. [default: x86]
    #[arg(long, value_name = "PROCESSOR")]
    i2s: Option<I2sLayout>,
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

A language model with a tokenizer is written as the programs of its kind read it: hf-bitnet is a folder with config.json, \
model.safetensors and tokenizer.json, GGUF has the architecture bitnet-b1.58, or bitnet with ggml's blocks. Its matrices \
are written one after another, so the memory needs to hold only one.

Examples:
  sterna export runs/NAME --to gguf-tq2_0 -o model.gguf
  sterna export packed.safetensors --to hf-bitnet -o model.safetensors
  sterna export packed.safetensors --to npy -o model.npz
                                  numpy.load('model.npz')['layers.0.weight']
  sterna export bitnet-b1.58-2B-4T --to gguf-i2_s -o bitnet.gguf";

pub fn run(flags: &Flags) -> Outcome {
    super::place(&flags.output, flags.force)?;
    if flags.i2s.is_some() && flags.to != Exchange::GgufI2S {
        let to = flags.to.name();
        return Err(failure(format!("--i2s is for --to gguf-i2_s, {to} has one layout: leave it out")));
    }
    if flags.weight_scale.is_some() && flags.to != Exchange::HfBitnet {
        let to = flags.to.name();
        return Err(failure(format!("--weight-scale is for --to hf-bitnet, {to} has none: leave it out")));
    }
    let file = runs::model_or_newest(flags.model.as_deref(), "with ternary weights", runs::ternary)?;
    super::apart(&file, &flags.output)?;
    if let Some(source) = language_model(&file, flags.to)? {
        let form = Target::of(
            flags.to,
            flags.weight_scale.unwrap_or(WeightScale::Multiply),
            flags.i2s.unwrap_or_default(),
        );
        let form = form.expect("language models have these formats");
        return write(&source, &flags.output, form, flags.to, flags.force, flags.json);
    }
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

/// Whether a file holds a language model with a tokenizer, which is written matrix by matrix. A vocabulary of characters
/// stands in the header instead.
pub fn has_tokenizer(source: &Source) -> bool {
    source.arch().network == TRANSFORMER && !source.arch().settings.contains_key("tokens")
}

/// The language model in `file`, if other programs run it from this format. A model with a vocabulary of characters is
/// written as any other network, because those programs have no place for its vocabulary.
fn language_model(file: &Path, to: Exchange) -> Result<Option<Source>, Failure> {
    let source = Source::open(file, &Reading::default()).map_err(super::unread)?;
    match (has_tokenizer(&source), to) {
        (false, Exchange::GgufI2S) => Err(failure(format!(
            "{}: gguf-i2_s is for language models with a tokenizer: take gguf-tq2_0",
            shown(file)
        ))),
        (false, _) | (_, Exchange::Npy) => Ok(None),
        _ => Ok(Some(source)),
    }
}

/// Writes a language model matrix by matrix.
fn write(source: &Source, to: &Path, form: Target, name: Exchange, force: bool, json: bool) -> Outcome {
    let export = source.export(form).map_err(failure)?;
    super::tell_notes(to, &export.notes);
    tell_lost(&export.lost, &format!("a reader of {} that does not know sterna.model", name.name()));
    export.write(to, force).map_err(failure)?;
    let bytes = written_bytes(to);
    let matrices = source.parameters().iter().filter(|parameter| parameter.role == Role::Ternary).count();
    super::say(format!("{}: {} bytes of {}, {matrices} matrices", shown(to), thousands(bytes), name.name()))?;
    if json {
        let line = json!({"path": super::named(to), "bytes": bytes, "format": name.name(), "lost": export.lost,
            "notes": export.notes, "warnings": []});
        super::print_json("export", object(line))?;
    }
    Ok(Verdict::Yes)
}

/// Writes a language model into a packed file, matrix by matrix. Without `embedding`, the embedding has the smaller form
/// that keeps all its values.
pub fn packed(
    source: &Source,
    to: &Path,
    coding: Coding,
    embedding: Option<Floats>,
    force: bool,
    json: bool,
    command: &str,
) -> Outcome {
    let form = |floats| source.export(Target::Packed(coding, floats)).map_err(failure);
    let exact = || match form(Floats::F16) {
        Ok(export) if export.lost.is_empty() => Ok((Floats::F16, export)),
        _ => Ok((Floats::F32, form(Floats::F32)?)),
    };
    let (embedding, export) = embedding.map_or_else(exact, |floats| Ok((floats, form(floats)?)))?;
    tell_lost(&export.lost, "the packed file");
    export.write(to, force).map_err(failure)?;
    let bytes = written_bytes(to);
    super::say(format!(
        "{}: {} B, {} weights as {}, the embedding as {}",
        shown(to),
        thousands(bytes),
        thousands(
            source.parameters().iter().filter(|of| of.role == Role::Ternary).map(Parameter::count).sum()
        ),
        coding.name(),
        embedding.name()
    ))?;
    if json {
        let line = json!({"path": super::named(to), "bytes": bytes, "format": coding.name(), "embedding": embedding.name(),
            "lost": export.lost, "notes": source.notes(), "warnings": []});
        super::print_json(command, object(line))?;
    }
    Ok(Verdict::Yes)
}

/// The size of a file, or of the files in a folder.
fn written_bytes(path: &Path) -> usize {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |about| about.len() as usize);
    match std::fs::read_dir(path) {
        Ok(files) => files.flatten().map(|file| size(&file.path())).sum(),
        Err(_) => size(path),
    }
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
