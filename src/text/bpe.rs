//! Byte-level byte pair encoding (BPE), the tokenizer of GPT-2, Llama 3, SmolLM2 and BitNet b1.58 2B4T.
//!
//! A text becomes ids in four steps:
//!
//! 1. The special tokens in the text are found. Each of them is one id.
//! 2. Regular expressions split the texts between them into pieces, for instance words. No token crosses the border of
//!    a piece.
//! 3. A piece begins as one token for each byte. Two neighbours `a`, `b` that have a merge `(a, b)` become the token
//!    `ab`. The merge of the lowest rank comes first, and of equal ranks the one on the left.
//! 4. If the tokenizer ignores merges, a piece that is a token as a whole becomes this token without step 3.
//!
//! (Sennrich et al., arXiv 1508.07909, algorithm 1; Radford et al., *Language Models are Unsupervised Multitask
//! Learners*, 2019, section 2.2, for bytes.)
//!
//! # Why this is not a library
//!
//! The regular expressions are those of the crate `fancy-regex` (MIT), which brings two more crates that are new here.
//! The merges are this file. The crate `tokenizers` 0.23 (Apache-2.0) does both and is right, but it brings 30 more, and
//! its first build took four times the processor time: 80 s against 19 s on the same busy machine. `bpe` 0.2 (MIT) takes
//! the id of a token for its rank, so it cannot hold a list of merges, nor words that no merge makes. `kitoken` 0.11
//! (BSD-2-Clause) needs a newer compiler than this program does. None of them reads or writes the tokenizer of a GGUF
//! file.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fmt;

use fancy_regex::Regex;

use super::vocabulary::{EncodeError, UnknownCharacters};

/// The pattern of Llama 3. Every pattern here is a fact about the files of a model. Each match is a piece, and so is
/// each text between matches.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The pattern of GPT-2.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The pattern that makes each digit a piece.
pub(super) const DIGIT: &str = r"\p{N}";

/// The splits that have a name in GGUF (`tokenizer.ggml.pre`): the name, the patterns, which are applied one after
/// another, whether merges are ignored for a piece that is a token, and whether a text begins with `bos` if the file
/// does not say so.
pub(super) const SPLITS: [(&str, &[&str], bool, bool); 3] = [
    ("llama-bpe", &[LLAMA3], true, true),
    ("smollm", &[DIGIT, GPT2], false, false),
    ("gpt-2", &[GPT2], false, false),
];

/// The special tokens that begin a text or a turn in the models that this program runs: that of Llama 3 and 2B4T, then
/// that of SmolLM2.
pub(super) const BEGINS: [&str; 2] = ["<|begin_of_text|>", "<|im_start|>"];

/// The special tokens that end a text or a turn in these models: those of Llama 3 and 2B4T, then those of GPT-2 and
/// SmolLM2.
pub(super) const ENDS: [&str; 4] = ["<|end_of_text|>", "<|eot_id|>", "<|endoftext|>", "<|im_end|>"];

/// How a token comes into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By the merges, or as a whole piece.
    Ordinary,
    /// Wherever its text stands in a text.
    Added,
    /// As [`Kind::Added`]. It means something to the network and is no part of a message.
    Special,
}

/// What a file says about a tokenizer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// The bytes and the kind of each token, by id.
    pub tokens: Vec<(Vec<u8>, Kind)>,
    /// The pairs of tokens that are merged, the lowest rank first.
    pub merges: Vec<(u32, u32)>,
    /// The patterns, in the order in which they split.
    pub patterns: Vec<String>,
    /// Whether a piece that is a token as a whole becomes this token without any merge.
    pub ignore_merges: bool,
    /// The token before a text.
    pub bos: Option<u32>,
    /// The token after a text.
    pub eos: Option<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: bool,
}

/// A byte-level BPE tokenizer.
pub(super) struct Bpe {
    pub parts: Parts,
    /// The ids of the ordinary tokens.
    ids: HashMap<Vec<u8>, u32>,
    /// The token of each byte.
    of_byte: [Option<u32>; 256],
    /// The rank and the token of each merge.
    merged: HashMap<(u32, u32), (u32, u32)>,
    patterns: Vec<Regex>,
    /// The texts of added tokens that count in every text, and those that count where special tokens do.
    added: [Added; 2],
    /// The tokens that end a text or a turn, in the order of ids.
    pub stops: Vec<u32>,
}

/// The texts of some added tokens.
struct Added {
    ids: HashMap<String, u32>,
    /// Finds the longest of the texts that begin at the first possible place. It is `None` if there are no texts.
    pattern: Option<Regex>,
}

impl PartialEq for Bpe {
    fn eq(&self, other: &Bpe) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Bpe {}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Bpe({} tokens, {} merges)", self.parts.tokens.len(), self.parts.merges.len())
    }
}

