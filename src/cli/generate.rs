//! `sterna generate`: writes text with a language model, token by token.

use std::ffi::OsString;
use std::io::Write;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::arguments::{real, some, whole};
use super::{DeviceFlags, Failure, LINES, Outcome, Verdict, escaped, failure, network, object, runs, shown};
use crate::generate::{Characters, Generator, Sampling};
use crate::gpu::Gpu;
use crate::kernels::KeyForm;
use crate::model::{MOST_AT_ONCE, TransformerShape};
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
    /// The prompt as ids of tokens, in place of a text. Exactly these are read.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',', conflicts_with = "prompt", value_parser = whole::<u32>(0, u32::MAX.into()))]
    ids: Option<Vec<u32>>,
    /// Number of new tokens at most. A token that ends a text ends it earlier.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200, value_parser = whole::<usize>(1, 1 << 24))]
    tokens: usize,
    #[command(flatten)]
    sampling: SamplingFlags,
    #[command(flatten)]
    network: network::TextFlags,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// How the next token is chosen.
#[derive(Args)]
pub struct SamplingFlags {
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
    /// Tokens that the device writes before the host reads them. More of them hide the way to the host, and fewer appear
    /// sooner. They do not change the text. [default: 8, and 1 on a software rasteriser]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST_AT_ONCE as u64))]
    at_once: Option<usize>,
}

impl SamplingFlags {
    pub fn sampling(&self) -> Sampling {
        let SamplingFlags { temperature, top_k, top_p, seed, greedy, .. } = *self;
        if greedy { Sampling::GREEDY } else { Sampling { temperature, top_k, top_p, seed } }
    }

    /// Tokens of one submission.
    pub fn at_once(&self, gpu: &Gpu) -> usize {
        self.at_once.unwrap_or(if gpu.is_software() { 1 } else { 8 })
    }
}

const NOTES: &str = "\
stdout is the prompt and the text that follows it. With --json, `ids` and `text` are the new part alone. Without a \
prompt, the text begins as after a line end, or after the first character of the vocabulary if that has no line end.

A model is a run's folder, a packed file, a folder of Hugging Face, or a GGUF file: BitNet b1.58 (I2_S, TQ1_0, TQ2_0) or \
a LLaMA. Its tokenizer may put a token before every text; --ids are exactly the tokens that are read. A token that ends a \
text ends the answer.

A network knows no place past the context that it was trained with. When the context is full, its second half is read \
again from the beginning, and the text goes on. `tokens_per_second` counts new tokens, without the reading of the prompt.

Examples:
  sterna generate \"ROMEO:\"                       by the newest run of text
  sterna generate runs/NAME \"ROMEO:\" --greedy
  sterna generate runs/NAME -n 1000 --temperature 1 --top-p 0.9 --seed 7
  sterna generate bitnet-b1.58-2B-4T \"The capital of France is\" --greedy -n 20
  sterna generate ggml-model-i2_s.gguf --ids 128000,9906 --context 1024";

pub fn run(flags: &Flags) -> Outcome {
    let sampling = flags.sampling.sampling();
    let (named, prompt) = runs::model_and_text(flags.run.as_deref(), flags.prompt.as_deref())?;
    let file = runs::model_or_newest(named, runs::TEXT, Found::is_text)?;
    let (opened, shape, vocabulary) = flags.network.open(&file, usize::MAX)?;
    let ids = flags
        .ids
        .as_ref()
        .map_or_else(|| read(&vocabulary, prompt.unwrap_or_default()), |ids| known(&shape, ids));
    let prompt_ids = ids?;
    if prompt_ids.len() > shape.context {
        return Err(failure(format!(
            "the prompt has {} {}, but {} has a context of {}: give a shorter one",
            prompt_ids.len(),
            vocabulary.unit(),
            shown(&file),
            shape.context
        )));
    }
    let gpu = flags.device.open()?;
    let network = flags.network.upload(&gpu, &opened, &shape)?;
    super::tell(format!("{} on {}", shown(&file), super::gpu_line(&gpu)));

    let silent = [first(&vocabulary)];
    let read = if prompt_ids.is_empty() { &silent[..] } else { &prompt_ids };
    let form = flags.network.keys(KeyForm::F16);
    let text = Generator::new(&gpu, &network, read, form);
    let mut text = text.map_err(|error| flags.network.unfit(&shape, error))?;
    gpu.wait(None).map_err(failure)?;
    let mut out = Out::new(flags.json);
    let mut characters = Characters::default();
    let begin = prompt.map_or_else(|| vocabulary.decode(&prompt_ids), String::from);
    out.print(&characters.push(begin.as_bytes()))?;
    let (start, mut ids) = (Instant::now(), Vec::new());
    let mut stopped = false;
    let mut printed = Ok(());
    let written = text.generate(&sampling, flags.tokens, flags.sampling.at_once(&gpu), &mut |id| {
        ids.push(id);
        stopped = vocabulary.stops().contains(&id);
        if !stopped {
            printed = out.print(&characters.push(&vocabulary.decode_bytes(&[id])));
        }
        !stopped && !out.closed && printed.is_ok()
    });
    printed?;
    written.map_err(|error| failure(format!("{}: {error}", shown(&file))))?;
    let seconds = start.elapsed().as_secs_f64();
    out.print(&characters.finish())?;
    out.print("\n")?;
    let rate = ids.len() as f64 / seconds;
    super::tell(format!("{} in {seconds:.2} s, {rate:.1} a second", super::counted(ids.len(), "token")));
    if flags.json {
        let mut line = super::device_json(&gpu);
        let written = &ids[..ids.len() - usize::from(stopped)];
        line.extend(object(json!({
            "model": super::named(&file), "prompt": prompt, "prompt_ids": prompt_ids, "ids": ids,
            "text": vocabulary.decode(written), "stopped": stopped, "tokens_per_second": rate, "context": shape.context,
            "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p,
            "seed": sampling.seed, "keys": form.name(),
        })));
        super::print_json("generate", line)?;
    }
    Ok(Verdict::Yes)
}

/// The ids of a prompt. A vocabulary may have a token with which every text begins.
fn read(vocabulary: &Vocabulary, prompt: &str) -> Result<Vec<u32>, Failure> {
    let ids = vocabulary.encode(prompt).map_err(|error| failure(format!("the prompt: {error}")))?;
    Ok(vocabulary.bos().into_iter().chain(ids).collect())
}

/// The ids of `--ids`, if the network knows them.
fn known(shape: &TransformerShape, ids: &[u32]) -> Result<Vec<u32>, Failure> {
    match ids.iter().find(|&&id| id as usize >= shape.vocabulary) {
        Some(id) => {
            Err(failure(format!("--ids has {id}: the network has the ids 0 to {}", shape.vocabulary - 1)))
        }
        None => Ok(ids.to_vec()),
    }
}

/// The token that represents the beginning of a text.
fn first(vocabulary: &Vocabulary) -> u32 {
    vocabulary.bos().unwrap_or_else(|| vocabulary.encode("\n").map_or(0, |ids| ids[0]))
}

/// The text on stdout, written while it is generated.
pub struct Out {
    silent: bool,
    /// Whether the reader of stdout is gone.
    pub closed: bool,
}

impl Out {
    pub fn new(silent: bool) -> Out {
        Out { silent, closed: false }
    }

    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        if self.silent || self.closed || text.is_empty() {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        let outcome = write!(stdout, "{}", escaped(text, LINES)).and_then(|()| stdout.flush());
        self.closed = outcome.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        super::written(outcome)
    }
}
