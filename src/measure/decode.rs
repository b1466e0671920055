//! Measures how fast a language model reads a prompt and writes tokens, and compares the writing with the memory of the
//! adapter.
//!
//! A token of a text needs every weight once, and the keys and values of the tokens before it. So it takes at least
//! `bytes / bandwidth + dispatches launch`, with the bandwidth of reading and the time of an empty dispatch as measured
//! here. (The two add up, because the dispatches of a token depend on each other.)

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::MeasureError;
use super::ceilings::{Ceilings, near};
use crate::gpu::{Cost, Gpu, Op};
use crate::model::{Cache, Choice, Decoder, PIECE, Transformer};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// The reading of a prompt of so many tokens into an empty cache.
    Prompt(usize),
    /// The writing of tokens after others.
    Text {
        /// Number of new tokens.
        tokens: usize,
        /// Number of tokens before them.
        depth: usize,
    },
}

impl Test {
    /// The name as in llama-bench: `pp512`, `tg64`, `tg64 @ d4000`.
    pub fn name(self) -> String {
        match self {
            Test::Prompt(tokens) => format!("pp{tokens}"),
            Test::Text { tokens, depth: 0 } => format!("tg{tokens}"),
            Test::Text { tokens, depth } => format!("tg{tokens} @ d{depth}"),
        }
    }

    /// The context that it needs. A text without a token before it begins after one.
    pub fn context(self) -> usize {
        match self {
            Test::Prompt(tokens) => tokens,
            Test::Text { tokens, depth } => tokens + depth.max(1),
        }
    }
}

/// What limits the speed of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binds {
    /// The bytes of a token.
    Memory,
    /// The launches of its dispatches.
    Launches,
    /// Both nearly alike.
    Both,
    /// Its arithmetic: by the measured rates it takes longer than both together.
    Arithmetic,
}

impl Binds {
    /// The limit in one word.
    pub fn word(self) -> &'static str {
        match self {
            Binds::Memory => "memory",
            Binds::Launches => "launches",
            Binds::Both => "both",
            Binds::Arithmetic => "arithmetic",
        }
    }
}

/// A token by the ceilings of the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wall {
    /// Bytes divided by the bandwidth of reading.
    pub memory_seconds: f64,
    /// Dispatches times the time of an empty one.
    pub launch_seconds: f64,
    /// Operations divided by the rates of their arithmetic. It is `None` if no probe measures one of them.
    pub arithmetic_seconds: Option<f64>,
}

impl Wall {
    /// The bound of the time of a token.
    pub fn seconds(&self) -> f64 {
        self.memory_seconds + self.launch_seconds
    }

    /// What limits the speed.
    pub fn binds(&self) -> Binds {
        match self.arithmetic_seconds {
            Some(seconds) if seconds > self.seconds() => Binds::Arithmetic,
            _ if near(self.memory_seconds, self.launch_seconds) => Binds::Both,
            _ if self.memory_seconds > self.launch_seconds => Binds::Memory,
            _ => Binds::Launches,
        }
    }
}

/// A measured test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// The test.
    pub test: Test,
    /// Tokens per second of each repetition.
    pub samples: Vec<f64>,
    /// Bytes of a token in the middle of the text. Of a prompt: bytes of all its ops, divided by its tokens.
    pub bytes_per_token: u64,
    /// Operations, likewise.
    pub ops_per_token: u64,
    /// Dispatches of a token; of a prompt, of all of it.
    pub dispatches: usize,
    /// Submissions that the host read back.
    pub read_backs: usize,
    /// Seconds for each token in which the host encodes its dispatches. The submission is not part of it, because a
    /// software rasteriser does its work in there.
    pub host_seconds_per_token: f64,
    /// A token by the ceilings. It is `None` for a prompt, or if a ceiling is missing.
    pub wall: Option<Wall>,
}

impl Rate {
    /// Mean and standard deviation of the samples, as llama-bench prints them.
    pub fn mean(&self) -> (f64, f64) {
        let n = self.samples.len() as f64;
        let mean = self.samples.iter().sum::<f64>() / n;
        let squares = self.samples.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        (mean, if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
    }

    /// The measured speed, divided by that of the bound.
    pub fn reached(&self) -> Option<f64> {
        self.wall.map(|wall| self.mean().0 * wall.seconds())
    }
}

/// A language model to measure.
pub struct Generation<'a> {
    /// The model.
    pub network: &'a Transformer,
    /// Tokens of one submission.
    pub at_once: usize,
    /// Repetitions of each test, after one that does not count.
    pub repeats: usize,
    /// The ceilings: `read`, `launch`, and those of arithmetic.
    pub ceilings: &'a Ceilings,
}