impl Bpe {
    /// Checks the parts and prepares the search.
    ///
    /// # Errors
    /// A sentence that names the part that does not fit the others.
    pub fn new(parts: Parts) -> Result<Bpe, String> {
        let count = parts.tokens.len();
        if count == 0 {
            return Err("the tokenizer has no tokens".into());
        }
        let (mut ids, mut of_byte) = (HashMap::with_capacity(count), [None; 256]);
        let mut added: [HashMap<String, u32>; 2] = Default::default();
        for ((bytes, kind), id) in parts.tokens.iter().zip(0u32..) {
            let text = || String::from_utf8_lossy(bytes);
            if bytes.is_empty() {
                return Err(format!("the token {id} of the tokenizer is empty"));
            }
            let before = match kind {
                Kind::Ordinary => {
                    if let [byte] = bytes[..] {
                        of_byte[usize::from(byte)] = Some(id);
                    }
                    ids.insert(bytes.clone(), id)
                }
                Kind::Added | Kind::Special => {
                    if *kind == Kind::Added {
                        added[0].insert(text().into(), id);
                    }
                    added[1].insert(text().into(), id)
                }
            };
            if let Some(before) = before {
                return Err(format!("the tokens {before} and {id} of the tokenizer are both {:?}", text()));
            }
        }
        let mut merged = HashMap::with_capacity(parts.merges.len());
        for (&(a, b), rank) in parts.merges.iter().zip(0u32..) {
            let [left, right] = [a, b].map(|id| &parts.tokens[id as usize].0);
            let both = [&left[..], right].concat();
            let named = || format!("the merge {rank} of the tokenizer, of the tokens {a} and {b},");
            let Some(&id) = ids.get(&both) else {
                return Err(format!(
                    "{} makes {:?}, which is no token",
                    named(),
                    String::from_utf8_lossy(&both)
                ));
            };
            if let Some((before, _)) = merged.insert((a, b), (rank, id)) {
                return Err(format!("{} is also the merge {before}", named()));
            }
        }
        for (what, id) in [("bos", parts.bos), ("eos", parts.eos)] {
            if let Some(id) = id.filter(|&id| id as usize >= count) {
                return Err(format!("the tokenizer has {count} tokens, but its {what} is the token {id}"));
            }
        }
        if parts.add_bos && parts.bos.is_none() {
            return Err("the tokenizer puts a token before each text, but does not say which (bos)".into());
        }
        let compile = |pattern: &String| {
            Regex::new(pattern).map_err(|error| {
                format!("the tokenizer splits by {pattern:?}, which is no regular expression: {error}")
            })
        };
        let patterns = parts.patterns.iter().map(compile).collect::<Result<_, String>>()?;
        let mut stops: Vec<u32> =
            ENDS.iter().filter_map(|end| added[1].get(*end).copied()).chain(parts.eos).collect();
        stops.sort_unstable();
        stops.dedup();
        let search = |ids: HashMap<String, u32>| {
            let mut texts: Vec<&str> = ids.keys().map(String::as_str).collect();
            texts.sort_unstable_by_key(|text| (Reverse(text.len()), *text));
            let any = texts.iter().map(|text| fancy_regex::escape(text)).collect::<Vec<_>>().join("|");
            let pattern = (!texts.is_empty()).then(|| compile(&any)).transpose()?;
            Ok::<_, String>(Added { ids, pattern })
        };
        let [always, all] = added;
        let added = [search(always)?, search(all)?];
        Ok(Bpe { parts, ids, of_byte, merged, patterns, added, stops })
    }

    /// The id of an added token.
    pub fn added(&self, text: &str) -> Option<u32> {
        self.added[1].ids.get(text).copied()
    }

    /// The ids of a text. If `special` is false, the texts of special tokens in it are ordinary text.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, EncodeError> {
        let (mut ids, mut unknown) = (Vec::new(), Vec::new());
        let added = &self.added[usize::from(special)];
        let parts = added.pattern.iter().try_fold(vec![text], |parts, pattern| split(parts, pattern))?;
        for part in parts {
            if let Some(&id) = added.ids.get(part) {
                ids.push(id);
                continue;
            }
            for piece in
                self.patterns.iter().try_fold(vec![part], |pieces, pattern| split(pieces, pattern))?
            {
                match self.ids.get(piece.as_bytes()) {
                    Some(&id) if self.parts.ignore_merges => ids.push(id),
                    _ => match piece.bytes().map(|byte| self.of_byte[usize::from(byte)]).collect() {
                        Some(bytes) => self.merge(bytes, &mut ids),
                        None => unknown.extend(piece.chars().filter(|c| self.lacks(*c))),
                    },
                }
            }
        }
        if unknown.is_empty() {
            return Ok(ids);
        }
        let mut seen = HashSet::new();
        unknown.retain(|c| seen.insert(*c));
        let known = self.parts.tokens.len();
        Err(UnknownCharacters { unknown, known, unit: "tokens" }.into())
    }

    /// Whether a byte of this character is no token.
    fn lacks(&self, c: char) -> bool {
        c.encode_utf8(&mut [0; 4]).bytes().any(|byte| self.of_byte[usize::from(byte)].is_none())
    }

    /// Merges the tokens of a piece and appends the result to `ids`. It takes `O(n log n)` steps for `n` tokens.
    fn merge(&self, mut tokens: Vec<u32>, ids: &mut Vec<u32>) {
        /// The token at a place that belongs to the token before it.
        const GONE: u32 = u32::MAX;
        let count = tokens.len();
        // A token lies at the place of its first byte. These are the places of its neighbours.
        let mut before: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
        let mut after: Vec<usize> = (1..=count).collect();
        let mut merges = BinaryHeap::new();
        let offer = |merges: &mut BinaryHeap<_>, tokens: &[u32], left: usize, right: usize| {
            let pair = (tokens[left], tokens[right]);
            if let Some(&(rank, both)) = self.merged.get(&pair) {
                merges.push(Reverse((rank, left, right, pair, both)));
            }
        };
        for right in 1..count {
            offer(&mut merges, &tokens, right - 1, right);
        }
        while let Some(Reverse((_, left, right, pair, both))) = merges.pop() {
            // A merge since then may have taken one of the two. A token only grows, so the same pair is the same place.
            if (tokens[left], tokens[right]) != pair {
                continue;
            }
            (tokens[left], tokens[right]) = (both, GONE);
            after[left] = after[right];
            if after[left] < count {
                before[after[left]] = left;
                offer(&mut merges, &tokens, left, after[left]);
            }
            if before[left] < count {
                offer(&mut merges, &tokens, before[left], left);
            }
        }
        ids.extend(tokens.into_iter().filter(|&token| token != GONE));
    }
}

