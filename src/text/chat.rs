//! Chats as ids: the two forms in which the networks of this program were taught to answer.
//!
//! A form is the network's, not the user's: another form gives worse answers, and no error. The marks of a form are
//! special tokens. A message is plain text, so a message that contains the text of a mark cannot end a turn.

use super::{EncodeError, Vocabulary};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions for the network, before the chat.
    System,
    /// The human.
    User,
    /// The network.
    Assistant,
}

impl Role {
    /// Its name in ChatML and in files.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// The form of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// BitNet b1.58 2B4T: `<|begin_of_text|>`, then `User: ` and the text without the white space around it and
    /// `<|eot_id|>`, and so on. The network answers after `Assistant: `. (microsoft/BitNet, gpu/tokenizer.py.)
    Bitnet,
    /// ChatML, the form of SmolLM2: `<|im_start|>user`, a line end, the text, `<|im_end|>` and a line end, and so on.
    /// The network answers after `<|im_start|>assistant` and a line end. (The chat template of SmolLM2-Instruct.)
    ChatMl,
}

/// What SmolLM2's template says before a chat without a message of the system.
const SMOLLM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// A part of a chat: a special token or a text.
enum Part {
    Mark(&'static str),
    Text(String),
}

impl Form {
    /// The form of a network with this vocabulary. `bitnet` says whether the network has the architecture of BitNet
    /// b1.58. Its official GGUF file has a template of another model, so a template in a file is not asked.
    ///
    /// # Errors
    /// A sentence, if the vocabulary lacks the marks of both forms.
    pub fn of(vocabulary: &Vocabulary, bitnet: bool) -> Result<Form, String> {
        let form = if bitnet { Form::Bitnet } else { Form::ChatMl };
        match form.marks().iter().find(|mark| vocabulary.special(mark).is_none()) {
            None => Ok(form),
            Some(mark) => Err(format!(
                "the vocabulary has no token {mark}, so the network was not taught to answer in a chat of the form {}",
                form.name()
            )),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Form::Bitnet => "BitNet b1.58 2B4T",
            Form::ChatMl => "ChatML",
        }
    }

    /// The special tokens of the form. The last one ends a turn.
    pub fn marks(self) -> [&'static str; 2] {
        match self {
            Form::Bitnet => ["<|begin_of_text|>", "<|eot_id|>"],
            Form::ChatMl => ["<|im_start|>", "<|im_end|>"],
        }
    }

    /// The chat as text. If `answer` is true, it ends where the network answers.
    pub fn text(self, messages: &[Message], answer: bool) -> String {
        let text = |part| match part {
            Part::Mark(mark) => mark.to_string(),
            Part::Text(text) => text,
        };
        self.parts(messages, answer).into_iter().map(text).collect()
    }

    /// The chat as ids. They are those of [`Form::text`], except that the text of a special token in a message stays
    /// text. If `answer` is true, the network answers after them, until one of [`Vocabulary::stops`].
    ///
    /// # Errors
    /// As [`Vocabulary::encode`].
    ///
    /// # Panics
    /// If the vocabulary lacks a mark of the form. [`Form::of`] checks this.
    pub fn ids(
        self,
        vocabulary: &Vocabulary,
        messages: &[Message],
        answer: bool,
    ) -> Result<Vec<u32>, EncodeError> {
        let mut ids = Vec::new();
        for part in self.parts(messages, answer) {
            match part {
                Part::Text(text) => ids.extend(vocabulary.encode_plain(&text)?),
                Part::Mark(mark) => {
                    let id = vocabulary.special(mark);
                    ids.push(id.unwrap_or_else(|| panic!("Form: the vocabulary has no token {mark}")));
                }
            }
        }
        Ok(ids)
    }

    /// The parts of a chat. Two texts are never neighbours, so that each text is split as the whole would be.
    fn parts(self, messages: &[Message], answer: bool) -> Vec<Part> {
        let [start, end] = self.marks().map(|mark| move || Part::Mark(mark));
        let mut parts = Vec::new();
        match self {
            Form::Bitnet => {
                // The template puts the first mark before the first message.
                parts.extend((!messages.is_empty()).then(&start));
                for Message { role, content } in messages {
                    let who = match role {
                        Role::System => "System",
                        Role::User => "User",
                        Role::Assistant => "Assistant",
                    };
                    parts.extend([Part::Text(format!("{who}: {}", content.trim())), end()]);
                }
                parts.extend(answer.then(|| Part::Text("Assistant: ".into())));
            }
            Form::ChatMl => {
                let silent = messages.first().is_some_and(|first| first.role != Role::System);
                let said = messages.iter().map(|message| (message.role, &message.content[..]));
                for (role, content) in silent.then_some((Role::System, SMOLLM)).into_iter().chain(said) {
                    let text = Part::Text(format!("{}\n{content}", role.name()));
                    parts.extend([start(), text, end(), Part::Text("\n".into())]);
                }
                if answer {
                    parts.extend([start(), Part::Text("assistant\n".into())]);
                }
            }
        }
        parts
    }
}
