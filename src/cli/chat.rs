//! `sterna chat`: a conversation with a language model that was taught to answer.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::arguments::whole;
use super::generate::{Out, SamplingFlags};
use super::{DeviceFlags, Failure, Outcome, Verdict, failure, interrupt, network, object, runs, shown};
use crate::generate::{Characters, Generator};
use crate::gpu::Gpu;
use crate::kernels::KeyForm;
use crate::model::Transformer;
use crate::text::Vocabulary;
use crate::text::chat::{Form, Message, Role};

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// A folder of Hugging Face, a GGUF file or a packed file with a model that was taught to answer.
    model: PathBuf,
    /// Instructions for the network, before the first message.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Number of tokens in an answer at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 512, value_parser = whole::<usize>(1, 1 << 24))]
    tokens: usize,
    #[command(flatten)]
    sampling: SamplingFlags,
    #[command(flatten)]
    network: network::TextFlags,
    /// Print one JSON object on one line at the end, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

const NOTES: &str = "\
Each line of stdin is a message, and stdout is the answers alone. Ctrl-C ends an answer; at the prompt it ends the \
program, as the end of stdin does. The form of the chat belongs to the model: that of BitNet b1.58 2B4T for a ternary \
model, ChatML for SmolLM2. A message is plain text, so the name of a special token in it has no effect.

The model sees the whole chat. When the chat does not fit the context, the oldest messages are left out, and stderr says \
so.

Examples:
  sterna chat bitnet-b1.58-2B-4T
  sterna chat ggml-model-i2_s.gguf --system \"You answer in one sentence.\"
  echo \"What is a trit?\" | sterna chat model.gguf --greedy --json";

pub fn run(flags: &Flags) -> Outcome {
    let model = runs::model(&flags.model)?;
    let (opened, shape, vocabulary) = flags.network.open(&model, usize::MAX)?;
    let form = Form::of(&vocabulary, shape.sub_norms);
    let form = form.map_err(|what| failure(format!("{}: {what}", shown(&flags.model))))?;
    let gpu = flags.device.open()?;
    let network = flags.network.upload(&gpu, &opened, &shape)?;
    super::tell(format!("{} on {}", shown(&flags.model), super::gpu_line(&gpu)));
    interrupt::listen()?;
    let system = flags.system.iter().map(|text| Message { role: Role::System, content: text.clone() });
    let mut chat = Chat {
        flags,
        gpu: &gpu,
        network,
        vocabulary,
        form,
        messages: system.collect(),
        text: None,
        tokens: 0,
        seconds: 0.0,
    };
    let asks = std::io::stdin().is_terminal();
    loop {
        if asks && !flags.json {
            let _ = write!(std::io::stderr(), "> ").and_then(|()| std::io::stderr().flush());
        }
        let Some(message) = line()? else { break };
        if message.trim().is_empty() {
            continue;
        }
        if chat.answer(message)? {
            break;
        }
    }
    if flags.json {
        let mut line = super::device_json(&gpu);
        let said = |message: &Message| json!({"role": message.role.name(), "content": message.content});
        let messages: Vec<Value> = chat.messages.iter().map(said).collect();
        line.extend(object(json!({
            "model": super::named(&flags.model), "form": form.name(), "messages": messages, "tokens": chat.tokens,
            "tokens_per_second": if chat.tokens > 0 { Some(chat.tokens as f64 / chat.seconds) } else { None },
        })));
        super::print_json("chat", line)?;
    }
    Ok(Verdict::Yes)
}

/// The next line of stdin. A signal during this ends the program.
fn line() -> Result<Option<String>, Failure> {
    let mut bytes = Vec::new();
    let read = interrupt::ending(|| std::io::stdin().lock().read_until(b'\n', &mut bytes));
    match read {
        Ok(0) => Ok(None),
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\n', '\r']).into())),
            Err(error) => Err(failure(format!(
                "a message is not UTF-8 at byte {}: send text",
                error.utf8_error().valid_up_to()
            ))),
        },
        Err(reason) => Err(failure(format!("stdin cannot be read: {reason}"))),
    }
}

