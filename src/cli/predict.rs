//! `sterna predict`: which digit is in a picture.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{DataFlags, DeviceFlags, Failure, Outcome, Verdict, failure, object, shown};
use super::{network, runs};
use crate::digit;
use crate::mnist::Dataset;
use crate::model::Mlp;
use crate::reason::unread;
use crate::store::{Format, Mapped};
use crate::train::Found;

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, or a network of any format that Sterna reads. If the first name is neither, it is a picture.
    /// [default: the newest run below runs/ with as many inputs]
    model: Option<PathBuf>,
    /// PNG, JPEG or BMP files of one digit each, of up to 67 million pixels; `-` reads one from stdin.
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Digits of the test set, counted from 0.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = super::arguments::count)]
    index: Vec<usize>,
    #[command(flatten)]
    data: DataFlags,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const NOTES: &str = "\
A picture is made grey, inverted where its background is light, and what is drawn is scaled to 20 pixels and \
centred by its mass in 28 x 28, as MNIST was made. It is printed as the network sees it. Photos are best \
cut to the digit: everything that stands out from the background is taken for it. A picture may have 1,048,576 \
pixels and 1,024 more for each byte of its file, at most 67,108,864, and takes up to 16 bytes of memory for each.

All images go through the network as one batch; `milliseconds` is the time from writing the pixels to reading \
the logits, divided by their number, after one run to warm up.

Examples:
  sterna predict photo.jpg                      by the newest run
  sterna predict runs/NAME digit.png photo.jpg
  sterna predict model.gguf - < digit.png
  sterna predict model.safetensors --index 0,1,2 --json";

/// An image for the network.
struct Input {
    file: String,
    pixels: Vec<u8>,
    /// Its width and height.
    size: [usize; 2],
    label: Option<u8>,
}

pub fn run(flags: &Flags) -> Outcome {
    let (named, pictures) = flags.taken_apart()?;
    let data = if flags.index.is_empty() { None } else { Some(flags.data.read()?) };
    let wanted = (digit::SIDE * digit::SIDE) as u64;
    let model = {
        let trained_on = data.as_ref().map(runs::trained_on);
        let fits = |run: &Found| match &trained_on {
            Some(trained_on) => trained_on(run),
            None => run.dims().first() == Some(&wanted),
        };
        let what =
            data.as_ref().map_or(format!("with {wanted} inputs"), |data| format!("trained on {}", data.name));
        runs::model_or_newest(named, &what, fits).map_err(|Failure(sentence)| match pictures.first() {
            Some(first) if named.is_none() => {
                // It may be a picture, or a file that was meant as a network.
                let bytes = Mapped::open(first).map_err(|error| error.to_string());
                let why = bytes.and_then(|bytes| Format::of(&bytes).map(drop));
                let why = why.err().unwrap_or_else(|| "is no picture".into());
                failure(format!("{}: {why}, and {sentence}", shown(first)))
            }
            _ => Failure(sentence),
        })?
    };
    let network = network::open(&model)?;
    let shape = network::mlp(&network, &model)?;
    let wanted = shape.dims[0];
    let data = data.map(|data| flags.data.turned_for(data, &network.about));
    let inputs = inputs(flags, &pictures, data.as_ref())?;
    for Input { file, size: [width, height], .. } in &inputs {
        if width * height != wanted {
            return Err(failure(format!(
                "{file}: {width} x {height} pixels, but {} has {wanted} inputs",
                shown(&model)
            )));
        }
    }
    let gpu = flags.device.open()?;
    let mlp = Mlp::new(shape.clone(), network.params(&gpu).map_err(failure)?);
    let images: Vec<u8> = inputs.iter().flat_map(|input| &input.pixels).copied().collect();
    let (logits, milliseconds) = network::logits(&gpu, &mlp, &images).map_err(failure)?;
    network::finite(&model, |i| inputs[i].file.clone(), logits.iter().map(|row| &row[..]))?;

    super::tell(format!("{} on {}", shown(&model), super::gpu_line(&gpu)));
    let mut predictions = Vec::new();
    for (input, logits) in inputs.iter().zip(&logits) {
        let probabilities = softmax(logits);
        let digit = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("classes");
        let label = input.label.map_or(String::new(), |label| format!(" (it is a {label})"));
        let share = 100.0 * probabilities[digit];
        super::say(format!("{}: {digit}, {share:.1} %{label}, {milliseconds:.3} ms\n", input.file))?;
        super::say(beside(&drawing(&input.pixels, input.size[0]), &bars(&probabilities)))?;
        let mut entry = object(json!({
            "file": input.file, "digit": digit, "probabilities": probabilities, "milliseconds": milliseconds,
        }));
        entry.extend(input.label.map(|label| ("label".to_string(), json!(label))));
        predictions.push(entry);
    }
    if flags.json {
        let mut line = super::device_json(&gpu);
        line.insert("model".into(), super::named(&model));
        line.insert("predictions".into(), json!(predictions));
        super::print_json("predict", line)?;
    }
    Ok(Verdict::Yes)
}

