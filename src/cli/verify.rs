//! `sterna verify`: a network on the device against its CPU twin, and against another file, bit for bit.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{DeviceFlags, Failure, Outcome, Verdict, failure, shown};
use super::{network, runs};
use crate::digest::{Fixed, Integers};
use crate::model::logits;
use crate::parameter::Role;
use crate::report::{columns, thousands};
use crate::store::{Difference, Floats, Model, Values};

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
The network runs over 64 fixed images, or a language model over one fixed sequence, on the device and in the CPU twin, \
and every int8 code and every i32 accumulator of every layer is compared; of a checkpoint also the trits and scales that \
the device makes of its float weights. The digest is their sha256: it is the same on every machine and every driver. \
With --against, trits, scales, gains and eps of both files are compared as well, for scales and eps leave no mark in \
integers; an embedding that was rounded when a file was packed may differ by that. A network with a logit that is no \
number is refused.

Between the products of a language model lie floats, which differ a little from device to device. Each product is given \
the floats that the twin finds there, and from these its integers are exact. Rows that are so small that RMSNorm's floor \
acts are left out.

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
    let (other, rounding) = match other {
        Some((path, other)) => {
            let (other, rounding) = rounded_as(&model, other);
            (Some((path, other)), rounding)
        }
        None => (None, None),
    };
    let gpu = flags.device.open()?;
    let network = opened.upload(&gpu).map_err(failure)?;

    super::tell(format!("{} on {} and in the CPU twin", shown(&file), super::gpu_line(&gpu)));
    let fixed = Fixed::of(&model).map_err(|what| network::unread(&file, what))?;
    let device = fixed.on(&gpu, &*network).map_err(failure)?;
    // Integers do not show a scale that makes logits infinite or NaN.
    let floats = logits(&gpu, &*network, fixed.inputs()).map_err(failure)?;
    let logits = floats.chunks_exact(floats.len() / fixed.rows());
    network::finite(&file, |i| format!("fixed input {i}"), logits)?;
    // The weights that the device holds now. For a checkpoint the device has quantised them itself.
    let mut held = model.clone();
    let trits = network.params().packed(&gpu).map_err(failure)?;
    held.matrices_mut().zip(trits).for_each(|(held, packed)| *held = packed);

    let here = [("the device".into(), "the CPU".into()), ("the device".into(), "the CPU twin".into())];
    let differing = fixed.first_difference(&device);
    let at = differing.as_ref().map(|(i, _)| *i);
    let mut found: Vec<(Difference, (String, String))> =
        [held.first_difference(&model), differing.map(|(_, difference)| difference)]
            .into_iter()
            .zip(here)
            .filter_map(|(difference, between)| Some((difference?, between)))
            .collect();
    if let Some((path, other)) = &other {
        let between = (shown(&file), shown(path));
        found.extend(model.first_difference(other).map(|difference| (difference, between)));
    }

    super::say(table(&fixed, at.or(found.first().and_then(|(difference, _)| difference.layer))))?;
    let (digest, items) = (fixed.hex(&device), fixed.items());
    super::say(format!("Digest over {}: {digest}", super::counted(items, "fixed input")))?;
    let digest_of = |(path, other): &(&Path, Model)| {
        let fixed = Fixed::of(other).map_err(|what| network::unread(path, what))?;
        Ok(fixed.hex(fixed.integers()))
    };
    let digest_against = other.as_ref().map(digest_of).transpose()?;
    if let (Some((path, _)), Some(digest)) = (&other, &digest_against) {
        super::say(format!("Digest of {}: {digest}", shown(path)))?;
    }
    let verdict = match found.first() {
        None if other.is_some() => {
            let embedding =
                rounding.map(|to| format!(", the embeddings but for the rounding to {}", to.name()));
            let embedding = embedding.unwrap_or_default();
            format!(
                "Equal: trits, scales, gains and eps of both files{embedding}, device and twin, to the bit"
            )
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
            "against": against.as_deref().map(super::named), "digest_against": digest_against, "images": items, "embedding": rounding.map(Floats::name),
        });
        let mut line = super::object(line);
        line.extend(super::device_json(&gpu));
        super::print_json("verify", line)?;
    }
    Ok(if found.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// `other` with the embedding of `model`, if the one embedding is the other one after rounding. A packed file can have a
/// rounded embedding.
fn rounded_as(model: &Model, mut other: Model) -> (Model, Option<Floats>) {
    let floats = |model: &Model| {
        let float = model.parameters.iter().filter(|weights| weights.parameter.role == Role::Float);
        float.map(|weights| weights.values.clone()).collect::<Vec<_>>()
    };
    let (own, its) = (floats(model), floats(&other));
    let parted = |to: &Floats| {
        let rounds_to = |from: &Model, want: &[Values]| {
            from.rounded(*to).is_ok_and(|(rounded, _)| floats(&rounded) == want)
        };
        rounds_to(&other, &own) || rounds_to(model, &its)
    };
    let rounding = if own == its { None } else { Floats::ALL.into_iter().find(parted) };
    if rounding.is_some() {
        let float = other.parameters.iter_mut().filter(|weights| weights.parameter.role == Role::Float);
        float.zip(own).for_each(|(weights, own)| weights.values = own);
    }
    (other, rounding)
}

/// The file for comparison. Its shape must be one that this program runs.
fn open(path: &Path) -> Result<(&Path, Model), Failure> {
    Ok((path, network::model(&network::open(path)?, path)?))
}

/// A line for each product with what was compared, up to the first one that differs.
fn table(fixed: &Fixed, differs: Option<usize>) -> String {
    let mut lines = vec![["layer", "trits", "codes", "accumulators", ""].map(String::from).to_vec()];
    for (i, Integers { codes, acc }) in fixed.integers().iter().enumerate() {
        let said = match differs {
            Some(at) if i == at => "differs",
            Some(at) if i > at => "-",
            _ => "equal",
        };
        let [inputs, outputs] = [codes.len(), acc.len()].map(|count| count / fixed.rows());
        let counts = [inputs * outputs, codes.len(), acc.len()].map(thousands);
        let (layer, product) = fixed.product(i);
        let of = if product.is_empty() { layer.to_string() } else { format!("{layer} {product}") };
        let name = format!("{of}  {outputs} <- {inputs}");
        lines.push([name].into_iter().chain(counts).chain([said.into()]).collect());
    }
    columns(&lines)
}