/// Splits each text into the matches of a pattern and the texts between them.
fn split<'a>(texts: Vec<&'a str>, pattern: &Regex) -> Result<Vec<&'a str>, EncodeError> {
    let mut pieces = Vec::new();
    for text in texts {
        let mut end = 0;
        for found in pattern.find_iter(text) {
            let found = found.map_err(|error| EncodeError::Unsplit(error.to_string()))?;
            pieces.extend([&text[end..found.start()], found.as_str()]);
            end = found.end();
        }
        pieces.push(&text[end..]);
    }
    pieces.retain(|piece| !piece.is_empty());
    Ok(pieces)
}

/// The character that stands for each byte in files: the byte itself if it is printable in Latin-1, otherwise the next
/// character from U+0100 on. (GPT-2, `bytes_to_unicode` in encoder.py.)
fn alphabet() -> [char; 256] {
    let mut next = (0x100..).filter_map(char::from_u32);
    std::array::from_fn(|byte| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => byte as u8 as char,
        _ => next.next().expect("there are 68 such bytes"),
    })
}

/// The ordinary tokens of a file, whose texts have a character for each byte.
pub(super) struct Alphabet {
    of_byte: [char; 256],
    bytes: HashMap<char, u8>,
}

impl Alphabet {
    pub fn new() -> Alphabet {
        let of_byte = alphabet();
        Alphabet { of_byte, bytes: of_byte.into_iter().zip(0..=255).collect() }
    }

    /// The bytes of a text in a file. It is `None` if a character stands for no byte.
    pub fn bytes(&self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|c| self.bytes.get(&c).copied()).collect()
    }

    /// The text of bytes in a file.
    pub fn text(&self, bytes: &[u8]) -> String {
        bytes.iter().map(|&byte| self.of_byte[usize::from(byte)]).collect()
    }

    /// The bytes of the ordinary token `id`.
    pub fn token(&self, id: usize, text: &str) -> Result<Vec<u8>, String> {
        self.bytes(text).ok_or_else(|| {
            let other = text.chars().find(|c| !self.bytes.contains_key(c)).unwrap_or_default();
            format!("the token {id} of the tokenizer is {text:?}, and {other:?} in it stands for no byte: expected byte-level BPE")
        })
    }

    /// The merges of two texts each, as pairs of ordinary tokens.
    pub fn pairs<'a>(
        &self,
        tokens: &[(Vec<u8>, Kind)],
        merges: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<(u32, u32)>, String> {
        let ordinary = tokens.iter().zip(0u32..).filter(|((_, kind), _)| *kind == Kind::Ordinary);
        let ids: HashMap<&[u8], u32> = ordinary.map(|((bytes, _), id)| (&bytes[..], id)).collect();
        let id = |text: &str| self.bytes(text).and_then(|bytes| ids.get(&bytes[..]).copied());
        merges
            .enumerate()
            .map(|(rank, (a, b))| {
                let known = [(a, id(a)), (b, id(b))].map(|(text, id)| {
                    id.ok_or_else(|| {
                        format!("the merge {rank} of the tokenizer has {text:?}, which is no token")
                    })
                });
                let [a, b] = known;
                Ok((a?, b?))
            })
            .collect()
    }

    /// The merges as texts of a file: two tokens with a space between them, which no token contains.
    pub fn merges(&self, parts: &Parts) -> Vec<String> {
        let text = |id: u32| self.text(&parts.tokens[id as usize].0);
        parts.merges.iter().map(|&(a, b)| format!("{} {}", text(a), text(b))).collect()
    }
}
