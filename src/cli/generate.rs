//! `sterna generate`: writes text with a language model, token by token.

use std::ffi::OsString;
use std::io::Write;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::arguments::{real, some, whole};
use super::{DeviceFlags, Failure, LINES, Outcome, Verdict, escaped, failure, network, object, runs, shown};
use crate::generate::{Characters, Generator, Sampling};
use crate::model::Transformer;
use crate::text::Vocabulary;
use crate::train::Found;

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A run's folder, or the file of a language model. If the first word names neither, it is the prompt. [default: the
    /// newest run of text below runs/]
    run: Option<OsString>,
    /// The beginning of the text, which the network continues.
    prompt: Option<String>,
    /// Number of new tokens: characters or bytes.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200, value_parser = whole::<usize>(1, 1 << 24))]
    tokens: usize,
    /// Divide logits by this number before the softmax: below 1 the text is safer, above 1 wilder. 0 always takes the
    /// most probable token.
    #[arg(long, value_name = "T", default_value_t = 0.8, value_parser = real("a number, 0 or more", |t| t >= 0.0 && t.is_finite()))]
    temperature: f64,
    /// Draw from the K most probable tokens only.
    #[arg(long, value_name = "K", value_parser = some)]
    top_k: Option<usize>,
    /// Draw from the fewest most probable tokens whose probabilities together are at least P.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = real("a number above 0, at most 1", |p| p > 0.0 && p <= 1.0))]
    top_p: f64,
    /// Always take the most probable token, as --temperature 0 does.
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "seed"])]
    greedy: bool,
    /// The seed of all draws: one seed makes one text on a device.
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = whole::<u64>(0, u64::MAX))]
    seed: u64,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const NOTES: &str = "\
stdout is the prompt and the text that follows it. With --json, `ids` and `text` are the new part alone. Without a \
prompt, the text begins as after a line end, or after the first character of the vocabulary if that has no line end.

A network knows no place past the context that it was trained with. When the context is full, its second half is read \
again from the beginning, and the text goes on. `tokens_per_second` counts new tokens, without the reading of the prompt.

Examples:
  sterna generate \"ROMEO:\"                       by the newest run of text
  sterna generate runs/NAME \"ROMEO:\" --greedy
  sterna generate runs/NAME -n 1000 --temperature 1 --top-p 0.9 --seed 7";

pub fn run(flags: &Flags) -> Outcome {
    let sampling = flags.sampling();
    let (named, prompt) = runs::model_and_text(flags.run.as_deref(), flags.prompt.as_deref())?;
    let prompt = prompt.unwrap_or_default();
    let file = runs::model_or_newest(named, runs::TEXT, Found::is_text)?;
    let opened = network::open(&file)?;
    let (shape, vocabulary) = network::text(&opened, &file)?;
    let prompt_ids = vocabulary.encode(prompt).map_err(|error| failure(format!("the prompt: {error}")))?;
    if prompt_ids.len() > shape.context {
        return Err(failure(format!(
            "the prompt has {} {}, but {} was trained with a context of {}: give a shorter one",
            prompt_ids.len(),
            vocabulary.unit(),
            shown(&file),
            shape.context
        )));
    }
    let gpu = flags.device.open()?;
    let params = opened.params(&gpu).map_err(failure)?;
    let network = Transformer::new(&gpu, shape.clone(), params).map_err(failure)?;
    super::tell(format!("{} on {}", shown(&file), super::gpu_line(&gpu)));

    let silent = [first(&vocabulary)];
    let read = if prompt_ids.is_empty() { &silent[..] } else { &prompt_ids };
    let mut text = Generator::new(&gpu, &network, read).map_err(failure)?;
    let mut out = Out::new(flags.json);
    let mut characters = Characters::default();
    out.print(&characters.push(prompt.as_bytes()))?;
    let (start, mut ids) = (Instant::now(), Vec::new());
    for _ in 0..flags.tokens {
        if let Some(id) = text.logits().iter().position(|logit| !logit.is_finite()) {
            return Err(failure(format!(
                "{}: the logit of token {id} is {}, expected a number: a scale or a gain is too large",
                shown(&file),
                text.logits()[id]
            )));
        }
        let id = text.next(&sampling).map_err(failure)?;
        ids.push(id);
        out.print(&characters.push(&vocabulary.decode_bytes(&[id])))?;
        if out.closed {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    out.print(&characters.finish())?;
    out.print("\n")?;
    let rate = ids.len() as f64 / seconds;
    super::tell(format!("{} in {seconds:.2} s, {rate:.1} a second", super::counted(ids.len(), "token")));
    if flags.json {
        let mut line = super::device_json(&gpu);
        line.extend(object(json!({
            "model": super::named(&file), "prompt": prompt, "prompt_ids": prompt_ids, "ids": ids,
            "text": vocabulary.decode(&ids), "tokens_per_second": rate, "context": shape.context,
            "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p,
            "seed": sampling.seed,
        })));
        super::print_json("generate", line)?;
    }
    Ok(Verdict::Yes)
}

impl Flags {
    fn sampling(&self) -> Sampling {
        let Flags { temperature, top_k, top_p, seed, greedy, .. } = *self;
        if greedy { Sampling::GREEDY } else { Sampling { temperature, top_k, top_p, seed } }
    }
}

/// The token that represents the beginning of a text.
fn first(vocabulary: &Vocabulary) -> u32 {
    vocabulary.encode("\n").map_or(0, |ids| ids[0])
}

/// The text on stdout, written while it is generated.
struct Out {
    silent: bool,
    /// Whether the reader of stdout is gone.
    closed: bool,
}

impl Out {
    fn new(silent: bool) -> Out {
        Out { silent, closed: false }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        if self.silent || self.closed || text.is_empty() {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        let outcome = write!(stdout, "{}", escaped(text, LINES)).and_then(|()| stdout.flush());
        self.closed = outcome.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        super::written(outcome)
    }
}
