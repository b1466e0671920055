//! `sterna verify`: a network on the device against its CPU twin, and against another file, bit for bit.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{DeviceFlags, Failure, Outcome, Verdict, failure, shown};
use super::{network, runs};
use crate::digest::{ALL_LAYERS, Fixed, Integers};
use crate::generate::Generator;
use crate::gpu::Gpu;
use crate::kernels::KeyForm;
use crate::model::{
    AnyShape, Opened, Precision, TRANSFORMER, Transformer, TransformerShape, WeightSource, logits,
};
use crate::parameter::{Parameter, Role};
use crate::report::{columns, thousands};
use crate::store::{Arch, Difference, FileError, Floats, Model, Values, Weights};

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

Of a language model of more than 4 layers, the first, the middle and the last are verified, each over rows that are made \
up, and the trits of all layers on the device are compared with the file. So the memory never holds the network twice.

Exit code 1 if anything differs; the first difference is named.

Examples:
  sterna verify digits.safetensors
  sterna verify digits.safetensors --against runs/NAME";

pub fn run(flags: &Flags) -> Outcome {
    let file = runs::model_or_newest(flags.file.as_deref(), "with ternary weights", runs::ternary)?;
    let opened = network::open(&file)?;
    if let (AnyShape::Transformer(shape), Some(source)) = (&opened.shape, opened.source())
        && shape.layers > ALL_LAYERS
    {
        return sampled(flags, &file, &opened, shape, source);
    }
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
    // A scale can make logits infinite or NaN, and integers do not show that.
    let floats = logits(&gpu, &*network, fixed.inputs()).map_err(failure)?;
    let logits = floats.chunks_exact(floats.len() / fixed.rows());
    network::finite(&file, |i| format!("fixed input {i}"), logits)?;
    // The weights on the device. The trits of a checkpoint were computed on the device.
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

    let digest_of = |(path, other): &(&Path, Model)| {
        let fixed = Fixed::of(other).map_err(|what| network::unread(path, what))?;
        Ok(fixed.hex(fixed.integers()))
    };
    let digest_against = other.as_ref().map(digest_of).transpose()?;
    let against = against.as_deref().zip(digest_against);
    let seen = Seen { gpu: &gpu, fixed: &fixed, device: &device, at, found, rounding };
    conclude(flags, &file, against, &seen)
}

/// What was compared, and what differs.
struct Seen<'a> {
    gpu: &'a Gpu,
    fixed: &'a Fixed,
    device: &'a [Integers],
    /// The first product that differs.
    at: Option<usize>,
    /// The differences, each between two things that are named.
    found: Vec<(Difference, (String, String))>,
    /// The rounding of the embedding in one of two files.
    rounding: Option<Floats>,
}

