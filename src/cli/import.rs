//! `sterna import`: a packed file from a file of another program.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Outcome, Verdict, export, object, runs, shown};
use crate::report::thousands;
use crate::store::{Coding, I2sLayout, Imported, MLP, Model, Reading, Source, WeightScale};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A file, or a folder with a model.safetensors: GGUF with I2_S, TQ2_0 or TQ1_0, BitNet safetensors, npy or npz, or
    /// floats in safetensors, npy or GGUF.
    file: PathBuf,
    /// The packed file to write.
    #[arg(short, long = "out", alias = "output", value_name = "FILE")]
    output: PathBuf,
    /// Layout of the trits: 2 bits each as in the kernels, or five per byte, which is a fifth smaller.
    #[arg(long = "to", alias = "format", value_name = "CODING", default_value = "2bit")]
    format: Coding,
    /// Meaning of `weight_scale` in BitNet safetensors. It overrides the file and the config.json in its folder.
    #[arg(long, value_name = "HOW")]
    weight_scale: Option<WeightScale>,
    /// The processor for which a GGUF file with I2_S was written. No file states it. [default: x86]
    #[arg(long, value_name = "PROCESSOR")]
    i2s: Option<I2sLayout>,
    /// The matrices to take, first layer first, by their names in the file.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tensors: Vec<String>,
    /// Quantise the values of ggml's blocks by absmean, as floats are: for matrices whose blocks differ in scale.
    #[arg(long)]
    absmean: bool,
    /// Read matrices as [inputs, outputs], the layout of Keras, JAX and Burn. Matrices called `kernel` are always
    /// read so.
    #[arg(long)]
    transposed: bool,
    /// Leave out biases, BatchNorm statistics and other tensors that have no place in a network here, although the
    /// result is another network.
    #[arg(long)]
    drop: bool,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Layers are all matrices of the file in the order of their names, 2 before 10, or those of --tensors; a file with a \
matrix that cannot be read is refused. Floats that are one number times -1, 0 and 1 are kept, and others are quantised \
by absmean. A gain is found as BASE.gain, BASE_norm.weight, \
BASE.rms_norm.weight or BASE.norm.weight, BASE being the matrix's name without .weight. Before anything is \
written, stderr says what was assumed, what is left out, and by how much weights change.

A language model of Hugging Face or in GGUF comes with its tokenizer, and no value is changed: its embedding is stored \
as f16 if that keeps every value, and as f32 otherwise.

Examples:
  sterna import model.gguf -o model.safetensors
  sterna import bitnet.safetensors --weight-scale divide -o out.safetensors
  sterna import llm.gguf --tensors blk.0.ffn_up.weight -o one.safetensors
  sterna import floats.npz --tensors fc1.weight,fc2.weight -o out.safetensors";

pub fn run(flags: &Flags) -> Outcome {
    super::place(&flags.output, flags.force)?;
    let reading = Reading {
        weight_scale: flags.weight_scale,
        tensors: flags.tensors.clone(),
        floats: true,
        absmean: flags.absmean,
        transposed: flags.transposed,
        i2s: flags.i2s,
        drop: flags.drop,
    };
    let file = runs::model(&flags.file)?;
    super::apart(&file, &flags.output)?;
    if reading.tensors.is_empty() {
        let source = Source::open(&file, &reading).map_err(super::unread)?;
        if export::has_tokenizer(&source) {
            super::tell_notes(&file, source.notes());
            return export::packed(
                &source,
                &flags.output,
                flags.format,
                None,
                flags.force,
                flags.json,
                "import",
            );
        }
    }
    let Imported { model, lost, notes, warnings } = Model::import(&file, &reading).map_err(super::unread)?;
    super::tell_notes(&file, &notes);
    export::tell_lost(&lost, "the packed file");
    let bytes = model.to_packed(flags.format);
    super::write(&flags.output, &bytes, flags.force)?;
    let (path, size) = (shown(&flags.output), thousands(bytes.len()));
    // Widths are those of a chain.
    let dims = (model.arch.network == MLP).then(|| model.dims());
    let joined = |dims: &Vec<usize>| dims.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
    let of = dims.as_ref().map_or_else(|| model.arch.network.clone(), joined);
    super::say(format!("{path}: {of}, {size} bytes packed in {}", flags.format.name()))?;
    super::say_warnings(&warnings)?;
    if flags.json {
        let line = json!({
            "path": super::named(&flags.output), "bytes": bytes.len(), "format": flags.format.name(), "dims": dims,
            "lost": lost, "notes": notes, "warnings": warnings,
        });
        super::print_json("import", object(line))?;
    }
    Ok(Verdict::Yes)
}
