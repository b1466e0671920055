//! `sterna explain`: an idea in about ten lines, with the numbers of the newest run and of the newest wall.json, and
//! a command that shows it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::runs::{RUNS, hint};
use super::{Failure, Outcome, Verdict, command, failure, shown, wall};
use crate::measure::Watch;
use crate::measure::wall::{ENERGY_SHAPE, Wall, energy, formats};
use crate::model::{TRANSFORMER, TransformerShape};
use crate::report::{short, thousands};
use crate::train::{Epoch, TextConfig, below, epochs};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// What to explain; without it, what there is.
    topic: Option<Topic>,
    /// The run that numbers come from. [default: the newest below runs/]
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Numbers of a run come from its metrics.jsonl and config.json. Numbers of this machine come from the newest wall.json, \
here or one folder below. Each is said with its file. Nothing is measured.

Examples:
  sterna explain
  sterna explain straight-through
  sterna explain perplexity --run runs/NAME";

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Topic {
    /// A weight that is -1, 0 or 1, and what it costs.
    Trit,
    /// A matrix times a row of numbers, counted.
    Matmul,
    /// A layer: norm, int8 codes, trits, one scale; no biases.
    Linear,
    /// How the loss reaches every weight.
    Backprop,
    /// How what is rounded learns, and why there are shadow weights.
    StraightThrough,
    /// The loss of a classifier or of a language model, in nats.
    CrossEntropy,
    /// Between how many classes or tokens a network hesitates.
    Perplexity,
    /// How a token of a text becomes numbers.
    Embedding,
    /// How a token reads the tokens before it.
    Attention,
    /// How attention knows where a token stands.
    Rope,
    /// What turns gradients into steps.
    Adam,
    /// Bits, range and bytes of numbers, from f32 to trits.
    Formats,
    /// Why memory, not arithmetic, decides how fast a model answers.
    Wall,
    /// What an operation and a byte cost in joules.
    Energy,
}

impl Topic {
    /// Whether it is about language models alone.
    fn is_of_text(self) -> bool {
        matches!(self, Topic::Embedding | Topic::Attention | Topic::Rope)
    }

    /// Its name on the command line, and what it is about.
    fn words(self) -> (String, String) {
        let value = self.to_possible_value().expect("every topic has a name");
        (value.get_name().into(), value.get_help().map(ToString::to_string).unwrap_or_default())
    }
}

pub fn run(flags: &Flags) -> Outcome {
    let Some(topic) = flags.topic else { return list(flags.json) };
    let facts = Facts { run: Ran::find(flags.run.as_deref(), topic)?, wall: measured() };
    let (sentences, numbers, see) = facts.explain(topic);
    if flags.json {
        let line = json!({
            "topic": topic.words().0, "sentences": sentences, "numbers": numbers, "see": see,
            "run": facts.run.as_ref().map(|run| super::named(&run.path)),
            "wall": facts.wall.as_ref().map(|(path, _)| super::named(path)),
        });
        super::print_json("explain", super::object(line))?;
    } else {
        let numbers: Vec<String> = numbers.iter().map(|sentence| wrapped(sentence)).collect();
        super::say(format!("{}\n\n{}\n\nSee it: {see}", wrapped(&sentences.join(" ")), numbers.join("\n")))?;
    }
    Ok(Verdict::Yes)
}

fn list(as_json: bool) -> Outcome {
    let topics: Vec<(String, String)> = Topic::value_variants().iter().map(|topic| topic.words()).collect();
    if as_json {
        let topics: serde_json::Map<_, _> =
            topics.into_iter().map(|(name, about)| (name, json!(about))).collect();
        super::print_json("explain", super::object(json!({"topics": topics})))?;
        return Ok(Verdict::Yes);
    }
    for (name, about) in topics {
        super::say(format!("  {name:<17} {about}"))?;
    }
    super::say(format!("\nOne of them: {}", command(&[&"explain", &"trit"])))?;
    Ok(Verdict::Yes)
}