/// Prints the result. `against` is the other file and its digest.
fn conclude(flags: &Flags, file: &Path, against: Option<(&Path, String)>, seen: &Seen) -> Outcome {
    let Seen { fixed, device, at, found, rounding, .. } = seen;
    super::say(table(fixed, at.or(found.first().and_then(|(difference, _)| difference.layer))))?;
    if !fixed.sample().is_empty() {
        let layers: Vec<String> = fixed.sample().iter().map(usize::to_string).collect();
        super::say(format!(
            "A sample of the layers: {}, each over {} made-up rows; the trits of all layers are those of the file",
            layers.join(", "),
            fixed.rows()
        ))?;
    }
    let (digest, items) = (fixed.hex(device), fixed.items());
    super::say(format!("Digest over {}: {digest}", super::counted(items, "fixed input")))?;
    if let Some((path, digest)) = &against {
        super::say(format!("Digest of {}: {digest}", shown(path)))?;
    }
    let verdict = match found.first() {
        None if against.is_some() => {
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
            "equal": found.is_empty(), "digest": digest, "first_difference": first, "path": super::named(file),
            "against": against.as_ref().map(|(path, _)| super::named(path)),
            "digest_against": against.as_ref().map(|(_, digest)| digest), "images": items,
            "layers": Some(fixed.sample()).filter(|sample| !sample.is_empty()),
            "embedding": rounding.map(Floats::name),
        });
        let mut line = super::object(line);
        line.extend(super::device_json(seen.gpu));
        super::print_json("verify", line)?;
    }
    Ok(if found.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// Verifies a language model of many layers: a sample of its layers against the twin, and all its trits against the file.
fn sampled(
    flags: &Flags,
    file: &Path,
    opened: &Opened,
    shape: &TransformerShape,
    source: &dyn WeightSource,
) -> Outcome {
    if shape.precision == Precision::F32 {
        return Err(network::unread(file, "holds a float network, which has no integers to compare".into()));
    }
    let against = flags.against.as_deref().map(runs::model).transpose()?;
    let other = against.as_deref().map(network::open).transpose()?;
    let gpu = flags.device.open()?;
    super::tell(format!("{} on {} and in the CPU twin", shown(file), super::gpu_line(&gpu)));
    let fixed = Fixed::sampled(shape, source).map_err(super::unread)?;
    // A cache needs no more room than the rows that are verified.
    let short = TransformerShape { context: fixed.rows(), ..shape.clone() };
    let network = Transformer::load(&gpu, short, source, network::embedding(shape)).map_err(failure)?;
    let device = fixed.on(&gpu, &network).map_err(failure)?;
    // A scale can make logits infinite or NaN, and integers do not show that.
    let ids: Vec<u32> = (0..8.min(shape.context)).map(|at| (at * 31 % shape.vocabulary) as u32).collect();
    let logits = Generator::new(&gpu, &network, &ids, KeyForm::F32).and_then(|mut text| text.logits());
    let finite = crate::generate::finite(&logits.map_err(failure)?);
    finite.map_err(|error| failure(format!("{}: {error}", shown(file))))?;

    let differing = fixed.first_difference(&device);
    let at = differing.as_ref().map(|(i, _)| *i);
    let twin = ("the device".to_string(), "the CPU twin".to_string());
    let mut found: Vec<_> = differing.map(|(_, difference)| (difference, twin)).into_iter().collect();
    let parameters = shape.parameters();
    for (i, parameter) in parameters.iter().enumerate().filter(|(_, of)| of.role == Role::Ternary) {
        let held = network.params.get(&parameter.name).packed().download(&gpu).map_err(failure)?;
        let stored = source.trits(i).map_err(super::unread)?;
        let [held, stored] = [held, stored].map(|packed| one(parameter, Values::Trits(packed)));
        let difference = held.first_difference(&stored);
        found.extend(difference.map(|difference| (difference, ("the device".into(), shown(file)))));
    }
    let mut digest_against = None;
    if let (Some(path), Some(other)) = (&against, &other) {
        let differs = |what: String| network::unread(path, what);
        let (AnyShape::Transformer(its), Some(its_source)) = (&other.shape, other.source()) else {
            return Err(differs("is a checkpoint: pack it first".into()));
        };
        if its != shape {
            return Err(differs(format!("holds {}, expected {}", other.shape, opened.shape)));
        }
        let difference = between(&parameters, source, its_source)?;
        found.extend(difference.map(|difference| (difference, (shown(file), shown(path)))));
        let fixed = Fixed::sampled(its, its_source).map_err(super::unread)?;
        digest_against = Some(fixed.hex(fixed.integers()));
    }
    let seen = Seen { gpu: &gpu, fixed: &fixed, device: &device, at, found, rounding: None };
    conclude(flags, file, against.as_deref().zip(digest_against), &seen)
}

/// A network of one parameter, or of some rows of it, to be compared.
fn one(parameter: &Parameter, values: Values) -> Model {
    let weights = Weights { parameter: parameter.clone(), values };
    Model { arch: Arch::new(TRANSFORMER, json!({})), parameters: vec![weights], about: Value::Null }
}

/// The first difference between two networks of one shape, read piece by piece.
fn between(
    parameters: &[Parameter],
    a: &dyn WeightSource,
    b: &dyn WeightSource,
) -> Result<Option<Difference>, Failure> {
    /// Values that are compared at once.
    const VALUES: usize = 1 << 22;
    for (i, parameter) in parameters.iter().enumerate() {
        let pair = |read: &dyn Fn(&dyn WeightSource) -> Result<Values, FileError>| {
            let [a, b] = [read(a).map_err(super::unread)?, read(b).map_err(super::unread)?];
            Ok::<_, Failure>(one(parameter, a).first_difference(&one(parameter, b)))
        };
        let (rows, cols) = match parameter.shape[..] {
            [cols] => (1, cols),
            _ => parameter.matrix().into(),
        };
        if parameter.role == Role::Ternary {
            if let Some(difference) = pair(&|from| from.trits(i).map(Values::Trits))? {
                return Ok(Some(difference));
            }
            continue;
        }
        for at in (0..rows).step_by((VALUES / cols).max(1)) {
            let here = at..(at + (VALUES / cols).max(1)).min(rows);
            if let Some(difference) = pair(&|from| from.floats(i, here.clone()).map(Values::Floats))? {
                let column = difference.column.map(|column| column + at * cols);
                return Ok(Some(Difference { column, ..difference }));
            }
        }
    }
    Ok(None)
}

/// If the embedding of `model` or of `other` is the rounded form of the other embedding, returns `other` with the
/// embedding of `model`. A packed file can have a rounded embedding.
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

/// A table with a line for each compared product, up to the first product that differs.
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
