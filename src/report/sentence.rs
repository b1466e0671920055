//! The values of a text in a language model, followed at its last token: as text, as JSON and as a picture. This module
//! only shows numbers, which the CPU twin computes.

use std::fmt::Write;

use serde_json::{Value, json};

use super::walk::{ends, largest};
use super::{Stage, Units, columns, picture, thousands};
use crate::reference::transformer::{Block, BlockPass, Input, Layers, Network, Product};
use crate::reference::{Attention, attention_shares, xent_rows};
use crate::text::Vocabulary;

/// A text in a language model.
pub struct Sentence {
    /// The network and the text on which it was trained.
    pub title: String,
    /// The tokens by ids.
    pub ids: Vec<u32>,
    /// A sign of one column for each id of the vocabulary.
    signs: Vec<String>,
    /// The layer in detail.
    pub layer: usize,
    /// The row of the embedding for the last token.
    pub embedding: Vec<f32>,
    /// The queries of the layer for the last token, with one row of their matrix in detail.
    pub queries: Stage,
    /// Of each layer and head `[layers][heads]`, for each token the shares of the tokens that it sees.
    pub attention: Vec<Vec<Vec<Vec<f32>>>>,
    /// What the layer adds up for the last token.
    stream: Stream,
    /// `[vocabulary]`: the logits of the token that follows the text.
    pub logits: Vec<f32>,
    /// Softmax of the logits.
    pub probabilities: Vec<f64>,
    /// For each token but the first, `-ln p` of its probability p after the tokens before it.
    pub losses: Vec<f32>,
}

/// The residual stream of a layer at the last token, and its gate.
struct Stream {
    /// Root mean square of the stream before the layer, behind its attention, and behind its feed-forward part.
    sizes: [f64; 3],
    /// The gates of the feed-forward part, and how many are above 0.
    gates: [usize; 2],
    /// The smallest and the largest `relu(gate)^2 up`.
    gated: [f32; 2],
    /// The smallest and the largest code of it, where the network is ternary.
    codes: Option<[f32; 2]>,
}

