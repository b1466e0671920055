//! `sterna verify`: a network on the device against its CPU twin, and against another file, bit for bit.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{DeviceFlags, Failure, Outcome, Verdict, failure, shown};
use super::{network, runs};
use crate::digest::{self, Digest, Integers};
use crate::model::logits;
use crate::report::{columns, thousands};
use crate::store::{Difference, Model};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, a packed file, or one of another format that holds a network. [default: the newest ternary run
    /// below runs/]
    file: Option<PathBuf>,
    /// Another file that must hold the same network.
    #[arg(long, value_name = "OTHER")]
    against: Option<PathBuf>,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const NOTES: &str = "\
The network runs over 64 fixed images on the device and in the CPU twin, and every int8 code and every i32 \
accumulator of every layer is compared; of a checkpoint also the trits and scales that the device makes of its \
float weights. The digest is their sha256: it is the same on every machine and every \
driver. With --against, trits, scales, gains and eps of both files are compared as well, for scales and eps \
leave no mark in integers. A network with a logit that is no number is refused.

Exit code 1 if anything differs; the first difference is named.

Examples:
  sterna verify digits.safetensors
  sterna verify digits.safetensors --against runs/NAME";

pub fn run(flags: &Flags) -> Outcome {
    let file = runs::model_or_newest(flags.file.as_deref(), "with ternary weights", runs::ternary)?;
    let opened = network::open(&file)?;
    let model = network::model(&opened, &file)?;
    let against = flags.against.as_deref().map(runs::model).transpose()?;
    let other = against.as_deref().map(open).transpose()?;
    let gpu = flags.device.open()?;
    let network = opened.upload(&gpu).map_err(failure)?;

    super::tell(format!("{} on {} and in the CPU twin", shown(&file), super::gpu_line(&gpu)));
    let device = digest::fixed(&gpu, &*network, &opened.shape).map_err(failure)?;
    let twin = digest::fixed_twin(&model).map_err(|what| network::unread(&file, what))?;
    // Integers do not show a scale that makes logits infinite or NaN.
    let inputs = digest::fixed_inputs(&opened.shape);
    let floats = logits(&gpu, &*network, &inputs).map_err(failure)?;
    let items = inputs.len() / network.inputs();
    let rows = items * network.rows();
    network::finite(&file, |i| format!("fixed input {i}"), floats.chunks_exact(floats.len() / rows))?;
    // The weights that the device holds now. For a checkpoint the device has quantised them itself.
    let mut held = model.clone();
    let trits = network.params().packed(&gpu).map_err(failure)?;
    held.matrices_mut().zip(trits).for_each(|(held, packed)| *held = packed);

    let here = [("the device".into(), "the CPU".into()), ("the device".into(), "the CPU twin".into())];
    let mut found: Vec<(Difference, (String, String))> =
        [held.first_difference(&model), digest::first_difference(&device, &twin, rows)]
            .into_iter()
            .zip(here)
            .filter_map(|(difference, between)| Some((difference?, between)))
            .collect();
    if let Some((path, other)) = &other {
        let between = (shown(&file), shown(path));
        found.extend(model.first_difference(other).map(|difference| (difference, between)));
    }

    super::say(table(&device, rows, found.first().map(|(difference, _)| difference)))?;
    let digest = hex(&device, items);
    super::say(format!("Digest over {items} fixed inputs: {digest}"))?;
    let digest_against = match &other {
        Some((path, other)) => {
            Some(hex(&digest::fixed_twin(other).map_err(|what| network::unread(path, what))?, items))
        }
        None => None,
    };
    if let (Some((path, _)), Some(digest)) = (&other, &digest_against) {
        super::say(format!("Digest of {}: {digest}", shown(path)))?;
    }
    let verdict = match found.first() {
        None if other.is_some() => {
            "Equal: trits, scales, gains and eps of both files, device and twin, to the bit".into()
        }
        None => "Equal: device and twin, to the bit".to_string(),
        Some((difference, (one, other))) => {
            format!("Not equal: {one} and {other} differ first in {difference}")
        }
    };
    super::say(verdict)?;
    if flags.json {
        let first = found.first().map(|(difference, (one, other))| {
            let mut first = super::object(json!(difference));
            first.insert("between".into(), json!([one, other]));
            first
        });
        let line = json!({
            "equal": found.is_empty(), "digest": digest, "first_difference": first, "path": super::named(&file),
            "against": against.as_deref().map(super::named), "digest_against": digest_against, "images": items,
        });
        let mut line = super::object(line);
        line.extend(super::device_json(&gpu));
        super::print_json("verify", line)?;
    }
    Ok(if found.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// The file for comparison. Its shape must be one that this program runs.
fn open(path: &Path) -> Result<(&Path, Model), Failure> {
    Ok((path, network::model(&network::open(path)?, path)?))
}

fn hex(products: &[Integers], items: usize) -> String {
    let mut digest = Digest::default();
    digest.feed(items, products);
    digest.hex()
}

/// A line for each product with what was compared, up to the first difference.
fn table(products: &[Integers], rows: usize, first: Option<&Difference>) -> String {
    let mut lines = vec![["layer", "trits", "codes", "accumulators", ""].map(String::from).to_vec()];
    for (i, Integers { codes, acc }) in products.iter().enumerate() {
        let said = match first.map(|difference| difference.layer) {
            Some(Some(layer)) if i == layer => "differs",
            Some(Some(layer)) if i > layer => "-",
            _ => "equal",
        };
        let [inputs, outputs] = [codes.len(), acc.len()].map(|count| count / rows);
        let counts = [inputs * outputs, codes.len(), acc.len()].map(thousands);
        let name = format!("{i}  {outputs} <- {inputs}");
        lines.push([name].into_iter().chain(counts).chain([said.into()]).collect());
    }
    columns(&lines)
}
