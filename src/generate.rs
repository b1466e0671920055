//! Generates text with a language model, token by token. It holds the cache and the window of tokens that the network
//! sees, and it chooses the next token. This module knows ids and logits, but no vocabulary and no terminal.
//!
//! A network is trained on sequences of `context` tokens, so it knows only the positions below `context`. The first
//! `context` tokens, including the prompt, have the positions from 0 on. When a new token no longer fits, the window
//! slides: the last `max(context / 2, 1)` tokens, including the new one, get the positions from 0 on, and the network
//! reads them again.
//!
//! The network reads many tokens in pieces. The number of tokens in a piece is a power of two, at most [`PIECE`], so few
//! passes are bound, and their tensors do not grow with the prompt.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::gpu::{Error, Gpu};
#[cfg(doc)]
use crate::kernels;
use crate::kernels::KeyForm;
use crate::model::{Cache, Choice, Decoder, Extension, NO_TOKEN, PIECE, Transformer};
use crate::reference;

/// The choice of the next token from logits `z [V]`. Its probabilities are `softmax(z / temperature)`. `top_k` and then
/// `top_p` exclude some tokens, and the probabilities of the others are scaled to the sum 1. Tokens with equal logits are
/// kept or excluded together. (Top-k: arXiv 1805.04833, section 5.4; top-p: arXiv 1904.09751, section 3.1.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// A divisor of the logits. 0 takes the token with the largest logit. Of equal logits the one with the lowest id
    /// counts.
    pub temperature: f64,
    /// Keep only the `top_k` tokens with the largest logits.
    pub top_k: Option<usize>,
    /// Keep only the smallest set of most probable tokens whose probabilities sum to at least `top_p`. It is above 0
    /// and at most 1.
    pub top_p: f64,
    /// The seed. The seed and the number of the token determine every draw.
    pub seed: u64,
}

impl Sampling {
    /// Always takes the token with the largest logit.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: None, top_p: 1.0, seed: 0 };

    /// Chooses token number `at` of a text on the host, as the device does: see [`kernels::sample_least`],
    /// [`kernels::sample_blocks`] and [`kernels::sample_token`].
    ///
    /// # Panics
    /// If there is no logit, or a setting is out of range.
    pub fn choose(&self, logits: &[f32], at: usize) -> u32 {
        let Sampling { temperature, top_k, top_p, seed } = *self;
        assert!(!logits.is_empty(), "Sampling: logits of no token");
        assert!(temperature >= 0.0 && temperature.is_finite(), "Sampling: a temperature of {temperature}");
        assert!(top_k != Some(0) && top_p > 0.0 && top_p <= 1.0, "Sampling: top-k {top_k:?}, top-p {top_p}");
        let temperature = temperature as f32;
        let least = match temperature > 0.0 && (top_k.is_some() || top_p < 1.0) {
            true => reference::sample_least(logits, temperature, top_k, top_p as f32),
            false => f32::MIN,
        };
        let (_, ids) = reference::sample_blocks(logits, temperature, seed, at as u32, least, logits.len());
        ids[0]
    }

    fn on_device(&self) -> Choice {
        Choice {
            temperature: self.temperature as f32,
            top_k: self.top_k.map_or(0, |k| k.try_into().unwrap_or(u32::MAX)),
            top_p: self.top_p as f32,
            seed: self.seed,
        }
    }
}

/// The reason why a text does not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TextError {
    /// The adapter cannot bind a tensor, or the device failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// The network computed a logit that is not finite.
    #[error(
        "the logit of token {id} is {logit}, expected a number: a scale or a gain is too large, or a key or value leaves f16"
    )]
    NotANumber {
        /// The token.
        id: u32,
        /// Its logit.
        logit: f32,
    },
    /// A logit was no number, and a second pass over the same token gave numbers.
    #[error(
        "a logit was no number in one pass and a number in the next over the same token: this adapter computes with faults"
    )]
    Unsteady,
}

/// A text that grows on the device.
pub struct Generator {
    gpu: Gpu,
    network: Transformer,
    cache: Cache,
    /// The passes by their number of tokens. Each is bound when it is first needed.
    passes: BTreeMap<usize, Extension>,
    /// It is bound when it is first needed.
    decoder: Option<Decoder>,
    /// The tokens in the cache. The first of them has the position 0.
    window: Vec<u32>,
    /// Number of tokens in the whole text.
    length: usize,
    /// Whether the logits on the device are those after the last token.
    fresh: bool,
}

impl Generator {
    /// Binds the passes and reads the prompt. Keys and values have this form.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    ///
    /// # Panics
    /// If the prompt is empty, longer than the context, or has an id that is not below the size of the vocabulary.
    pub fn new(gpu: &Gpu, network: &Transformer, prompt: &[u32], form: KeyForm) -> Result<Generator, Error> {
        let (context, vocabulary) = (network.shape.context, network.shape.vocabulary as u32);
        let fits = (1..=context).contains(&prompt.len()) && prompt.iter().all(|&id| id < vocabulary);
        assert!(
            fits,
            "Generator: a prompt of {} ids, expected 1 to {context} below {vocabulary}",
            prompt.len()
        );
        let mut text = Generator {
            gpu: gpu.clone(),
            network: network.clone(),
            cache: network.cache(gpu, form)?,
            passes: BTreeMap::new(),
            decoder: None,
            window: Vec::new(),
            length: 0,
            fresh: false,
        };
        text.extend(prompt)?;
        Ok(text)
    }

