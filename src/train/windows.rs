//! The loss of a language model on a long text, in windows of one length. The result depends on the way of cutting the
//! text, so a perplexity is comparable only with one of the same way.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use crate::gpu::{Error, Gpu};
use crate::kernels::{IGNORE, KeyForm};
use crate::model::{PIECE, Scored, Transformer};

/// How a text is cut into windows, and which of their tokens count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// The windows of `llama-perplexity`: they follow each other, and a rest at the end is left out. Only the tokens of
    /// the second half count, except its first token. If there is a `bos`, it replaces the first token of every window.
    /// The text should begin with `bos` too.
    Halves {
        /// The token that begins a text.
        bos: Option<u32>,
    },
    /// Each window begins `stride` tokens after the one before it. The tokens count that no window before it has. The
    /// last window may be shorter. Every token except the first one counts once.
    Strided {
        /// The distance between two windows, less than their length.
        stride: usize,
    },
}

/// One window: the tokens that the network reads, and the tokens among them that count.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    read: Range<usize>,
    counted: Range<usize>,
}

impl Windows {
    /// The windows of a text of `length` tokens.
    fn over(self, length: usize, context: usize) -> Vec<Window> {
        match self {
            Windows::Halves { .. } => {
                let window = |i: usize| {
                    let read = i * context..(i + 1) * context;
                    Window { counted: read.start + context / 2 + 1..read.end, read }
                };
                (0..length / context).map(window).collect()
            }
            Windows::Strided { stride } => {
                let mut windows: Vec<Window> = Vec::new();
                let mut end = 1;
                while end < length {
                    let first = windows.len() * stride;
                    let read = first..(first + context).min(length);
                    windows.push(Window { counted: end..read.end, read: read.clone() });
                    end = read.end;
                }
                windows
            }
        }
    }
}

/// The loss over the tokens that count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TextLoss {
    /// The sum of `-ln p` over these tokens, in nats.
    pub sum: f64,
    /// Number of these tokens.
    pub count: usize,
}

impl TextLoss {
    /// `exp(sum / count)`.
    pub fn perplexity(&self) -> f64 {
        (self.sum / self.count as f64).exp()
    }
}

/// Scores a network on a text in windows of `context` tokens, with keys and values in this form. `progress` receives the loss so far and the number of
/// tokens that count in all windows, after every window.
///
/// # Errors
/// If the adapter cannot bind a tensor, or the device failed.
///
/// # Panics
/// If the context is less than 2 or longer than that of the network, if the stride is 0 or not less than the context,
/// or if an id is not below the size of the vocabulary.
pub fn text_loss(
    gpu: &Gpu,
    network: &Transformer,
    ids: &[u32],
    context: usize,
    windows: Windows,
    form: KeyForm,
    progress: &mut dyn FnMut(&TextLoss, usize),
) -> Result<TextLoss, Error> {
    let most = network.shape.context;
    assert!((2..=most).contains(&context), "text_loss: windows of {context} in a context of {most}");
    if let Windows::Strided { stride } = windows {
        assert!((1..context).contains(&stride), "text_loss: a stride of {stride} in windows of {context}");
    }
    let bos = match windows {
        Windows::Halves { bos } => bos,
        Windows::Strided { .. } => None,
    };
    let known = |id: &u32| (*id as usize) < network.shape.vocabulary;
    assert!(ids.iter().chain(&bos).all(known), "text_loss: an id outside the vocabulary");
    let cache = network.cache(gpu, form)?;
    let mut passes: BTreeMap<usize, Scored> = BTreeMap::new();
    let all = windows.over(ids.len(), context);
    let counted = all.iter().map(|window| window.counted.len()).sum();
    let mut loss = TextLoss::default();
    for Window { read, counted: here } in all {
        let mut tokens = ids[read.clone()].to_vec();
        if let Some(bos) = bos {
            tokens[0] = bos;
        }
        let label = |at: usize| if here.contains(&(at + 1)) { ids[at + 1] } else { IGNORE };
        let labels: Vec<u32> = read.map(label).collect();
        for (i, (tokens, labels)) in tokens.chunks(PIECE).zip(labels.chunks(PIECE)).enumerate() {
            let pass = match passes.entry(tokens.len()) {
                Entry::Occupied(bound) => bound.into_mut(),
                Entry::Vacant(free) => free.insert(network.scored(gpu, &cache, tokens.len())?),
            };
            let losses = pass.run(gpu, i * PIECE, tokens, labels)?;
            loss.sum += losses.into_iter().map(f64::from).sum::<f64>();
        }
        loss.count += here.len();
        progress(&loss, counted);
    }
    Ok(loss)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_counts_where_it_should() {
        let counted = |windows: Windows, length, context| -> Vec<(Range<usize>, Range<usize>)> {
            windows.over(length, context).into_iter().map(|window| (window.read, window.counted)).collect()
        };
        let halves = Windows::Halves { bos: Some(1) };
        assert_eq!(counted(halves, 17, 8), [(0..8, 5..8), (8..16, 13..16)]);
        assert_eq!(counted(halves, 7, 7), [(0..7, 4..7)]);
        assert_eq!(counted(halves, 6, 7), []);
        let strided = |stride| Windows::Strided { stride };
        assert_eq!(counted(strided(3), 12, 6), [(0..6, 1..6), (3..9, 6..9), (6..12, 9..12)]);
        assert_eq!(counted(strided(4), 11, 6), [(0..6, 1..6), (4..10, 6..10), (8..11, 10..11)]);
        assert_eq!(counted(strided(5), 12, 6), [(0..6, 1..6), (5..11, 6..11), (10..12, 11..12)]);
        assert_eq!(counted(strided(2), 5, 6), [(0..5, 1..5)]);
        assert_eq!(counted(strided(2), 1, 6), []);
    }
}