struct Chat<'a> {
    flags: &'a Flags,
    gpu: &'a Gpu,
    network: Transformer,
    vocabulary: Vocabulary,
    form: Form,
    messages: Vec<Message>,
    /// The chat so far on the device, and the number of its tokens.
    text: Option<(Generator, usize)>,
    /// New tokens in all answers, and the seconds that they took.
    tokens: usize,
    seconds: f64,
}

impl Chat<'_> {
    /// Answers a message. It returns whether the reader of stdout is gone.
    fn answer(&mut self, message: String) -> Result<bool, Failure> {
        let end = self.vocabulary.special(self.form.marks()[1]).expect("a mark of the form");
        let before = self.ids(&self.messages, false)?;
        self.messages.push(Message { role: Role::User, content: message });
        let all = self.ids(&self.messages, true)?;
        // The tokens of the answers on the device are those that the network chose, up to the mark at the end. Only what
        // follows is added.
        let new = &all[before.iter().rposition(|&id| id == end).map_or(0, |at| at + 1)..];
        let context = self.network.shape.context;
        let room = self.flags.tokens.min(context / 2);
        let (mut text, mut length) = match self.text.take() {
            Some((mut text, length)) if length + new.len() + room <= context => {
                text.extend(new).map_err(failure)?;
                (text, length + new.len())
            }
            _ => match self.fitting(context - room)? {
                Some(ids) => {
                    let form = self.flags.network.keys(KeyForm::F16);
                    let text = Generator::new(self.gpu, &self.network, &ids, form);
                    let shape = &self.network.shape;
                    (text.map_err(|error| self.flags.network.unfit(shape, error))?, ids.len())
                }
                None => {
                    super::warn(format!(
                        "sterna: the message has {} tokens with its frame, but the context of {context} leaves {}: give \
                         a shorter one",
                        new.len(),
                        context - room
                    ));
                    self.messages.pop();
                    return Ok(false);
                }
            },
        };
        let (mut out, mut characters) = (Out::new(self.flags.json), Characters::default());
        let (start, mut answer) = (Instant::now(), Vec::new());
        let sampling = self.flags.sampling.sampling();
        interrupt::forget();
        let (mut ended, mut printed) = (false, Ok(()));
        let (most, at_once) =
            (self.flags.tokens.min(context - length), self.flags.sampling.at_once(self.gpu));
        let written = text.generate(&sampling, most, at_once, &mut |id| {
            length += 1;
            self.tokens += 1;
            ended = id == end;
            if ended || self.vocabulary.stops().contains(&id) {
                return false;
            }
            answer.push(id);
            printed = out.print(&characters.push(&self.vocabulary.decode_bytes(&[id])));
            printed.is_ok() && !interrupt::asked() && !out.closed
        });
        printed?;
        written.map_err(|error| failure(format!("{}: {error}", shown(&self.flags.model))))?;
        self.seconds += start.elapsed().as_secs_f64();
        interrupt::forget();
        out.print(&characters.finish())?;
        out.print("\n")?;
        let content = self.vocabulary.decode(&answer);
        self.messages.push(Message { role: Role::Assistant, content });
        if !ended && length < context {
            text.push(end).map_err(failure)?;
            length += 1;
        }
        self.text = Some((text, length));
        Ok(out.closed)
    }

    /// The ids of the chat with as many of the newest messages as `most` tokens hold. The instructions stay. It is
    /// `None` if not even the newest message fits.
    fn fitting(&mut self, most: usize) -> Result<Option<Vec<u32>>, Failure> {
        let first = self.messages.iter().take_while(|message| message.role == Role::System).count();
        let mut dropped = 0;
        loop {
            let kept = [&self.messages[..first], &self.messages[first + dropped..]].concat();
            let ids = self.ids(&kept, true)?;
            if ids.len() <= most {
                if dropped > 0 {
                    super::tell(format!(
                        "sterna: the chat is longer than the context: its first {dropped} messages are left out"
                    ));
                    self.messages = kept;
                }
                return Ok(Some(ids));
            }
            // A question leaves with its answer.
            dropped += 2;
            if first + dropped >= self.messages.len() {
                return Ok(None);
            }
        }
    }

    fn ids(&self, messages: &[Message], answer: bool) -> Result<Vec<u32>, Failure> {
        self.form
            .ids(&self.vocabulary, messages, answer)
            .map_err(|error| failure(format!("the message: {error}")))
    }
}