    /// The logits of the next token.
    ///
    /// # Errors
    /// If the device failed.
    pub fn logits(&mut self) -> Result<Vec<f32>, Error> {
        self.refresh()?;
        self.gpu.download(self.cache.logits())
    }

    /// Appends up to `count` tokens, which the device chooses. It reads `at_once` of them back at a time, and computes the
    /// next ones meanwhile. `each` is called with each token. If it returns false, the text ends with this token.
    ///
    /// When the text no longer fits the context, the window slides, see the module's description.
    ///
    /// # Errors
    /// If the device failed, the adapter cannot bind a tensor, or a logit is no number.
    ///
    /// # Panics
    /// If `at_once` is 0 or more than [`MOST_AT_ONCE`](crate::model::MOST_AT_ONCE), or a setting is out of range.
    pub fn generate(
        &mut self,
        sampling: &Sampling,
        count: usize,
        at_once: usize,
        each: &mut dyn FnMut(u32) -> bool,
    ) -> Result<(), TextError> {
        let context = self.network.shape.context;
        let mut left = count;
        while left > 0 {
            if self.window.len() == context {
                let id = self.next(sampling)?;
                left -= 1;
                if !each(id) {
                    return Ok(());
                }
                continue;
            }
            let room = left.min(context - self.window.len());
            left -= room;
            if !self.decode(sampling, room, at_once, each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Appends `count` tokens, for which the cache has room. It returns whether the text goes on.
    fn decode(
        &mut self,
        sampling: &Sampling,
        count: usize,
        at_once: usize,
        each: &mut dyn FnMut(u32) -> bool,
    ) -> Result<bool, TextError> {
        self.refresh()?;
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.network.decoder(&self.gpu, &self.cache)?,
        };
        decoder.begin(&self.gpu, self.window.len(), self.length, &sampling.on_device());
        let (mut goes_on, mut no_number) = (true, false);
        decoder.write(&self.gpu, count, at_once, &mut |ids| {
            ids.into_iter().all(|id| {
                no_number = id == NO_TOKEN;
                if !no_number {
                    self.window.push(id);
                    self.length += 1;
                    goes_on = each(id);
                }
                goes_on && !no_number
            })
        })?;
        // Without a stop, the last pass was that of the last token.
        self.fresh = goes_on && !no_number;
        self.decoder = Some(decoder);
        if no_number {
            finite(&self.logits()?)?;
            return Err(TextError::Unsteady);
        }
        Ok(goes_on)
    }

    /// Chooses the next token on the host and appends it. The device chooses the same token, unless two are equally good
    /// but for the rounding of their keys.
    ///
    /// # Errors
    /// As [`Generator::generate`].
    pub fn next(&mut self, sampling: &Sampling) -> Result<u32, TextError> {
        let logits = self.logits()?;
        finite(&logits)?;
        let id = sampling.choose(&logits, self.length);
        self.push(id)?;
        Ok(id)
    }

    /// Appends a token to the text.
    ///
    /// # Errors
    /// If the device failed, or the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If the id is not below the size of the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<(), Error> {
        self.extend(&[id])
    }

    /// Appends tokens to the text. If they no longer fit, the window slides as far as for single tokens.
    ///
    /// # Errors
    /// As [`Generator::push`].
    ///
    /// # Panics
    /// If an id is not below the size of the vocabulary.
    pub fn extend(&mut self, ids: &[u32]) -> Result<(), Error> {
        let (context, vocabulary) = (self.network.shape.context, self.network.shape.vocabulary);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            panic!("Generator: the id {id} is not below {vocabulary}");
        }
        self.length += ids.len();
        // Number of tokens that the network has read.
        let mut read = self.window.len();
        for &id in ids {
            if self.window.len() == context {
                self.window.drain(..context + 1 - (context / 2).max(1));
                read = 0;
            }
            self.window.push(id);
        }
        self.read_from(read)
    }

    /// Computes the logits after the last token again, if they are not on the device.
    fn refresh(&mut self) -> Result<(), Error> {
        if self.fresh { Ok(()) } else { self.read_from(self.window.len() - 1) }
    }

    /// Reads the tokens of the window from position `read` on.
    fn read_from(&mut self, mut read: usize) -> Result<(), Error> {
        while read < self.window.len() {
            let left = self.window.len() - read;
            let tokens = PIECE.min(1 << left.ilog2());
            let pass = match self.passes.entry(tokens) {
                Entry::Occupied(bound) => bound.into_mut(),
                Entry::Vacant(free) => free.insert(self.network.extension(&self.gpu, &self.cache, tokens)?),
            };
            pass.read(&self.gpu, read, &self.window[read..read + tokens])?;
            read += tokens;
        }
        self.fresh = true;
        Ok(())
    }
}

