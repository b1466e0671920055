//! `sterna inspect`: the contents of a file. The file is mapped and read one matrix at a time.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, Outcome, Verdict, failure, runs, shown};
use crate::parameter::{Parameter, Role};
use crate::report::{Weights, columns, thousands, weights_png};
use crate::store::{FileError, Listing, Scale, Stored, escaped, folder, taken};
use crate::ternary::Packed;
use crate::train::MODEL;

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, a folder of Hugging Face, a packed file, or one of another format. [default: the newest run below
    /// runs/]
    file: Option<PathBuf>,
    /// Draw every ternary matrix into this folder, as weights.png.
    #[arg(short = 'o', long = "out", alias = "png", value_name = "DIR")]
    png: Option<PathBuf>,
    /// Replace weights.png if it exists.
    #[arg(long)]
    force: bool,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Every matrix is shown as the ternary one that it holds or, of floats, that absmean makes of it: counts of -1, 0 and \
1, share of zeros, entropy of a weight in bits (at most log2 3 = 1.585), and what one trit is worth. Of a matrix that \
stands for none, weights that are NaN for instance, stderr says why. The file is mapped, not loaded.

Examples:
  sterna inspect runs/NAME
  sterna inspect digits.safetensors -o pictures --json";

/// A tensor with the trits of its matrix, or with the reason for their absence.
struct Line<'a> {
    tensor: &'a Stored,
    /// The role of the parameter that it is a part of, where the file says so.
    role: Option<Role>,
    trits: Option<Trits>,
    fault: Option<String>,
}

struct Trits {
    counts: [usize; 3],
    /// It is `None` if the file does not state the meaning of its scale.
    scale: Option<f32>,
}

impl Trits {
    fn share(&self, i: usize) -> f64 {
        self.counts[i] as f64 / self.counts.iter().sum::<usize>().max(1) as f64
    }

    /// Bits per weight for an independent coding of each weight: `-sum p log2 p`.
    fn entropy(&self) -> f64 {
        let bits = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
        (0..3).map(|i| bits(self.share(i))).sum()
    }
}

pub fn run(flags: &Flags) -> Outcome {
    let file = &runs::model_or_newest(flags.file.as_deref(), "with a whole epoch", |_| true)?;
    let whole = file.join(MODEL);
    let file = if file.is_dir() && whole.exists() { &whole } else { file };
    let listing = Listing::open(file).map_err(failure)?;
    let picture = flags.png.as_deref().map(|folder| picture(folder, flags.force)).transpose()?;
    let parameters = parameters(&listing.metadata);
    let mut lines = Vec::new();
    let mut drawn = Vec::new();
    for (tensor, role) in ordered(&listing.tensors, &parameters) {
        let (packed, fault) = match listing.matrix(tensor).transpose() {
            Ok(packed) => (packed, None),
            Err(fault) => (None, Some(fault)),
        };
        super::tell_notes(file, fault.as_slice());
        let said = tensor.matrix.is_some_and(|matrix| matrix.scale != Scale::Unsaid);
        let trits = packed
            .as_ref()
            .map(|packed| Trits { counts: packed.histogram(), scale: said.then_some(packed.scale) });
        lines.push(Line { tensor, role, trits, fault });
        drawn.extend(packed.filter(|_| flags.png.is_some()).map(|packed| (printable(&tensor.name), packed)));
    }
    if let Some(picture) = &picture {
        draw(file, picture, &drawn, &listing, flags.force)?;
    }

    let (format, bytes) = (listing.format.name(), thousands(listing.bytes()));
    super::say(format!("{}: {format}, {bytes} B, {} tensors\n", shown(file), lines.len()))?;
    super::say(table(&lines))?;
    for Line { tensor, trits, .. } in &lines {
        if trits.as_ref().is_some_and(|trits| trits.counts[0] + trits.counts[2] == 0) {
            super::say(format!("Note: {} is dead: all its weights are 0\n", printable(&tensor.name)))?;
        }
    }
    let mut rows = Vec::new();
    // The table tells the parameters already.
    for (key, value) in listing.metadata.iter().filter(|(key, _)| *key != "parameters") {
        facts(key, value, &mut rows);
    }
    let width = rows.iter().map(|[key, _]| key.len()).max().unwrap_or(0);
    for [key, value] in &rows {
        super::say(format!("  {key:<width$}  {value}"))?;
    }
    if let Some(picture) = &picture {
        super::say(format!("\nPicture: {}", shown(picture)))?;
    }
    if flags.json {
        let line = json!({
            "path": super::named(file), "format": format, "bytes": listing.bytes(),
            "tensors": lines.iter().map(|line| line.json(&listing)).collect::<Vec<_>>(), "metadata": listing.metadata,
            "picture": picture.as_deref().map(super::named),
        });
        super::print_json("inspect", super::object(line))?;
    }
    Ok(Verdict::Yes)
}

