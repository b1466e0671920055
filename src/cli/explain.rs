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
use crate::report::{short, thousands};
use crate::train::{Epoch, below, epochs};

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
    /// The loss of a classifier, in nats.
    CrossEntropy,
    /// Between how many classes a network hesitates.
    Perplexity,
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
    /// Its name on the command line, and what it is about.
    fn words(self) -> (String, String) {
        let value = self.to_possible_value().expect("every topic has a name");
        (value.get_name().into(), value.get_help().map(ToString::to_string).unwrap_or_default())
    }
}

pub fn run(flags: &Flags) -> Outcome {
    let Some(topic) = flags.topic else { return list(flags.json) };
    let facts = Facts { run: Ran::find(flags.run.as_deref())?, wall: measured() };
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

/// The newest run on digits: the numbers here are about pixels and classes.
fn newest_of_digits() -> Option<PathBuf> {
    below(Path::new(RUNS)).0.into_iter().find(|run| !run.is_text()).map(|run| run.path)
}

/// A run of which an epoch at least is done.
struct Ran {
    path: PathBuf,
    config: Value,
    epochs: Vec<Epoch>,
}

impl Ran {
    /// The requested run, or else the newest run that has numbers.
    fn find(asked: Option<&Path>) -> Result<Option<Ran>, Failure> {
        let Some(path) = asked.map(Path::to_path_buf).or_else(newest_of_digits) else {
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

    /// Rows and columns of each layer.
    fn layers(&self) -> Vec<[usize; 2]> {
        let dims = self.config["dims"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let dims: Vec<usize> = dims.map(|width| width as usize).collect();
        dims.windows(2).map(|pair| [pair[1], pair[0]]).collect()
    }

    fn weights(&self) -> Option<usize> {
        let weights = self.layers().iter().map(|[rows, cols]| rows * cols).sum();
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
    fn run(&self, told: impl Fn(&Ran) -> Option<String>) -> String {
        match self.run.as_ref().and_then(|run| Some((run, told(run)?))) {
            Some((run, told)) => format!("In {}, {told}", shown(&run.path)),
            None => format!(
                "No run here has numbers for this; to make them: {}",
                command(&[&"train", &"--epochs", &"2"])
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
        let trace = || command(&[&"trace", &run, &"--index", &"0"]);
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
                vec![self.run(|run| {
                    let (zeros, all) = (&run.last().zeros, run.weights()?);
                    let none: f64 = zeros.iter().zip(run.layers()).map(|(share, [rows, cols])| share * (rows * cols) as f64).sum();
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
                    self.run(|run| {
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
                    "Between two layers stands ReLU: negative sums become 0.".into(),
                ],
                vec![self.run(|run| {
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
                vec![self.run(|run| {
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
                vec![self.run(|run| {
                    let flips = |epoch: &Epoch| Some(format!("{} in epoch {}", percent(epoch.flips?), epoch.epoch));
                    Some(format!("so many trits flipped: {}, {}.", flips(run.first())?, flips(run.last())?))
                })],
                command(&[&"train", &"--compare", &"--no-shadow", &"--epochs", &"5"]),
            ),
            Topic::CrossEntropy => (
                vec![
                    "A network gives each class a logit z. Softmax makes shares of them: e^z over the sum of all e^z.".into(),
                    "The loss of an image is -ln of the share that its true class got, in nats.".into(),
                    "Sure and right costs 0. A share of half costs ln 2 = 0.6931. Sure and wrong has no limit.".into(),
                    format!("Who knows nothing of ten classes gives each a tenth, and pays ln 10 = {:.4}.", 10f64.ln()),
                    "Accuracy asks only which share is the largest. The loss asks how large the true one is.".into(),
                    "Its gradient is simple: at each logit the share, minus 1 at the true class.".into(),
                ],
                vec![self.run(|run| {
                    let Epoch { epoch, test_loss, .. } = run.last();
                    Some(format!(
                        "the test loss after epoch {epoch} is {test_loss:.4} nats: as if every true class got e^-{test_loss:.4} = {}.",
                        percent((-test_loss).exp())
                    ))
                })],
                trace(),
            ),
            Topic::Perplexity => (
                vec![
                    "Perplexity is e to the power of the cross-entropy.".into(),
                    "It says between how many equally likely classes a network hesitates.".into(),
                    "1 is sure and right. 10 of ten classes is a guess. More than 10 is sure and wrong.".into(),
                    "Language models are measured by it: they hesitate between ten or twenty of tens of thousands of words.".into(),
                    "Of ten digits it says no more than the loss does, on a scale that can be pictured.".into(),
                ],
                vec![self.run(|run| {
                    let Epoch { epoch, test_loss, test_accuracy, .. } = run.last();
                    let classes = run.layers().last()?[0];
                    Some(format!(
                        "it is e^{test_loss:.4} = {:.3} of {classes} classes after epoch {epoch}, with {} of the images right.",
                        test_loss.exp(), percent(*test_accuracy)
                    ))
                })],
                command(&[&"eval", &format!("{run}/{}", crate::train::MODEL)]),
            ),
            Topic::Adam => (
                vec![
                    "A gradient says which way, not how far. Adam keeps two running means for each weight:".into(),
                    "m, the mean gradient (of about 10 steps), and v, the mean square (of about 1,000).".into(),
                    "A step is W <- W - lr m / (sqrt(v) + 1e-8), with m and v corrected for having begun at 0.".into(),
                    "So weights with large and with small gradients move about equally far, by lr at most or so.".into(),
                    "AdamW lets weights decay beside that, by --weight-decay; it is 0 unless asked for.".into(),
                    "lr rises for half an epoch and falls to 0 along a cosine: only then do trits come to rest.".into(),
                    "Training holds three floats for each weight: W, m and v. The model holds one trit.".into(),
                ],
                vec![self.run(|run| {
                    let config = &run.config["config"];
                    Some(format!(
                        "{} had a peak lr of {} and stood at {} after step {}.",
                        config["optimizer"].as_str()?, config["lr"].as_f64()?, short(run.last().lr), thousands(run.last().step)
                    ))
                })],
                command(&[&"train", &"--optimizer", &"sgd", &"--epochs", &"2"]),
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
                    vec![self.run(|run| {
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
                    Some(format!(
                        "memory is read at {read:.1} GB/s: the weights of a 7B model in {f16:.2} s in f16, in {trits:.2} s in \
                         2 bits. The ridge of f32 is at {ridge:.1} operations a byte."
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

    #[test]
    fn every_topic_is_short_and_has_the_numbers_that_there_are() {
        let (with, without) = (facts(), Facts { run: None, wall: None });
        for &topic in Topic::value_variants() {
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