impl Flags {
    /// The network, if the arguments name one, and the pictures.
    fn taken_apart(&self) -> Result<(Option<&Path>, Vec<&Path>), Failure> {
        let first = self.model.as_deref();
        if let Some(first) = first.filter(|first| *first != Path::new("-") && !first.exists()) {
            Mapped::open(first).map_err(failure)?;
        }
        let (model, picture) = if first.is_some_and(is_network) { (first, None) } else { (None, first) };
        let pictures: Vec<&Path> =
            picture.into_iter().chain(self.images.iter().map(PathBuf::as_path)).collect();
        if pictures.is_empty() && self.index.is_empty() {
            let of = model
                .map(runs::model)
                .transpose()?
                .map_or(String::new(), |file| format!(" for {}", shown(&file)));
            return Err(failure(format!(
                "there is nothing to look at{of}: name a picture, or a test digit by --index"
            )));
        }
        match pictures.iter().skip(1).find(|path| path.exists() && is_network(path)) {
            Some(path) if model.is_none() => {
                Err(failure(format!("{} is a network: name it first, then the pictures", shown(path))))
            }
            _ => Ok((model, pictures)),
        }
    }
}

/// Whether a name means a network: a folder, a file with a network, or a file with a network's extension.
fn is_network(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = ["safetensors", "gguf", "npy", "npz"].contains(&extension.to_ascii_lowercase().as_str());
    let holds = || Mapped::open(path).is_ok_and(|bytes| Format::of(&bytes).is_ok());
    path != Path::new("-") && (known || path.is_dir() || holds())
}

/// The inputs: the pictures, then the digits of the test set.
fn inputs(flags: &Flags, pictures: &[&Path], data: Option<&Dataset>) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    if flags.data.data.is_some() && flags.index.is_empty() {
        return Err(failure(
            "--data is where --index takes its digits from, and there is none: leave it out",
        ));
    }
    let dashes = pictures.iter().filter(|path| **path == Path::new("-")).count();
    if dashes > 1 {
        return Err(failure(format!("- is given {dashes} times, but stdin holds 1 picture")));
    }
    for &path in pictures {
        let picture = match path == Path::new("-") {
            true => digit::decode(&stdin()?),
            false => digit::decode(&Mapped::open(path).map_err(failure)?),
        };
        let file = if path == Path::new("-") { "stdin".into() } else { shown(path) };
        let pixels = picture.and_then(|picture| digit::prepare(&picture));
        let pixels = pixels.map_err(|what| failure(format!("{file}: {what}")))?;
        inputs.push(Input { file, pixels, size: [digit::SIDE; 2], label: None });
    }
    let Some(data) = data else { return Ok(inputs) };
    for &i in &flags.index {
        let (pixels, label) = network::test_image(data, i)?;
        let file = format!("{} test image {i}", data.name);
        let pixels = pixels.to_vec();
        inputs.push(Input { file, pixels, size: [data.width, data.height], label: Some(label) });
    }
    Ok(inputs)
}

/// One picture from stdin.
fn stdin() -> Result<Vec<u8>, Failure> {
    const MOST: u64 = 1 << 28;
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|reason| failure(format!("stdin: cannot be read: {}", unread(&reason))))?;
    match bytes.len() as u64 {
        found if found > MOST => {
            Err(failure(format!("stdin: more than {MOST} bytes: no picture is so large")))
        }
        _ => Ok(bytes),
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// An image as text. Each character shows two pixels, one above the other.
fn drawing(pixels: &[u8], width: usize) -> Vec<String> {
    let lit = |row: Option<&[u8]>, x: usize| row.is_some_and(|row| row[x] >= 96);
    let rows: Vec<&[u8]> = pixels.chunks_exact(width).collect();
    let line = |pair: &[&[u8]]| {
        let cell = |x| match (lit(pair.first().copied(), x), lit(pair.get(1).copied(), x)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..width).map(cell).collect()
    };
    rows.chunks(2).map(line).collect()
}

/// The ten most probable classes, ordered by class.
fn bars(probabilities: &[f64]) -> Vec<String> {
    let mut classes: Vec<usize> = (0..probabilities.len()).collect();
    classes.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    classes.truncate(10);
    classes.sort();
    let bar = |class: usize| {
        let share = probabilities[class];
        let line =
            format!("{class:>2}  {:5.1} %  {}", 100.0 * share, "█".repeat((20.0 * share).round() as usize));
        line.trim_end().to_string()
    };
    classes.into_iter().map(bar).collect()
}

/// Two blocks of lines side by side. The right one is centred vertically.
fn beside(left: &[String], right: &[String]) -> String {
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let skipped = left.len().saturating_sub(right.len()) / 2;
    let mut out = String::new();
    for i in 0..left.len().max(right.len()) {
        let line =
            |lines: &[String], i: Option<usize>| i.and_then(|i| lines.get(i).cloned()).unwrap_or_default();
        let [left, right] = [line(left, Some(i)), line(right, i.checked_sub(skipped))];
        out += format!("  |{left:<width$}|   {right}").trim_end();
        out.push('\n');
    }
    out
}