/// Refuses logits that are no numbers.
///
/// # Errors
/// The first of them.
pub fn finite(logits: &[f32]) -> Result<(), TextError> {
    let found = logits.iter().position(|logit| !logit.is_finite());
    found.map_or(Ok(()), |id| Err(TextError::NotANumber { id: id as u32, logit: logits[id] }))
}

/// Turns bytes that arrive one after another into text. It returns a character only after all bytes of the character
/// have arrived. Bytes that are not UTF-8 become U+FFFD, as in [`String::from_utf8_lossy`].
#[derive(Clone, Debug, Default)]
pub struct Characters {
    pending: Vec<u8>,
}

impl Characters {
    /// Adds bytes, and returns the characters that are complete now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend(bytes);
        let mut text = String::new();
        loop {
            let error = match std::str::from_utf8(&self.pending) {
                Ok(all) => {
                    text += all;
                    self.pending.clear();
                    return text;
                }
                Err(error) => error,
            };
            text += &String::from_utf8_lossy(&self.pending[..error.valid_up_to()]);
            let Some(wrong) = error.error_len() else {
                self.pending.drain(..error.valid_up_to());
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            self.pending.drain(..error.valid_up_to() + wrong);
        }
    }

    /// Returns the remaining characters at the end of the text.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{self, Stream};

    const LOGITS: [f32; 6] = [1.0, 3.0, -2.0, 3.0, 2.0, 0.0];

    fn drawn(sampling: Sampling, count: usize) -> [usize; 6] {
        let mut found = [0; 6];
        (0..count).for_each(|at| found[sampling.choose(&LOGITS, at) as usize] += 1);
        found
    }

    #[test]
    fn greedy_takes_the_lowest_id_of_equal_logits() {
        assert_eq!(Sampling::GREEDY.choose(&LOGITS, 0), 1);
        let nearly_cold = Sampling { temperature: 1e-3, ..Sampling::GREEDY };
        let [_, one, _, three, ..] = drawn(nearly_cold, 1000);
        assert!(one + three == 1000 && one > 400 && three > 400, "{one} and {three}");
    }

    #[test]
    fn draws_have_the_probabilities_of_the_softmax() {
        for temperature in [0.5, 1.0, 3.0] {
            let found = drawn(Sampling { temperature, ..Sampling::GREEDY }, 20_000);
            let weights = LOGITS.map(|z| (f64::from(z) / temperature).exp());
            let sum: f64 = weights.iter().sum();
            for (found, p) in found.into_iter().zip(weights.map(|weight| weight / sum)) {
                let deviation = (20_000.0 * p * (1.0 - p)).sqrt();
                assert!((found as f64 - 20_000.0 * p).abs() < 5.0 * deviation, "{found} of {p}");
            }
        }
    }

    #[test]
    fn top_k_and_top_p_leave_tokens_out() {
        let at = |top_k, top_p| drawn(Sampling { temperature: 1.0, top_k, top_p, seed: 3 }, 5000);
        let kept = |found: [usize; 6]| found.map(|count| count > 0);
        assert_eq!(kept(at(Some(3), 1.0)), [false, true, false, true, true, false]);
        // Equal logits stay or go together.
        assert_eq!(kept(at(Some(1), 1.0)), [false, true, false, true, false, false]);
        // The probabilities are 0.053, 0.391, 0.003, 0.391, 0.144 and 0.019.
        assert_eq!(kept(at(None, 0.3)), [false, true, false, true, false, false]);
        assert_eq!(kept(at(None, 0.5)), [false, true, false, true, false, false]);
        assert_eq!(kept(at(None, 0.9)), [false, true, false, true, true, false]);
        assert_eq!(kept(at(None, 0.95)), [true, true, false, true, true, false]);
        assert_eq!(kept(at(Some(2), 0.9)), [false, true, false, true, false, false]);
    }

    #[test]
    fn bytes_become_text_by_whole_characters() {
        let cases: [&[u8]; 6] = [
            "a\u{e4}\u{20ac}\u{1f40d}z".as_bytes(),
            b"\xff\xfe a",
            b"\xe2\x82",
            b"\xe2\x82a",
            b"\xf0\x9f\x90\xe4b\xc3",
            b"",
        ];
        let random: Vec<u8> = (0..500)
            .flat_map(|i| random::draw(1, Stream::Sample, 9, i)[..2].to_vec())
            .map(|word| if word & 0x100 == 0 { word as u8 } else { word as u8 & 0x7f })
            .collect();
        for bytes in cases.into_iter().chain([&random[..]]) {
            for size in [1, 2, 3, 7] {
                let mut stream = Characters::default();
                let mut text = String::new();
                for part in bytes.chunks(size) {
                    text += &stream.push(part);
                }
                text += &stream.finish();
                assert_eq!(text, String::from_utf8_lossy(bytes), "{bytes:?} by {size}");
            }
        }
        let mut stream = Characters::default();
        assert_eq!(
            [stream.push(b"\xe2"), stream.push(b"\x82"), stream.push(b"\xacb")],
            ["", "", "\u{20ac}b"]
        );
    }
}