/// Sentences as lines of at most 80 columns.
fn wrapped(sentence: &str) -> String {
    let mut lines = vec![String::new()];
    for word in sentence.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 80 {
            lines.push(word.into());
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// The sources of numbers.
struct Facts {
    run: Option<Ran>,
    wall: Option<(PathBuf, Wall)>,
}

/// A run of which an epoch at least is done.
struct Ran {
    path: PathBuf,
    config: Value,
    epochs: Vec<Epoch>,
}

impl Ran {
    /// The requested run, or else the newest run that has numbers for a topic.
    fn find(asked: Option<&Path>, topic: Topic) -> Result<Option<Ran>, Failure> {
        let fits = |run: &crate::train::Found| !topic.is_of_text() || run.is_text();
        let newest = || below(Path::new(RUNS)).0.into_iter().find(fits).map(|run| run.path);
        let Some(path) = asked.map(Path::to_path_buf).or_else(newest) else {
            return Ok(None);
        };
        let config = fs::read(path.join("config.json")).ok();
        let config = config.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null);
        match epochs(&path) {
            Ok(epochs) if !epochs.is_empty() => Ok(Some(Ran { path, config, epochs })),
            Err(_) if asked.is_some() => {
                let hint = hint(&path)
                    .unwrap_or_else(|| "name the folder of one, as `sterna runs` lists them".into());
                Err(failure(format!("--run {} is no run's folder: {hint}", shown(&path))))
            }
            Ok(_) if asked.is_some() => Err(failure(format!("--run {}: no epoch is done yet", shown(&path)))),
            _ => Ok(None),
        }
    }

    fn first(&self) -> &Epoch {
        &self.epochs[0]
    }

    fn last(&self) -> &Epoch {
        &self.epochs[self.epochs.len() - 1]
    }

    /// The language model, if it is a run on a text.
    fn transformer(&self) -> Option<TransformerShape> {
        if self.config["network"] != TRANSFORMER {
            return None;
        }
        let config: TextConfig = serde_json::from_value(self.config["config"].clone()).ok()?;
        let vocabulary = self.config["data"]["vocabulary"].as_u64()? as usize;
        config.validate(vocabulary).ok()?;
        Some(config.shape(vocabulary))
    }

    /// `character` or `byte`.
    fn token(&self) -> &'static str {
        if self.config["data"]["unit"] == "bytes" { "byte" } else { "character" }
    }

    /// Where an evaluation stands: `epoch 3`, or `step 400` of a run on a text.
    fn place(&self, epoch: &Epoch) -> String {
        match self.transformer() {
            Some(_) => format!("step {}", thousands(epoch.step)),
            None => format!("epoch {}", epoch.epoch),
        }
    }

    /// A text that the network can read: the beginning of what it wrote last.
    fn prompt(&self) -> String {
        let lines = self.last().sample.iter().flat_map(|sample| sample.lines()).map(str::trim);
        let line = lines.filter(|line| !line.is_empty()).max_by_key(|line| line.len()).unwrap_or("a");
        line.chars().take(16).collect::<String>().trim().into()
    }

    /// The share of zeros of each layer, weighed by the sizes of its matrices.
    fn zeros(&self) -> Vec<f64> {
        let zeros = &self.last().zeros;
        let Some(shape) = self.transformer() else { return zeros.clone() };
        let matrices = super::train::matrices(&shape);
        if matrices.len() != zeros.len() {
            return Vec::new();
        }
        let layer = |layer: usize| {
            let its = || matrices.iter().zip(zeros).filter(move |(matrix, _)| matrix.0 == layer);
            let weights: usize = its().map(|(matrix, _)| matrix.2).sum();
            its().map(|(matrix, share)| share * matrix.2 as f64).sum::<f64>() / weights as f64
        };
        (0..shape.layers).map(layer).collect()
    }

    /// Rows and columns of each layer of an MLP.
    fn layers(&self) -> Vec<[usize; 2]> {
        let dims = self.config["dims"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let dims: Vec<usize> = dims.map(|width| width as usize).collect();
        dims.windows(2).map(|pair| [pair[1], pair[0]]).collect()
    }

    fn weights(&self) -> Option<usize> {
        let mlp = || self.layers().iter().map(|[rows, cols]| rows * cols).sum();
        let weights = self.transformer().map_or_else(mlp, |shape| shape.weights());
        (weights > 0).then_some(weights)
    }
}

/// The newest wall.json in this folder or one level below, if this version can read it.
fn measured() -> Option<(PathBuf, Wall)> {
    let within = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let here = within(Path::new("."));
    let below = here.iter().filter(|path| path.is_dir()).flat_map(|folder| within(folder));
    let page = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("wall") && name.ends_with(".json")
    };
    let mut pages: Vec<PathBuf> = here.iter().cloned().chain(below).filter(page).collect();
    pages.sort_by_key(|path| fs::metadata(path).and_then(|page| page.modified()).ok());
    let read = |path: PathBuf| {
        let wall = wall::read(&path).ok()?;
        Some((path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path), wall))
    };
    pages.into_iter().rev().find_map(read)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

