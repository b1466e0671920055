//! `sterna page`: one HTML file that runs a network in a browser.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::arguments::whole;
use super::{DataFlags, Outcome, Verdict, failure, network, runs, shown};
use crate::model::AnyShape;
use crate::page::{self, Page};
use crate::report::thousands;
use crate::train::Config;

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, or a network of any format that Sterna reads. [default: the newest ternary run below runs/]
    #[arg(conflicts_with = "train")]
    model: Option<PathBuf>,
    /// Make a page that trains a network of digits itself, from the beginning.
    #[arg(long)]
    train: bool,
    /// Training images of that page. It also gets a fifth as many test images. [default: 10000]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(5, 1 << 24))]
    images: Option<usize>,
    /// Passes over these images. [default: 10]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, 1 << 16))]
    epochs: Option<usize>,
    /// The seed of that training. [default: 0]
    #[arg(long, value_name = "SEED", value_parser = whole::<u64>(0, u64::MAX))]
    seed: Option<u64>,
    /// The file to write. [default: digits.html, train.html or text.html]
    #[arg(short, long = "out", alias = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlags,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
The file holds everything: the shaders, the plan, the weights, the page. It opens from the disk and from any static \
server, and asks the network for nothing. The browser needs WebGPU: Chrome or Edge, Safari 26, Firefox on Windows and \
macOS. This command needs no GPU.

A network of digits reads what you draw. A language model of characters or bytes writes on from a prompt. With --train, \
the page trains a network on a part of the digits. Each page computes the digest of `sterna verify` when it opens, and \
shows both.

Examples:
  sterna page runs/NAME -o digits.html
  sterna page text.safetensors
  sterna page --train --images 5000 -o train.html";

pub fn run(flags: &Flags) -> Outcome {
    let (kind, file, page) = if flags.train {
        let output = flags.output("train.html");
        super::place(&output, flags.force)?;
        let data = flags.data.read()?;
        let data = page::part(&data, flags.images.unwrap_or(10_000)).map_err(failure)?;
        let (epochs, seed) = (flags.epochs.unwrap_or(10), flags.seed.unwrap_or(0));
        let config = Config { epochs, seed, ..Config::default() };
        let config = Config { batch: config.batch.min(data.train.len()), ..config };
        config.validate(&data).map_err(super::refused)?;
        ("train", output, page::training(&data, &config).map_err(failure)?)
    } else {
        let given = [flags.images.is_some(), flags.epochs.is_some(), flags.seed.is_some()];
        if let Some(at) = given.iter().position(|given| *given) {
            let flag = ["--images", "--epochs", "--seed"][at];
            return Err(failure(format!(
                "{flag} is about a page that trains: add --train, and name no network"
            )));
        }
        let model = runs::model_or_newest(flags.model.as_deref(), "with ternary weights", runs::ternary)?;
        let opened = network::open(&model)?;
        let unread = |what| network::unread(&model, what);
        let held = opened.model().map_err(unread)?;
        match &opened.shape {
            AnyShape::Mlp(shape) => {
                let output = flags.place("digits.html", &model)?;
                let data = flags.data.load_for(&opened.about)?;
                ("digits", output, page::digits(&held, shape, &data).map_err(unread)?)
            }
            AnyShape::Transformer(_) => {
                let output = flags.place("text.html", &model)?;
                let vocabulary = opened.vocabulary().map_err(unread)?;
                ("text", output, page::text(&held, &vocabulary).map_err(unread)?)
            }
        }
    };
    let Page { html, digest, contents } = page;
    super::write(&file, html.as_bytes(), flags.force)?;
    super::say(format!(
        "{}: {} B, of which tensors were {} B; open it in a browser",
        shown(&file),
        thousands(html.len()),
        thousands(contents)
    ))?;
    super::say(format!("Digest that it must show: {digest}"))?;
    if flags.json {
        let line = json!({"path": super::named(&file), "page": kind, "bytes": html.len(), "digest": digest});
        super::print_json("page", super::object(line))?;
    }
    Ok(Verdict::Yes)
}

impl Flags {
    fn output(&self, default: &str) -> PathBuf {
        self.output.clone().unwrap_or_else(|| default.into())
    }

    /// The file to write, which must not be the model.
    fn place(&self, default: &str, model: &Path) -> Result<PathBuf, super::Failure> {
        let output = self.output(default);
        super::place(&output, self.force)?;
        super::apart(model, &output)?;
        Ok(output)
    }
}