impl Generation<'_> {
    /// Measures a test. The cache has room for it. `tell` gets the speed of each repetition.
    ///
    /// # Errors
    /// If the device failed or cannot bind a tensor.
    pub fn measure(
        &self,
        gpu: &Gpu,
        cache: &Cache,
        test: Test,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Rate, MeasureError> {
        match test {
            Test::Prompt(tokens) => self.prompt(gpu, cache, tokens, tell),
            Test::Text { tokens, depth } => self.text(gpu, cache, tokens, depth, tell),
        }
    }

    fn rate(&self, test: Test, cost: Cost, dispatches: usize) -> Rate {
        Rate {
            test,
            samples: Vec::new(),
            bytes_per_token: cost.bytes,
            ops_per_token: cost.ops,
            dispatches,
            read_backs: 0,
            host_seconds_per_token: 0.0,
            wall: None,
        }
    }

    fn prompt(
        &self,
        gpu: &Gpu,
        cache: &Cache,
        tokens: usize,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Rate, MeasureError> {
        let (whole, rest) = (tokens / PIECE, tokens % PIECE);
        let pass = |tokens: usize| self.network.extension(gpu, cache, tokens);
        let passes =
            [(whole > 0).then(|| pass(PIECE)).transpose()?, (rest > 0).then(|| pass(rest)).transpose()?];
        let vocabulary = self.network.shape.vocabulary;
        let ids: Vec<u32> = (0..tokens).map(|at| (at * 7919 % vocabulary) as u32).collect();
        let all = || {
            let pieces = ids.chunks(PIECE).enumerate();
            pieces.map(|(i, ids)| (i, ids, passes[usize::from(ids.len() < PIECE)].as_ref().expect("bound")))
        };
        let sum = all()
            .flat_map(|(.., pass)| pass.ops().map(Op::cost))
            .fold(Cost::default(), |a, b| Cost { bytes: a.bytes + b.bytes, ops: a.ops + b.ops });
        let each = Cost { bytes: sum.bytes / tokens as u64, ops: sum.ops / tokens as u64 };
        let dispatches = all().map(|(.., pass)| pass.ops().count()).sum();
        let mut rate = self.rate(Test::Prompt(tokens), each, dispatches);
        rate.host_seconds_per_token =
            encoding(gpu, || all().flat_map(|(.., pass)| pass.ops())) / tokens as f64;
        for repeat in 0..=self.repeats {
            let start = Instant::now();
            for (i, ids, pass) in all() {
                pass.read(gpu, i * PIECE, ids)?;
            }
            gpu.wait(None)?;
            if repeat > 0 {
                rate.samples.push(tokens as f64 / start.elapsed().as_secs_f64());
                tell(rate.samples[repeat - 1]);
            }
        }
        Ok(rate)
    }

    fn text(
        &self,
        gpu: &Gpu,
        cache: &Cache,
        tokens: usize,
        depth: usize,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Rate, MeasureError> {
        let before = depth.max(1);
        // One token leaves logits, and the keys and values before it are made up: their values change no time.
        self.network.extension(gpu, cache, 1)?.read(gpu, 0, &[1])?;
        cache.make_up(gpu, before);
        let mut decoder = self.network.decoder(gpu, cache)?;
        let greedy = Choice { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };
        let cost = decoder.cost(before + tokens / 2);
        let mut rate = self.rate(Test::Text { tokens, depth }, cost, decoder.ops().count());
        rate.wall = self.wall(&decoder, before + tokens / 2);
        rate.host_seconds_per_token = encoding(gpu, || decoder.ops());
        for repeat in 0..=self.repeats {
            decoder.begin(gpu, before, before, &greedy);
            gpu.run([])?;
            gpu.wait(None)?;
            // The first repetition does not count, so it can be short.
            let count = if repeat == 0 { tokens.min(2 * self.at_once) } else { tokens };
            let start = Instant::now();
            let mut read_backs = 0;
            decoder.write(gpu, count, self.at_once, &mut |_| {
                read_backs += 1;
                true
            })?;
            let seconds = start.elapsed().as_secs_f64();
            if repeat > 0 {
                rate.read_backs = read_backs;
                rate.samples.push(tokens as f64 / seconds);
                tell(rate.samples[repeat - 1]);
            }
        }
        Ok(rate)
    }

    /// A token at this position by the ceilings.
    fn wall(&self, decoder: &Decoder, position: usize) -> Option<Wall> {
        let Ceilings { read, launch, .. } = self.ceilings;
        let of = |op: &Op| Some(op.cost().ops as f64 / self.ceilings.rate(op.kernel().arithmetic)?);
        Some(Wall {
            memory_seconds: decoder.cost(position).bytes as f64 / read.value()?,
            launch_seconds: decoder.ops().count() as f64 * launch.value()?,
            arithmetic_seconds: decoder.ops().map(of).sum(),
        })
    }
}

/// Seconds to encode these ops once.
fn encoding<'a, I: Iterator<Item = &'a Op>>(gpu: &Gpu, ops: impl Fn() -> I) -> f64 {
    let mut samples: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            let mut encoder = gpu.encoder();
            gpu.record(ops(), &mut encoder);
            drop(encoder.finish());
            start.elapsed().as_secs_f64()
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The most memory that this process has held, in bytes, where the system says so. On a software rasteriser it includes
/// the memory of the device.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_names_what_binds() {
        let wall = |memory_seconds, launch_seconds, arithmetic_seconds| {
            Wall { memory_seconds, launch_seconds, arithmetic_seconds }.binds()
        };
        assert_eq!(wall(3.0, 1.0, Some(3.9)), Binds::Memory);
        assert_eq!(wall(1.0, 3.0, None), Binds::Launches);
        assert_eq!(wall(3.0, 3.1, Some(1.0)), Binds::Both);
        assert_eq!(wall(3.0, 1.0, Some(4.1)), Binds::Arithmetic);
    }

    #[test]
    fn spreads_are_those_of_a_sample() {
        let rate = Rate {
            test: Test::Text { tokens: 8, depth: 100 },
            samples: vec![3.0, 5.0, 4.0],
            bytes_per_token: 0,
            ops_per_token: 0,
            dispatches: 0,
            read_backs: 0,
            host_seconds_per_token: 0.0,
            wall: Some(Wall { memory_seconds: 0.1, launch_seconds: 0.025, arithmetic_seconds: None }),
        };
        assert_eq!(rate.mean(), (4.0, 1.0));
        assert_eq!(rate.reached(), Some(0.5));
        assert_eq!((rate.test.name(), rate.test.context()), ("tg8 @ d100".to_string(), 108));
    }
}