impl Facts {
    /// A sentence with numbers of the run, or else the command that makes a run.
    fn run(&self, topic: Topic, told: impl Fn(&Ran) -> Option<String>) -> String {
        match self.run.as_ref().and_then(|run| Some((run, told(run)?))) {
            Some((run, told)) => format!("In {}, {told}", shown(&run.path)),
            None => format!(
                "No run here has numbers for this; to make them: {}",
                match topic.is_of_text() {
                    true => command(&[&"train", &"--text", &"--steps", &"200"]),
                    false => command(&[&"train", &"--epochs", &"2"]),
                }
            ),
        }
    }

    /// A sentence with numbers of this machine, or else the command that measures them.
    fn wall(&self, told: impl Fn(&Wall) -> Option<String>) -> String {
        match self.wall.as_ref().and_then(|(path, wall)| Some((path, wall, told(wall)?))) {
            Some((path, wall, told)) => format!("On {} (from {}), {told}", wall.adapter, shown(path)),
            None => format!(
                "No wall.json here has numbers for this; to make them: {}",
                command(&[&"wall", &"--quick"])
            ),
        }
    }

    /// The sentences about a topic, the sentences with numbers, and the command that shows them.
    fn explain(&self, topic: Topic) -> (Vec<String>, Vec<String>, String) {
        let run = self.run.as_ref().map_or("runs/NAME".into(), |run| shown(&run.path));
        let text = self.run.as_ref().and_then(Ran::transformer);
        let trace = || match &self.run {
            Some(ran) if text.is_some() => command(&[&"trace", &run, &ran.prompt()]),
            _ if topic.is_of_text() => command(&[&"trace", &run, &"ROMEO:"]),
            _ => command(&[&"trace", &run, &"--index", &"0"]),
        };
        let (sentences, mut numbers, see) = match topic {
            Topic::Trit => (
                vec![
                    "A trit is a weight that is -1, 0 or 1.".into(),
                    "It costs no multiplication: 1 adds its input, -1 subtracts it, 0 skips it.".into(),
                    format!("It carries log2 3 = {:.3} bits. It is stored in 2, or in 1.6, five to a byte.", 3f64.log2()),
                    "A matrix has one float beside its trits, beta: a weight is worth beta times its trit.".into(),
                    "Training keeps a float W for each trit. The trit is W / beta, rounded, but -1 at least and 1 at most.".into(),
                    "beta is the mean of |W|, so every W below half the mean becomes 0.".into(),
                ],
                vec![self.run(topic, |run| {
                    let (zeros, all) = (run.zeros(), run.weights()?);
                    let sizes = run.layers().into_iter().map(|[rows, cols]| rows * cols);
                    let layers = zeros.len().max(1);
                    let sizes: Vec<usize> = if text.is_some() { vec![all / layers; layers] } else { sizes.collect() };
                    let none: f64 = zeros.iter().zip(sizes).map(|(share, weights)| share * weights as f64).sum();
                    let layers: Vec<String> = zeros.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
                    (!zeros.is_empty()).then(|| format!(
                        "{} of {} weights are 0, layer by layer {} %.",
                        percent(none / all as f64), thousands(all), layers.join(", ")
                    ))
                })],
                trace(),
            ),
            Topic::Matmul => (
                vec![
                    "A matrix W of rows x cols turns a row x of cols numbers into rows numbers.".into(),
                    "Each of them is a sum: y[r] = W[r, 0] x[0] + W[r, 1] x[1] + ... over all cols.".into(),
                    "So every weight is used once, for one multiplication and one addition.".into(),
                    "With trits the multiplication goes: the input is added, subtracted or skipped.".into(),
                    "Inputs are int8 and sums i32, so nothing is rounded: every device gets the same sums.".into(),
                    "One row reads every weight for two operations, and memory decides how long it takes.".into(),
                    "Many rows at once share what was read, and arithmetic decides.".into(),
                ],
                vec![
                    self.run(topic, |run| {
                        if let Some(shape) = &text {
                            let shapes = shape.stacked().map(|(name, [rows, cols])| format!("{name} {rows} x {cols}"));
                            return Some(format!(
                                "each of {} layers has the products {}, {} weights in all.",
                                shape.layers, shapes.join(", "), thousands(shape.weights())
                            ));
                        }
                        let layers = run.layers();
                        let shapes: Vec<String> = layers.iter().map(|[rows, cols]| format!("{rows} x {cols}")).collect();
                        Some(format!("the matrices are {}, {} weights.", shapes.join(", "), thousands(run.weights()?)))
                    }),
                    self.wall(|wall| {
                        let of = |format: &str| wall.points.iter().find(|point| {
                            let shape = wall.roofline_shape;
                            point.batch == 1 && point.format == format && [point.rows, point.cols] == shape
                        });
                        let ([rows, cols], f16, trits) = (wall.roofline_shape, of("f16")?, of("2-bit")?);
                        Some(format!(
                            "{rows} x {cols} times one row takes {:.2} ms in f16 and {:.2} ms in 2 bits.",
                            1e3 * f16.median_seconds, 1e3 * trits.median_seconds
                        ))
                    }),
                ],
                command(&[&"bench", &"gemv"]),
            ),
            Topic::Linear => (
                vec![
                    "A linear layer makes weighted sums of its inputs: y = W x. Here it has four parts.".into(),
                    "RMSNorm divides x by its root mean square and multiplies each input by a learned gain.".into(),
                    "Then x becomes int8 codes: the largest of a row becomes 127, the others in proportion.".into(),
                    "Then the trits add and subtract the codes in i32, exactly.".into(),
                    "Last, beta / s gives the sums their size back: the scales of trits and of codes.".into(),
                    "There are no biases. BitNet has none: a layer learns its trits and its gains.".into(),
                    match text {
                        Some(_) => "A block of a transformer has four of them: q|k|v, o, gate|up and down.".into(),
                        None => "Between two layers stands ReLU: negative sums become 0.".into(),
                    },
                ],
                vec![self.run(topic, |run| {
                    if let Some(shape) = &text {
                        let gains = shape.layers * (3 * shape.width + shape.ffn) + shape.width;
                        return Some(format!(
                            "{} blocks have {} weights, and with the last norm {} gains and no bias.",
                            shape.layers, thousands(shape.weights()), thousands(gains)
                        ));
                    }
                    let layers = run.layers();
                    let gains: usize = layers.iter().map(|[_, cols]| cols).sum();
                    Some(format!(
                        "{} layers have {} weights, {} gains and no bias.",
                        layers.len(), thousands(run.weights()?), thousands(gains)
                    ))
                })],
                trace(),
            ),
            Topic::Backprop => (
                vec![
                    "Training asks of every weight: if it grew a little, how much would the loss grow?".into(),
                    "That number is its gradient. The chain rule gives all of them in one walk back.".into(),
                    "It begins at the logits: the softmax share minus the target, 1 for the true class.".into(),
                    "Through a layer Y = X W^T it takes two products.".into(),
                    "dX = dY W goes on to the layer before; dW = dY^T X is the gradient of the weights.".into(),
                    "ReLU lets a gradient through where its input was above 0.".into(),
                    "So a step does three products for each layer: one forward, two back.".into(),
                ],
                vec![self.run(topic, |run| {
                    let (first, last) = (run.first().losses.first()?, run.last().losses.last()?);
                    Some(format!(
                        "{} steps took the loss from {first:.4} to {last:.4}, each a mean of {} steps.",
                        thousands(run.last().step), run.last().losses_every
                    ))
                })],
                command(&[&"profile", &"train"]),
            ),
            Topic::StraightThrough => (
                vec![
                    "Rounding is flat nearly everywhere: its true gradient is 0, and nothing would learn.".into(),
                    "The straight-through estimator takes it for 1. The forward pass rounds, the backward does not.".into(),
                    "The gradient of a trit goes to the float behind it, its shadow weight W.".into(),
                    "A step moves W a little and most steps flip no trit, but small steps add up until one does.".into(),
                    "Without shadow weights nothing adds up: a step flips a trit, or it is rounded away.".into(),
                    "The mean of |W| then counts the zeros, so beta shrinks with every rounding, and the logits with it.".into(),
                    format!("With all logits 0 every share is equal: the loss of ten classes is ln 10 = {:.4}.", 10f64.ln()),
                    "A finished model needs no shadow weights: packing leaves them out.".into(),
                ],
                vec![self.run(topic, |run| {
                    let flips = |epoch: &Epoch| Some(match text {
                        Some(_) => format!("{} up to {}", percent(epoch.flips?), run.place(epoch)),
                        None => format!("{} in {}", percent(epoch.flips?), run.place(epoch)),
                    });
                    Some(format!("so many trits flipped: {}, {}.", flips(run.first())?, flips(run.last())?))
                })],
                match text {
                    Some(_) => command(&[&"train", &"--text", &"--compare", &"--no-shadow", &"--steps", &"200"]),
                    None => command(&[&"train", &"--compare", &"--no-shadow", &"--epochs", &"5"]),
                },
            ),
            Topic::CrossEntropy => (
                if let Some(shape) = &text { vec![
                    "A language model gives each token of its vocabulary a logit z: the larger, the sooner it comes next.".into(),
                    "Softmax makes shares of them: e^z over the sum of all e^z.".into(),
                    "The loss of a token is -ln of the share that it got before it came, in nats.".into(),
                    "Sure and right costs 0. A share of half costs ln 2 = 0.6931. Sure and wrong has no limit.".into(),
                    format!(
                        "Who knows nothing of {} tokens gives each the same share, and pays ln {} = {:.4}.",
                        shape.vocabulary, shape.vocabulary, (shape.vocabulary as f64).ln()
                    ),
                    "Divided by ln 2 it is in bits: so many bits would each token take in a file that the model compresses.".into(),
                    "Its gradient is simple: at each logit the share, minus 1 at the token that came.".into(),
                ] } else { vec![
                    "A network gives each class a logit z. Softmax makes shares of them: e^z over the sum of all e^z.".into(),
                    "The loss of an image is -ln of the share that its true class got, in nats.".into(),
                    "Sure and right costs 0. A share of half costs ln 2 = 0.6931. Sure and wrong has no limit.".into(),
                    format!("Who knows nothing of ten classes gives each a tenth, and pays ln 10 = {:.4}.", 10f64.ln()),
                    "Accuracy asks only which share is the largest. The loss asks how large the true one is.".into(),
                    "Its gradient is simple: at each logit the share, minus 1 at the true class.".into(),
                ] },
                vec![self.run(topic, |run| {
                    let Epoch { epoch, test_loss, .. } = run.last();
                    if text.is_some() {
                        return Some(format!(
                            "the validation loss after {} is {test_loss:.4} nats: as if every {} got the share e^-{test_loss:.4} = {}. \
                             That is {:.3} bits.",
                            run.place(run.last()), run.token(), percent((-test_loss).exp()), test_loss / 2f64.ln()
                        ));
                    }
                    Some(format!(
                        "the test loss after epoch {epoch} is {test_loss:.4} nats: as if every true class got e^-{test_loss:.4} = {}.",
                        percent((-test_loss).exp())
                    ))
                })],
                trace(),
            ),
            Topic::Perplexity => (
                if let Some(shape) = &text { vec![
                    "Perplexity is e to the power of the cross-entropy.".into(),
                    "It says between how many equally likely tokens a language model hesitates before each token.".into(),
                    format!("1 is sure and right. The size of the vocabulary, here {}, is a guess.", shape.vocabulary),
                    "More than that is sure and wrong.".into(),
                    "Models with other tokens cannot be compared by it: a word is harder to guess than a letter.".into(),
                    "Bits per character can, for they ask how long the whole text is.".into(),
                ] } else { vec![
                    "Perplexity is e to the power of the cross-entropy.".into(),
                    "It says between how many equally likely classes a network hesitates.".into(),
                    "1 is sure and right. 10 of ten classes is a guess. More than 10 is sure and wrong.".into(),
                    "Language models are measured by it: they hesitate between ten or twenty of tens of thousands of words.".into(),
                    "Of ten digits it says no more than the loss does, on a scale that can be pictured.".into(),
                ] },
                vec![self.run(topic, |run| {
                    let Epoch { epoch, test_loss, test_accuracy, .. } = run.last();
                    if let Some(shape) = &text {
                        return Some(format!(
                            "choosing the next {} is like choosing between e^{test_loss:.4} = {:.3} of {} {}s after {}. After {} it was {:.3}.",
                            run.token(), test_loss.exp(), shape.vocabulary, run.token(), run.place(run.last()),
                            run.place(run.first()), run.first().test_loss.exp()
                        ));
                    }
                    let classes = run.layers().last()?[0];
                    Some(format!(
                        "it is e^{test_loss:.4} = {:.3} of {classes} classes after epoch {epoch}, with {} of the images right.",
                        test_loss.exp(), percent(*test_accuracy)
                    ))
                })],
                command(&[&"eval", &format!("{run}/{}", crate::train::MODEL)]),
            ),
            Topic::Embedding => (
                vec![
                    "A network computes with numbers, so each token needs some. The embedding is a table of floats.".into(),
                    "It has a row for each token of the vocabulary, as long as the network is wide.".into(),
                    "The row of a token begins the residual stream. Every layer adds to the stream what it found.".into(),
                    "At the end the same table is read the other way, after a last RMSNorm.".into(),
                    "The logit of a token is the sum of its row times the stream.".into(),
                    "So one table is both ends of the network. That is called tied.".into(),
                    "It stays in floats, as in BitNet. Only the matrices between its two ends have trits.".into(),
                ],
                vec![self.run(topic, |_| {
                    let shape = text.as_ref()?;
                    let (rows, cols) = (shape.vocabulary, shape.width);
                    let all: usize = shape.parameters().iter().map(|parameter| parameter.count()).sum();
                    Some(format!(
                        "the embedding has {rows} rows of {cols} floats, {} of {} parameters: {}.",
                        thousands(rows * cols), thousands(all), percent((rows * cols) as f64 / all as f64)
                    ))
                })],
                trace(),
            ),
            Topic::Attention => (
                vec![
                    "Attention lets a token read the tokens before it. Each head makes three rows of every token.".into(),
                    "The query q says what a token looks for, the key k what it offers, the value v what it gives.".into(),
                    "The score of two tokens is q . k / sqrt(e), with e the width of a head.".into(),
                    "Softmax makes shares p of the scores. The head gives the sum of p v over all tokens that it sees.".into(),
                    "A token sees itself and those before it, or it would read the answer. That is called causal.".into(),
                    "q, k and v come from ternary matrices. Scores, softmax and sums are floats.".into(),
                    "While a text is made, a cache keeps keys and values: a new token costs one pass of one token.".into(),
                ],
                vec![self.run(topic, |_| {
                    let shape = text.as_ref()?;
                    let TransformerShape { layers, heads, kv_heads, context, .. } = *shape;
                    let cache = layers * 2 * context * kv_heads * shape.head() * 4;
                    Some(format!(
                        "{layers} layers have {heads} heads, each {} wide. A full context of {context} tokens has {} scores in all, \
                         and its cache takes {} bytes.",
                        shape.head(), thousands(layers * heads * context * (context + 1) / 2), thousands(cache)
                    ))
                })],
                trace(),
            ),
            Topic::Rope => (
                vec![
                    "A sum has no order: attention alone would not know which token came first.".into(),
                    "RoPE, rotary position embedding, turns every query and key by angles that grow with the position p.".into(),
                    "Numbers i and i + e / 2 of a head are a point in a plane. It is turned by p theta^(-2i / e).".into(),
                    "If both are turned, their product depends on the difference of the two positions alone.".into(),
                    "So a head can look at the token before, wherever it stands.".into(),
                    "The first pairs turn fast and tell neighbours apart. The last turn slowly and tell near from far.".into(),
                    "Values are not turned, and nothing is learned. Past the trained context the angles are strange.".into(),
                ],
                vec![self.run(topic, |_| {
                    let shape = text.as_ref()?;
                    let pairs = shape.head() / 2;
                    let turn = |i: usize| std::f64::consts::TAU * shape.theta.powf(2.0 * i as f64 / shape.head() as f64);
                    Some(format!(
                        "a head has {pairs} pairs and theta is {}: the first turns once in {:.1} tokens, the last in {}. The context has {}.",
                        shape.theta, turn(0), thousands(turn(pairs - 1) as usize), shape.context
                    ))
                })],
                trace(),
            ),
            Topic::Adam => (
                vec![
                    "A gradient says which way, not how far. Adam keeps two running means for each weight:".into(),
                    "m, the mean gradient (of about 10 steps), and v, the mean square (of about 1,000).".into(),
                    "A step is W <- W - lr m / (sqrt(v) + 1e-8), with m and v corrected for having begun at 0.".into(),
                    "So weights with large and with small gradients move about equally far, by lr at most or so.".into(),
                    match text {
                        Some(_) => "AdamW lets weights decay beside that, by --weight-decay, in the first half of the steps.".into(),
                        None => "AdamW lets weights decay beside that, by --weight-decay; it is 0 unless asked for.".into(),
                    },
                    format!(
                        "lr rises for {} and falls to 0 along a cosine: only then do trits come to rest.",
                        if text.is_some() { "--warmup steps" } else { "half an epoch" }
                    ),
                    "Training holds three floats for each weight: W, m and v. The model holds one trit.".into(),
                ],
                vec![self.run(topic, |run| {
                    let config = &run.config["config"];
                    Some(format!(
                        "{} had a peak lr of {} and stood at {} after step {}.",
                        config["optimizer"].as_str()?, config["lr"].as_f64()?, short(run.last().lr), thousands(run.last().step)
                    ))
                })],
                match text {
                    Some(_) => command(&[&"train", &"--text", &"--optimizer", &"sgd", &"--steps", &"200"]),
                    None => command(&[&"train", &"--optimizer", &"sgd", &"--epochs", &"2"]),
                },
            ),
            Topic::Formats => {
                let all = formats();
                let of = |name: &str| all.iter().find(|format| format.name == name).map_or(f64::NAN, |format| format.bits / 8.0);
                let bytes = ["FP32", "FP16", "INT8", "ternary", "ternary, five to a byte"].map(of);
                let told = |of: &dyn Fn(f64) -> String| {
                    let [f32, f16, i8, two, five] = bytes.map(of);
                    format!("{f32} in f32, {f16} in f16, {i8} in int8, {two} in 2 bits, {five} in base 3")
                };
                (
                    vec![
                        "A format spends bits on range and on digits.".into(),
                        "f32 has 8 bits of exponent and 23 of fraction, f16 has 5 and 10, bf16 has 8 and 7.".into(),
                        "int8 counts from -128 to 127 exactly; one float says what a step is worth.".into(),
                        format!("A trit has three values, {:.3} bits. In 2 bits one code of four is never used.", 3f64.log2()),
                        "Five trits fit a byte, for 3^5 = 243: 1.6 bits each, and work to take them apart.".into(),
                        format!("7 billion weights take, in GB: {}.", told(&|bytes| format!("{:.1}", 7.0 * bytes))),
                    ],
                    vec![self.run(topic, |run| {
                        let weights = run.weights()? as f64;
                        let told = told(&|bytes| thousands((weights * bytes).ceil() as usize));
                        Some(format!("the weights take, in bytes without padding: {told}."))
                    })],
                    command(&[&"formats"]),
                )
            }
            Topic::Wall => (
                vec![
                    "For one answer a model reads every weight once and uses it for two operations.".into(),
                    "Memory brings far fewer weights a second than arithmetic could use. That is the wall.".into(),
                    "So the time of an answer is bytes over bandwidth, and half the bits take half the time.".into(),
                    "The ridge is the number of operations for each byte at which both take equally long.".into(),
                    "Left of it memory decides, right of it arithmetic. One row is left, a large batch is right.".into(),
                ],
                vec![self.wall(|wall| {
                    let (read, ridge) = (wall.ceilings.read.value()? / 1e9, wall.summary.ridge_f32?);
                    let of = |format: &str| {
                        wall.models.iter().find(|model| model.name == "LLaMA 7B" && model.format == format)
                    };
                    let (f16, trits) = (of("f16")?.load_seconds?, of("2-bit")?.load_seconds?);
                    let text = wall.text.as_ref().and_then(|rate| {
                        let found = rate.wall?;
                        Some(format!(
                            " BitNet 2B4T writes {:.1} tokens a second; its bytes allow {:.1}, bytes and launches {:.1}.",
                            rate.mean().0,
                            1.0 / found.memory_seconds,
                            1.0 / found.seconds()
                        ))
                    });
                    Some(format!(
                        "memory is read at {read:.1} GB/s: the weights of a 7B model in {f16:.2} s in f16, in {trits:.2} s in \
                         2 bits. The ridge of f32 is at {ridge:.1} operations a byte.{}",
                        text.unwrap_or_default()
                    ))
                })],
                command(&[&"wall", &"--quick"]),
            ),
            Topic::Energy => {
                let mut watch = Watch { tell: &mut |_| (), stop: &|| false };
                let tables = energy(ENERGY_SHAPE, Err("only the tables are shown"), &mut watch).models;
                let mut sentences = vec![
                    "Adding costs less energy than multiplying, and few bits cost less than many.".to_string(),
                    "Published tables say how much an f16 multiply-add costs beside an int8 addition.".into(),
                ];
                sentences.extend(tables.iter().map(|model| {
                    let whole = model.ratio_with_memory.zip(model.memory.as_ref());
                    let whole = whole.map(|(ratio, memory)| format!(", and with weights read from {memory} {ratio:.1} times"));
                    format!("By {} it is {:.1} times{}.", model.title, model.ratio_published, whole.unwrap_or_default())
                }));
                sentences.extend([
                    "A weight must be read before it is used, and reading it costs more than any arithmetic.".to_string(),
                    "So whatever factor the arithmetic has, 50 or 500, the whole ends near that of the bits: 16 to 2, 8 times.".into(),
                ]);
                let numbers = vec![self.wall(|wall| {
                    let of = |format: &str| wall.energy.joules.iter().find(|joules| joules.format == format);
                    Some(match (of("f16"), of("2-bit")) {
                        (Some(f16), Some(trits)) => format!(
                            "a counter says {:.0} pJ for a weight in f16 and {:.0} pJ in 2 bits.",
                            f16.pj_per_weight, trits.pj_per_weight
                        ),
                        _ => format!("energy is {}.", wall.energy.measured.trim_end_matches('.')),
                    })
                })];
                (sentences, numbers, command(&[&"energy", &"--tables-only"]))
            }
        };
        numbers.dedup();
        (sentences, numbers, see)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of two epochs, and the wall.json of the repository.
    fn facts() -> Facts {
        let epoch = |epoch: usize| -> Epoch {
            serde_json::from_value(json!({
                "epoch": epoch, "step": 469 * epoch, "lr": 1e-3, "train_loss": 0.5, "train_accuracy": 0.9,
                "test_loss": 0.1, "test_accuracy": 0.97, "flips": 0.25, "zeros": [0.5, 0.25], "losses_every": 10,
                "losses": [2.0, 0.5], "seconds": 3.0, "elapsed_seconds": 4.0, "schema": 1, "sterna_version": "0",
            }))
            .expect("an epoch")
        };
        let config = json!({"dims": [4, 3, 2], "config": {"optimizer": "adamw", "lr": 0.003}});
        let run = Ran { path: "runs/one".into(), config, epochs: vec![epoch(1), epoch(2)] };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("benches/runs/2026-11-25-lavapipe-final/wall.json");
        let wall = wall::read(&path).unwrap_or_else(|failure| panic!("{}", failure.0));
        Facts { run: Some(run), wall: Some((path, wall)) }
    }

    /// A run on a text, of two evaluations.
    fn facts_of_text() -> Facts {
        let mut facts = facts();
        let run = facts.run.as_mut().expect("a run");
        let config = TextConfig { layers: 2, ..TextConfig::default() };
        let data = json!({"unit": "characters", "vocabulary": 63});
        run.config = json!({"network": TRANSFORMER, "config": config, "data": data});
        for (epoch, loss) in run.epochs.iter_mut().zip([2.0, 1.5]) {
            (epoch.test_loss, epoch.zeros) = (loss, [vec![0.5; 7], vec![0.25; 7]].concat());
            epoch.sample = Some("\nab\nTo be, or not to be: so\n".into());
        }
        facts
    }

    #[test]
    fn a_text_has_a_vocabulary_where_digits_have_classes() {
        let facts = facts_of_text();
        let said = |topic| {
            let (sentences, numbers, see) = facts.explain(topic);
            [sentences, numbers, vec![see]].concat().join(" ")
        };
        for &topic in Topic::value_variants() {
            let (sentences, numbers, see) = facts.explain(topic);
            let lines = wrapped(&sentences.join(" "));
            assert!((4..=10).contains(&lines.lines().count()), "{topic:?}: {lines}");
            let text = numbers.join("\n");
            assert!(!text.contains("No run here") && !text.contains("NaN"), "{topic:?}: {text}");
            assert!(!see.contains("--index") && !see.contains("--epochs"), "{topic:?}: {see}");
        }
        assert!(said(Topic::Perplexity).contains("e^1.5000 = 4.482 of 63 characters after step 938"));
        assert!(said(Topic::CrossEntropy).contains("ln 63 = 4.1431"));
        assert!(said(Topic::CrossEntropy).contains("That is 2.164 bits"));
        assert!(said(Topic::Trit).contains("layer by layer 50.0, 25.0 %"));
        assert!(said(Topic::Matmul).contains("qkv 384 x 128"));
        assert!(said(Topic::Embedding).contains("63 rows of 128 floats"));
        assert!(
            said(Topic::Attention).contains("trace runs/one 'To be, or not to'"),
            "{}",
            said(Topic::Attention)
        );
        assert!(said(Topic::Rope).contains("the first turns once in 6.3 tokens"));
    }

    #[test]
    fn every_topic_is_short_and_has_the_numbers_that_there_are() {
        let (with, without) = (facts(), Facts { run: None, wall: None });
        for &topic in Topic::value_variants().iter().filter(|topic| !topic.is_of_text()) {
            let (sentences, numbers, see) = with.explain(topic);
            let text = numbers.join("\n");
            assert!(text.contains("In runs/one, ") || text.contains("On llvmpipe "), "{topic:?}: {text}");
            assert!(
                !text.contains("No run here") && !text.contains("No wall.json here"),
                "{topic:?}: {text}"
            );
            let lines = wrapped(&sentences.join(" "));
            assert!((4..=10).contains(&lines.lines().count()) && !text.contains("NaN"), "{topic:?}: {lines}");
            assert!(lines.lines().all(|line| line.chars().count() <= 80), "{topic:?}: {lines}");
            assert!(see.contains(' '), "{topic:?}: {see}");
            let (_, numbers, _) = without.explain(topic);
            let told = ["No run here", "No wall.json here"];
            assert!(numbers.iter().all(|line| told.iter().any(|told| line.starts_with(told))), "{topic:?}");
        }
        let said = |topic| {
            let (sentences, numbers, _) = with.explain(topic);
            [sentences, numbers].concat().join(" ")
        };
        // Half of 12 weights are 0, and a quarter of 6 weights.
        assert!(said(Topic::Trit).contains("41.67 % of 18 weights are 0, layer by layer 50.0, 25.0 %"));
        assert!(said(Topic::Linear).contains("2 layers have 18 weights, 7 gains and no bias"));
        assert!(said(Topic::Perplexity).contains("e^0.1000 = 1.105 of 2 classes"));
        assert!(said(Topic::Energy).contains("71.4 times, and with weights read from HBM2 8.0 times"));
    }
}