/// The parameters of the network, where a file of ours says them.
fn parameters(metadata: &Map<String, Value>) -> Vec<Parameter> {
    let text = metadata.get("parameters").and_then(Value::as_str).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Tensors in the order of the parameters that they are parts of, layer 2 before layer 10, with the role of each; others
/// come last, in the order of the file.
fn ordered<'a>(tensors: &'a [Stored], parameters: &[Parameter]) -> Vec<(&'a Stored, Option<Role>)> {
    let of = |tensor: &Stored| {
        parameters.iter().position(|parameter| {
            let rest = |of: &str| tensor.name.strip_prefix(of)?.strip_prefix('.').map(str::to_string);
            let own = tensor.name == parameter.name || rest(&parameter.name).is_some();
            let parts = ["packed", "base3", "beta", "trits", "scale"];
            own || rest(parameter.base()).is_some_and(|rest| parts.contains(&&rest[..]))
        })
    };
    let mut all: Vec<_> = tensors.iter().map(|tensor| (of(tensor).unwrap_or(usize::MAX), tensor)).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(at, tensor)| (tensor, parameters.get(at).map(|parameter| parameter.role))).collect()
}

impl Line<'_> {
    fn json(&self, listing: &Listing) -> Value {
        let Line { tensor, role, trits, fault } = self;
        json!({
            "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "bytes": tensor.at.len(),
            "offset": tensor.at.start, "file": listing.file(tensor), "role": role,
            "matrix": tensor.matrix.map(|matrix| [matrix.rows, matrix.cols]),
            "trits": trits.as_ref().map(|trits| trits.counts), "fault": fault,
            "zeros": trits.as_ref().map(|trits| trits.share(1)),
            "entropy_bits": trits.as_ref().map(Trits::entropy),
            "scale": trits.as_ref().and_then(|trits| trits.scale),
        })
    }
}

fn table(lines: &[Line]) -> String {
    let head = ["tensor", "role", "type", "shape", "bytes", "-1", "0", "+1", "zeros", "bits/weight", "scale"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for Line { tensor, role, trits, .. } in lines {
        let shape: Vec<String> = tensor.shape.iter().map(|&n| thousands(n)).collect();
        let mut row = vec![
            printable(&tensor.name),
            role.map_or("-", Role::name).into(),
            tensor.dtype.clone(),
            shape.join(" x "),
            thousands(tensor.at.len()),
        ];
        if let Some(trits) = trits {
            row.extend(trits.counts.map(thousands));
            row.extend([
                format!("{:.1} %", 100.0 * trits.share(1)),
                format!("{:.3}", trits.entropy()),
                trits.scale.map_or("not said".into(), |scale| scale.to_string()),
            ]);
        }
        rows.push(row);
    }
    columns(&rows)
}

/// The metadata of a file, one line for each value. For a long value only its length is shown.
fn facts(key: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
    const MOST: usize = 8;
    let told = match value {
        Value::Object(map) => {
            return map.iter().for_each(|(inner, value)| facts(&format!("{key}.{inner}"), value, rows));
        }
        Value::Array(values) if values.len() > MOST => format!("[{} values]", thousands(values.len())),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    };
    rows.push([printable(key), told]);
}

/// Text of a file as one line that a terminal shows without interpretation. Long text is cut.
fn printable(text: &str) -> String {
    const MOST: usize = 160;
    let shown = escaped(&text.chars().take(MOST).collect::<String>(), &[]);
    match text.chars().count() {
        count if count > MOST => format!("{shown}... ({} characters)", thousands(count)),
        _ => shown,
    }
}

/// The path of the picture in a folder. A path that cannot be used is refused before the file is read.
fn picture(folder: &Path, force: bool) -> Result<PathBuf, Failure> {
    super::no_dash(folder)?;
    let path = folder.join("weights.png");
    match !force && taken(&path) {
        true => Err(super::exists(&path)),
        false => Ok(path),
    }
}

/// Draws all matrices into a folder. The folder is created if it is missing.
fn draw(
    file: &Path,
    picture: &Path,
    layers: &[(String, Packed)],
    listing: &Listing,
    force: bool,
) -> Result<(), Failure> {
    if layers.is_empty() {
        return Err(failure(format!("{}: has no matrix to draw: leave --out away", shown(file))));
    }
    let folder = folder(picture);
    let made = std::fs::create_dir_all(folder);
    made.map_err(|reason| failure(FileError::Write { path: folder.into(), reason }))?;
    let (first, packed) = &layers[0];
    // A matrix of attention reads no picture.
    let image = if first.contains("attn") { [0, 0] } else { image(&listing.metadata, packed.cols) };
    let drawn: Vec<_> = layers.iter().map(|(name, packed)| (name.clone(), Weights::Trits(packed))).collect();
    super::write(picture, &weights_png(&format!("Weights of {}", shown(file)), &drawn, image), force)
}

/// Height and width of the first layer's input: from the run's description, or else a square, if the number of pixels
/// is one.
fn image(metadata: &Map<String, Value>, pixels: usize) -> [usize; 2] {
    let run = metadata.get("run").or(metadata.get("about")).unwrap_or(&Value::Null);
    let told = ["height", "width"].map(|side| run["data"][side].as_u64().unwrap_or(0) as usize);
    let side = pixels.isqrt();
    match told {
        [height, width] if height.checked_mul(width) == Some(pixels) => told,
        _ if side * side == pixels => [side, side],
        _ => [0, 0],
    }
}