/// Root mean square.
fn size(values: &[f32]) -> f64 {
    (values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The last row of `[n, cols]`.
fn last<T>(values: &[T], cols: usize) -> &[T] {
    &values[values.len() - cols..]
}

/// The codes of the last row of a product's input if it has codes, and else its floats.
fn input(product: &Product, cols: usize) -> Vec<f32> {
    match &product.input {
        Input::Codes(codes, _) => last(&codes.q, cols).iter().map(|&code| f32::from(code)).collect(),
        Input::Floats(floats) => last(floats, cols).to_vec(),
    }
}

/// The shares of attention of each head `[heads]`: for each token those of the tokens that it sees.
fn maps(a: &Attention, pass: &BlockPass) -> Vec<Vec<Vec<f32>>> {
    let shares = attention_shares(a, &pass.q, &pass.cache.k, &pass.lse);
    let head = |head: usize| shares.iter().skip(head).step_by(a.heads).cloned().collect();
    (0..a.heads).map(head).collect()
}

/// The queries of a layer for the last of `n` tokens. Without `neuron`, the row with the largest sum is in detail.
fn queries(block: &Block, pass: &BlockPass, n: usize, neuron: Option<usize>) -> Stage {
    let (rows, d) = (pass.qkv.y.len() / n, pass.qkv.x.len() / n);
    let sums = match &pass.qkv.acc[..] {
        [] => last(&pass.qkv.y, rows)[..d].to_vec(),
        acc => last(acc, rows)[..d].iter().map(|&sum| sum as f32).collect(),
    };
    let neuron = neuron.unwrap_or_else(|| largest(&sums));
    let (row, beta) = block.qkv.row(neuron);
    let step = match &pass.qkv.input {
        Input::Codes(_, step) => step.last().copied(),
        Input::Floats(_) => None,
    };
    let units = step.zip(beta).map(|(step, beta)| Units { step, beta, unit: beta * step });
    Stage { neuron, row, input: input(&pass.qkv, d), sums, units }
}

impl Stream {
    /// The stream of a layer of width `d` with `f` gates.
    fn of(pass: &BlockPass, [d, f]: [usize; 2]) -> Stream {
        let sizes = [&pass.qkv.x, &pass.gate_up.x, &pass.y].map(|rows| size(last(rows, d)));
        let open = last(&pass.gate_up.y, 2 * f)[..f].iter().filter(|gate| **gate > 0.0).count();
        let codes = matches!(pass.down.input, Input::Codes(..)).then(|| ends(&input(&pass.down, f)));
        Stream { sizes, gates: [f, open], gated: ends(last(&pass.down.x, f)), codes }
    }
}

impl Sentence {
    /// Follows `ids` through a network. `layer` is shown in detail, and of its queries the row `neuron`, or the one with
    /// the largest sum.
    ///
    /// # Errors
    /// If a part of the network cannot be read.
    ///
    /// # Panics
    /// If there is no token, or no such layer or neuron.
    pub fn of<L: Layers>(
        title: String,
        network: &L,
        vocabulary: &Vocabulary,
        ids: &[u32],
        layer: usize,
        neuron: Option<usize>,
    ) -> Result<Sentence, L::Error> {
        let config = network.config();
        let (d, f, n) = (config.width, config.ffn, ids.len());
        let a = config.attention(1, n);
        let (mut attention, mut detail) = (Vec::new(), None);
        let all = network.follow(&a, ids, |i, block, pass| {
            attention.push(maps(&a, pass));
            if i == layer {
                detail = Some((queries(block, pass, n, neuron), Stream::of(pass, [d, f])));
            }
        })?;
        let (queries, stream) = detail.expect("the network has this layer");

        let logits = last(&all, config.vocabulary).to_vec();
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let before = &all[..(n - 1) * config.vocabulary];
        let losses =
            if n > 1 { xent_rows(before, &ids[1..], config.vocabulary, 0.0).losses } else { Vec::new() };
        Ok(Sentence {
            title,
            ids: ids.into(),
            signs: (0..config.vocabulary as u32).map(|id| sign(vocabulary, id)).collect(),
            layer,
            embedding: network.embedding(ids[n - 1] as usize..ids[n - 1] as usize + 1)?.into_owned(),
            queries,
            attention,
            stream,
            probabilities: powers.into_iter().map(|power| power / sum).collect(),
            logits,
            losses,
        })
    }

    /// The sign of each token.
    fn tokens(&self) -> Vec<&str> {
        self.ids.iter().map(|&id| &self.signs[id as usize][..]).collect()
    }

    /// The ids of the vocabulary, the most probable next token first.
    fn ranked(&self) -> Vec<usize> {
        let mut ids: Vec<usize> = (0..self.logits.len()).collect();
        ids.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        ids
    }

    /// The text for a terminal of 80 columns, with `terms` terms of the neuron.
    pub fn text(&self, terms: usize) -> String {
        let (n, layers) = (self.ids.len(), self.attention.len());
        let tokens = self.tokens();
        let id = self.ids[n - 1];
        let [low, high] = ends(&self.embedding);
        let mut out = format!(
            "{}\n{n} tokens; what is shown is the last one, {} at position {}\n\n\
             token     id {id} of {}; its row of the embedding begins the residual stream:\n          \
             {} floats from {low:.4} to {high:.4}\n",
            self.title,
            tokens[n - 1],
            n - 1,
            self.logits.len(),
            self.embedding.len(),
        );
        let next = "they become the query";
        self.queries.text(&mut out, &format!("layer {}, q", self.layer), next, terms);
        let _ = write!(
            out,
            "  k and v read the same input. q and k are turned by their positions.\n\n\
             attention how much each head of layer {} takes from each token, of 1 in all\n",
            self.layer
        );
        // The last tokens are the nearest, and a line has 80 columns.
        let shown = n.min(48);
        let line = |name: &str, signs: String| format!("  {name:<8}  {signs}\n");
        for (head, map) in self.attention[self.layer].iter().enumerate() {
            let shares = &map[n - 1];
            let at = largest(shares);
            let bars = shares[n - shown..].iter().map(|&share| bar(share)).collect();
            let told = line(&format!("head {head}"), bars);
            let _ =
                writeln!(out, "{}   most: {:.0} % from {}", told.trim_end(), 100.0 * shares[at], tokens[at]);
        }
        out += &line("", tokens[n - shown..].concat());
        if shown < n {
            let _ = writeln!(out, "  (the last {shown} of {n} tokens)");
        }
        let Stream { sizes: [h, mid, y], gates: [gates, open], gated: [low, high], codes } = &self.stream;
        let codes = codes.map_or(String::new(), |[low, high]| format!("; codes from {low} to {high}"));
        let _ = write!(
            out,
            "\nresidual  root mean square {h:.4} at first, {mid:.4} after attention\n\
             gate      {} gates, {} above 0\n          relu(gate)^2 up from {low:.4} to {high:.4}{codes}\n\
             residual  root mean square {y:.4} at the end of layer {} of 0 to {}\n",
            thousands(*gates),
            thousands(*open),
            self.layer,
            layers - 1,
        );
        out += "\nnext token\n";
        let mut rows = vec![["", "id", "logit", "softmax"].map(String::from).to_vec()];
        for id in self.ranked().into_iter().take(8) {
            let share = self.probabilities[id];
            let bar = "█".repeat((30.0 * share).round() as usize);
            let told = [id.to_string(), format!("{:.4}", self.logits[id]), format!("{:.2} %", 100.0 * share)];
            rows.push([vec![self.signs[id].clone()], told.to_vec(), vec![format!("{bar:<30}")]].concat());
        }
        out += &columns(&rows);
        if self.losses.is_empty() {
            return out;
        }
        out += "\ncross-entropy of the text itself: -ln of the share that each token got\n";
        let mut rows = vec![["", "share", "nats"].map(String::from).to_vec()];
        let first = 1 + self.losses.len().saturating_sub(terms);
        for (token, &loss) in tokens[first..].iter().zip(&self.losses[first - 1..]) {
            let share = format!("{:.2} %", 100.0 * (-f64::from(loss)).exp());
            rows.push(vec![(*token).into(), share, format!("{loss:.4}")]);
        }
        out += &columns(&rows);
        let loss = self.loss();
        let (count, vocabulary) = (self.losses.len(), self.logits.len());
        let _ = write!(
            out,
            "  mean of {count}: {loss:.4} nats\n  perplexity e^{loss:.4} = {:.3}: as if it chose among so many tokens\n  \
             (who knows nothing pays ln {vocabulary} = {:.4})\n",
            loss.exp(),
            (vocabulary as f64).ln()
        );
        out
    }

    /// The mean of the losses.
    pub fn loss(&self) -> f64 {
        self.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / self.losses.len() as f64
    }

    /// The numbers as JSON. `attention` has the shares of the last token alone, by layers and heads.
    pub fn json(&self) -> Value {
        let last = |map: &Vec<Vec<f32>>| map[map.len() - 1].clone();
        let layer = |heads: &Vec<Vec<Vec<f32>>>| heads.iter().map(last).collect();
        let attention: Vec<Vec<Vec<f32>>> = self.attention.iter().map(layer).collect();
        let loss = (!self.losses.is_empty()).then(|| self.loss());
        json!({
            "ids": self.ids, "tokens": self.tokens(), "layer": self.layer, "embedding": self.embedding,
            "queries": self.queries.json(), "attention": attention, "residual_rms": self.stream.sizes,
            "gates": self.stream.gates[0], "gates_above_0": self.stream.gates[1],
            "logits": self.logits, "probabilities": self.probabilities,
            "next": self.ranked()[0], "losses": self.losses, "loss": loss,
            "perplexity": loss.map(f64::exp),
        })
    }

    /// The attention of every layer and head as a picture.
    pub fn png(&self) -> Vec<u8> {
        picture::attention_png(&format!("Attention: {}", self.title), &self.tokens(), &self.attention)
    }
}

/// The attention of a text in every layer and head of a network as a picture.
pub fn attention_png(title: &str, network: &Network, vocabulary: &Vocabulary, ids: &[u32]) -> Vec<u8> {
    let Ok(told) = Sentence::of(title.into(), network, vocabulary, ids, 0, None);
    told.png()
}

/// One sign for an id: its character, and other signs for those that cannot be seen.
fn sign(vocabulary: &Vocabulary, id: u32) -> String {
    let text = vocabulary.decode(&[id]);
    match text.chars().next().unwrap_or('?') {
        '\n' => "/".into(),
        ' ' => "_".into(),
        c if c.is_control() || c == char::REPLACEMENT_CHARACTER => "?".into(),
        c => c.into(),
    }
}

/// A share from 0 to 1 as a sign of one column.
fn bar(share: f32) -> char {
    let level = (8.0 * share).ceil().clamp(0.0, 8.0) as usize;
    if share < 0.02 { '.' } else { [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][level] }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::parameter::{Activation, Role};
    use crate::random::{Stream, normal};
    use crate::reference::transformer::Config;

    /// Two layers with four heads, which share two heads of keys and values.
    fn network(ternary: bool, vocabulary: usize) -> Network {
        let config = Config {
            layers: 2,
            width: 32,
            heads: 4,
            kv_heads: 2,
            ffn: 24,
            vocabulary,
            theta: 1e4,
            eps: 1e-5,
            ternary,
            activation: Activation::Relu2,
            sub_norms: true,
            tied: true,
        };
        let value = |(i, p): (usize, crate::parameter::Parameter)| {
            let values = normal(3, Stream::Weights, i as u32, p.count(), 0.3);
            let gain = p.role == Role::Gain;
            (p.name, values.iter().map(|x| if gain { 1.0 + x } else { *x }).collect())
        };
        let values = config.parameters().into_iter().enumerate().map(value).collect();
        Network::new(&config, &values, &BTreeMap::new())
    }

    #[test]
    fn a_sentence_adds_up() {
        let text = "a tern\nflies";
        let vocabulary = Vocabulary::of(text);
        let ids = vocabulary.encode(text).expect("its own");
        for ternary in [true, false] {
            let network = network(ternary, vocabulary.len());
            let Ok(told) = Sentence::of("one".into(), &network, &vocabulary, &ids, 1, Some(7));
            let a = network.config.attention(1, ids.len());
            let pass = network.forward(&a, &ids, network.caches(&a));
            for (block, maps) in pass.blocks.iter().zip(&told.attention) {
                for (head, map) in maps.iter().enumerate() {
                    for (token, shares) in map.iter().enumerate() {
                        assert_eq!(shares.len(), token + 1);
                        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                        // The shares of the values are what the attention gave.
                        let value = |j: usize| block.cache.v[(j * 2 + head / 2) * 8];
                        let sum: f32 = shares.iter().enumerate().map(|(j, share)| share * value(j)).sum();
                        assert!((sum - block.o.x[(token * 4 + head) * 8]).abs() < 1e-5);
                    }
                }
            }
            // The row in detail is a sum of its terms.
            let Stage { neuron, row, input, sums, units } = &told.queries;
            let sum: f32 = row.iter().zip(input).map(|(w, x)| w * x).sum();
            assert!(*neuron == 7 && (sum - sums[7]).abs() <= if ternary { 0.0 } else { 1e-4 });
            assert_eq!(units.is_some(), ternary);
            let y = units.map_or(1.0, |units| units.unit) * sums[7];
            assert!((y - pass.blocks[1].qkv.y[(ids.len() - 1) * 64 + 7]).abs() < 1e-4);

            assert!((told.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let again = xent_rows(&pass.logits, &ids, vocabulary.len(), 0.0);
            assert_eq!((told.losses.len(), again.losses.len()), (ids.len() - 1, ids.len()));
            let said = told.text(12);
            assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
            assert!(said.contains("a_tern/flies") && said.contains("layer 1, q"), "{said}");
            assert!(!told.json().to_string().contains("null") || !ternary);
        }
    }

    #[test]
    fn a_picture_is_drawn_whatever_the_text() {
        let vocabulary = Vocabulary::bytes();
        let network = network(true, vocabulary.len());
        for ids in [vec![255], vec![10; 3], (0..200).collect()] {
            let Ok(told) = Sentence::of("bytes \u{2028}".into(), &network, &vocabulary, &ids, 0, None);
            assert!(told.png().starts_with(b"\x89PNG"));
            let said = told.text(12);
            assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        }
    }
}
