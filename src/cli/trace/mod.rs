//! `sterna trace`: the values of one test image in a network, layer by layer, computed by the CPU twin. It also
//! checks that the device computes the same. `text` does it for a text in a language model.

mod text;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::arguments::count;
use super::{DataFlags, DeviceFlags, Outcome, Verdict, failure, network, runs, shown};

use crate::digest;
use crate::model::{AnyShape, Mlp, Precision, logits};
use crate::report::Walk;

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, or a file with a network, also in floats. If the first word names neither, it is a text for the
    /// newest language model. [default: the newest run below runs/]
    run: Option<OsString>,
    /// The text that is followed through a language model.
    text: Option<String>,
    /// The test image, counted from 0. [default: 0]
    #[arg(long, value_name = "N", value_parser = count)]
    index: Option<usize>,
    /// The layer of a language model that is shown. [default: 0]
    #[arg(long, value_name = "N", value_parser = count)]
    layer: Option<usize>,
    /// The neurons whose rows are shown, first layer first; of a language model one row of the queries. [default: those
    /// with the largest sums]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = count)]
    neuron: Vec<usize>,
    /// Show so many terms of each neuron's sum.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = count)]
    terms: usize,
    /// Draw the image with the weights of the first neuron on it, and the sums of every layer; of a text the attention
    /// in every layer and head.
    #[arg(short = 'o', long = "out", alias = "png", value_name = "FILE")]
    png: Option<PathBuf>,
    /// Replace the picture if it exists.
    #[arg(long, requires = "png")]
    force: bool,
    #[command(flatten)]
    data: DataFlags,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const NOTES: &str = "\
The CPU twin computes it, in plain additions. The device computes it too: the integers of a ternary network must be the \
same, or the exit code is 1. Of a text the logits are compared, and `sterna verify` compares the integers. Without --data the images come from the set that the run was trained on, where it says \
which.

Examples:
  sterna trace runs/NAME --index 3
  sterna trace runs/NAME --index 3 --neuron 17,4 --terms 100
  sterna trace digits.safetensors --index 3 -o trace.png --json
  sterna trace \"To be, or not to b\" -o attention.png   in the newest run of text
  sterna trace runs/NAME \"ROMEO:\" --layer 2";

pub fn run(flags: &Flags) -> Outcome {
    let (named, text) = runs::model_and_text(flags.run.as_deref(), flags.text.as_deref())?;
    let path = match (named, text) {
        (None, Some(_)) => text::newest()?,
        _ => runs::model_or_newest(named, "with a whole epoch", |run| {
            flags.index.is_none() || !run.dims().is_empty()
        })?,
    };
    let network = network::open(&path)?;
    if text.is_some() || matches!(network.shape, AnyShape::Transformer(_)) {
        return text::run(flags, &path, network, text);
    }
    if flags.layer.is_some() {
        return Err(failure(
            "--layer is about language models: an image is shown in every layer, so leave it out",
        ));
    }
    let index = flags.index.unwrap_or(0);
    let shape = network::mlp(&network, &path)?;
    let known = super::data_path(&network.about, "folder");
    let data = DataFlags { data: flags.data.folder().or(known), ..flags.data }.load_for(&network.about)?;
    network::takes(shape, &path, &data)?;
    let (image, label) = network::test_image(&data, index)?;
    let dims = &shape.dims;
    for (layer, &neuron) in flags.neuron.iter().enumerate() {
        match dims.get(layer + 1) {
            None => {
                let count = dims.len() - 1;
                return Err(failure(format!(
                    "--neuron names {} neurons, but there are {count} layers",
                    flags.neuron.len()
                )));
            }
            Some(rows) if neuron >= *rows => {
                return Err(failure(format!(
                    "--neuron {neuron}: layer {layer} has neurons 0 to {}",
                    rows - 1
                )));
            }
            Some(_) => {}
        }
    }
    if let Some(png) = &flags.png {
        super::place(png, flags.force)?;
    }
    let gpu = flags.device.open()?;
    let mlp = Mlp::new(shape.clone(), network.params(&gpu).map_err(failure)?);
    let device = logits(&gpu, &mlp, image).map_err(failure)?;
    let name = format!("{} test image {}", data.name, index);
    network::finite(&path, |_| name.clone(), std::iter::once(&device[..]))?;

    let (eps, chosen) = (shape.eps, &flags.neuron[..]);
    let (walk, difference) = match shape.precision {
        Precision::Ternary => {
            let (packed, gains) = network::model(&network, &path)?.parts();
            let twin = digest::twin_integers(&packed, &gains, image);
            let found = digest::integers(&gpu, &mlp, image).map_err(failure)?;
            let difference = digest::first_difference(&found, &twin, 1);
            (Walk::ternary(&packed, &gains, eps, chosen, image), difference)
        }
        Precision::F32 => {
            let values = mlp.params.download(&gpu).map_err(failure)?;
            let [weights, gains] =
                [0, 1].map(|i| values.iter().skip(i).step_by(2).cloned().collect::<Vec<_>>());
            (Walk::float(&weights, &gains, eps, chosen, image), None)
        }
    };
    let walk = walk.labelled(name, [data.height, data.width], usize::from(label));
    super::tell(format!("{} in the CPU twin and on {}", shown(&path), super::gpu_line(&gpu)));
    let apart = walk.logits.iter().zip(&device).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let integers = dims.iter().sum::<usize>() + dims[1..dims.len() - 1].iter().sum::<usize>();
    let near = if apart == 0.0 { "to the bit".into() } else { format!("within {apart:.1e}") };
    let verdict = match (shape.precision, &difference) {
        (Precision::F32, _) => {
            format!("The device computes the same logits {near}, for floats are rounded")
        }
        (_, None) => {
            format!("The device computes the same {integers} integers; its logits agree {near}")
        }
        (_, Some(difference)) => {
            format!("Not equal: the device and the CPU twin differ first in {difference}")
        }
    };
    if let Some(png) = &flags.png {
        super::write(png, &walk.png(), flags.force)?;
    }
    if flags.json {
        let mut line = super::device_json(&gpu);
        line.insert("model".into(), super::named(&path));
        line.insert("index".into(), json!(index));
        line.extend(super::object(walk.json()));
        line.insert("first_difference".into(), json!(difference));
        line.insert("logits_apart".into(), json!(apart));
        line.insert("picture".into(), json!(flags.png.as_deref().map(super::named)));
        super::print_json("trace", line)?;
    } else {
        super::say(format!("{}\n{verdict}", walk.text(flags.terms)))?;
        if let Some(png) = &flags.png {
            super::say(format!("Picture: {}", shown(png)))?;
        }
    }
    Ok(if difference.is_none() { Verdict::Yes } else { Verdict::No })
}
