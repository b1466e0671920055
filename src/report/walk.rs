//! The values of one image in a network, layer by layer: as text, as JSON and as a picture. This module only shows
//! numbers, which the CPU twin computes.

use std::fmt::Write;

use serde_json::{Value, json};

use super::picture;
use super::{columns, short, thousands};
use crate::reference;
use crate::ternary::Packed;

/// An image, its values in each layer, and its loss.
pub struct Walk {
    /// The number of the image, its data set, and the network.
    pub title: String,
    /// Pixels from 0 to 255.
    pub image: Vec<u8>,
    /// Its height and width.
    pub size: [usize; 2],
    /// Its true class.
    pub label: usize,
    /// The layers, first to last.
    pub layers: Vec<Stage>,
    /// The logits, one for each class.
    pub logits: Vec<f32>,
    /// The class probabilities: softmax of the logits.
    pub probabilities: Vec<f64>,
    /// The cross-entropy for the label, in nats.
    pub loss: f64,
}

/// One layer, with one of its neurons in detail.
pub struct Stage {
    /// The number of the neuron in detail.
    pub neuron: usize,
    /// The weights of this neuron: trits, or floats.
    pub row: Vec<f32>,
    /// The inputs of the layer: int8 codes, or floats.
    pub input: Vec<f32>,
    /// The sums of all neurons: accumulators, or floats.
    pub sums: Vec<f32>,
    /// The real values of the integers, only for a ternary layer.
    pub units: Option<Units>,
}

/// The floats that belong to the integers of a ternary layer.
#[derive(Clone, Copy)]
pub struct Units {
    /// The real value of one int8 step: RMSNorm's output is `step` times the code.
    pub step: f32,
    /// The real value of one trit: the scale of the layer.
    pub beta: f32,
    /// The real value of one unit of the accumulators: `beta step`.
    pub unit: f32,
}

impl Walk {
    /// The walk of an image through a ternary network. `chosen` are the neurons to show, one for each layer, first
    /// layer first. A layer without a chosen neuron shows the one with the largest sum.
    ///
    /// # Panics
    /// If the shapes do not chain, or if a layer has no such neuron.
    pub fn ternary(packed: &[Packed], gains: &[Vec<f32>], eps: f32, chosen: &[usize], image: &[u8]) -> Walk {
        let mut layers = Vec::new();
        for (i, layer) in reference::mlp(packed, gains, eps, image).into_iter().enumerate() {
            let sums: Vec<f32> = layer.acc.iter().map(|&sum| sum as f32).collect();
            let neuron = chosen.get(i).copied().unwrap_or_else(|| largest(&sums));
            layers.push(Stage {
                neuron,
                row: (0..packed[i].cols).map(|col| f32::from(packed[i].trit(neuron, col))).collect(),
                input: layer.codes.q.iter().map(|&code| f32::from(code)).collect(),
                sums,
                units: Some(Units {
                    step: layer.factors.step[0],
                    beta: packed[i].scale,
                    unit: layer.factors.y_scale[0],
                }),
            });
        }
        let last = layers.last().expect("a network has a layer");
        let unit = last.units.map_or(1.0, |units| units.unit);
        let logits = last.sums.iter().map(|sum| unit * sum).collect();
        Walk::of(image, layers, logits)
    }

    /// [`Walk::ternary`] with the float twin.
    ///
    /// # Panics
    /// As [`Walk::ternary`].
    pub fn float(weights: &[Vec<f32>], gains: &[Vec<f32>], eps: f32, chosen: &[usize], image: &[u8]) -> Walk {
        let mut layers = Vec::new();
        for (i, (input, sums)) in reference::mlp_f32(weights, gains, eps, image).into_iter().enumerate() {
            let neuron = chosen.get(i).copied().unwrap_or_else(|| largest(&sums));
            let row = weights[i][neuron * input.len()..][..input.len()].to_vec();
            layers.push(Stage { neuron, row, input, sums, units: None });
        }
        let logits = layers.last().expect("a network has a layer").sums.clone();
        Walk::of(image, layers, logits)
    }

    /// A walk without the title, size and label.
    fn of(image: &[u8], layers: Vec<Stage>, logits: Vec<f32>) -> Walk {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let probabilities = powers.into_iter().map(|power| power / sum).collect();
        let image = image.to_vec();
        let size = [1, image.len()];
        Walk { title: String::new(), image, size, label: 0, layers, logits, probabilities, loss: 0.0 }
    }

    /// Sets the title, size and label of the image, and computes the loss.
    #[must_use]
    pub fn labelled(self, title: String, size: [usize; 2], label: usize) -> Walk {
        let (loss, _, _) = reference::softmax_xent(&self.logits, &[label as u32], 0.0);
        Walk { title, size, label, loss: f64::from(loss), ..self }
    }

    /// The predicted class.
    pub fn said(&self) -> usize {
        largest(&self.logits)
    }

    /// The walk as text for a terminal of 80 columns. It shows `terms` terms of each neuron.
    pub fn text(&self, terms: usize) -> String {
        let mut out = format!("{}: it is a {}, the network says {}\n", self.title, self.label, self.said());
        let last = self.layers.len() - 1;
        for (i, stage) in self.layers.iter().enumerate() {
            let positive = stage.sums.iter().filter(|sum| **sum > 0.0).count();
            let next = match i == last {
                true => "they become the logits".to_string(),
                false => format!("ReLU keeps the {} above 0", thousands(positive)),
            };
            stage.text(&mut out, &format!("layer {i}"), &next, terms);
        }
        let integers = self.layers[last].units.is_some();
        let mut rows = vec![vec!["class".to_string(), "logit".into(), "softmax".into()]];
        if integers {
            rows[0].insert(1, "accumulator".into());
        }
        for (class, (logit, share)) in self.logits.iter().zip(&self.probabilities).enumerate() {
            let mut row = vec![class.to_string(), format!("{logit:.4}"), format!("{:.2} %", 100.0 * share)];
            if integers {
                row.insert(1, signed(self.layers[last].sums[class]));
            }
            rows.push(row);
        }
        let exponentials = 1.0 / self.probabilities[self.said()];
        let _ = write!(
            out,
            "\n{}\nsoftmax        e^(logit - largest logit), divided by the sum of all: {exponentials:.4}\n\
             cross-entropy  against the label {}: -ln {:.6} = {:.4} nats\n\
             \x20              (who knows nothing pays ln {} = {:.4})\n",
            columns(&rows).trim_end(),
            self.label,
            self.probabilities[self.label],
            self.loss,
            self.logits.len(),
            (self.logits.len() as f64).ln(),
        );
        out
    }

    /// The walk as JSON.
    pub fn json(&self) -> Value {
        json!({
            "label": self.label, "said": self.said(), "loss": self.loss, "logits": self.logits,
            "probabilities": self.probabilities, "layers": self.layers.iter().map(Stage::json).collect::<Vec<_>>(),
        })
    }

    /// The walk as a picture: the image with the weights of a first-layer neuron on it, the sums of every layer, and
    /// the class probabilities.
    pub fn png(&self) -> Vec<u8> {
        picture::walk_png(self)
    }
}

/// The index of the largest value. Among equal values it is the first one.
pub(super) fn largest(values: &[f32]) -> usize {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
}

/// A float with an integer value as text with its sign.
fn signed(value: f32) -> String {
    format!("{}{}", if value < 0.0 { "-" } else { "" }, thousands(value.abs() as usize))
}

impl Stage {
    /// The layer as JSON.
    pub(super) fn json(&self) -> Value {
        let [adds, subtracts, skips] = self.counts(0..self.row.len());
        let whole = |values: &[f32]| match self.units {
            Some(_) => json!(values.iter().map(|&value| value as i64).collect::<Vec<_>>()),
            None => json!(values),
        };
        let mut line = json!({
            "rows": self.sums.len(), "cols": self.row.len(), "neuron": self.neuron, "row": whole(&self.row),
            "input": whole(&self.input), "sums": whole(&self.sums),
            "step": self.units.map(|units| units.step), "beta": self.units.map(|units| units.beta),
            "unit": self.units.map(|units| units.unit),
        });
        if self.units.is_some() {
            line["counts"] = json!({"add": adds, "subtract": subtracts, "skip": skips});
        }
        line
    }

    /// For these inputs, the numbers of weights that add, that subtract, and that skip.
    fn counts(&self, inputs: impl Iterator<Item = usize> + Clone) -> [usize; 3] {
        let of = |sign: f32| inputs.clone().filter(|&i| self.row[i] == sign).count();
        [of(1.0), of(-1.0), of(0.0)]
    }

    /// The layer as lines of text under its name, with `terms` terms of its neuron. `next` says what becomes of its sums.
    pub(super) fn text(&self, out: &mut String, name: &str, next: &str, terms: usize) {
        let (rows, cols) = (thousands(self.sums.len()), thousands(self.row.len()));
        let lit: Vec<usize> = (0..self.input.len()).filter(|&i| self.input[i] != 0.0).collect();
        let neuron = match self.neuron == largest(&self.sums) {
            true => format!("neuron {}, whose sum is the largest", self.neuron),
            false => format!("neuron {}", self.neuron),
        };
        let total = self.sums[self.neuron];
        let ([least, most], [low, high]) = (ends(&self.input), ends(&self.sums));
        let (input, row, sum, output) = match self.units {
            Some(Units { step, beta, unit }) => {
                let [adds, subtracts, skips] = self.counts(0..self.row.len());
                let [added, subtracted, skipped] = self.counts(lit.iter().copied());
                (
                    format!(
                        "int8 codes from {least} to {most}; a step of them is worth {step:.5}\n          after RMSNorm"
                    ),
                    format!(
                        "{neuron}\n          {adds} weights add their input, {subtracts} subtract it, {skips} skip it"
                    ),
                    format!(
                        "of the inputs that are not 0, {added} added, {subtracted} subtracted, {skipped} skipped:\n          \
                         accumulator {}, worth {:.4}\n  scales  one unit of it is worth {} = beta {beta:.5} x step {step:.5}",
                        signed(total),
                        unit * total,
                        short(f64::from(unit))
                    ),
                    format!("accumulators, i32 from {} to {}", signed(low), signed(high)),
                )
            }
            None => (
                format!("floats from {least:.4} to {most:.4}, after RMSNorm"),
                neuron,
                format!("{total:.5}: every term is a multiplication and an addition"),
                format!("floats from {low:.4} to {high:.4}"),
            ),
        };
        let more = match lit.len().saturating_sub(terms) {
            0 => String::new(),
            more => format!("          and {} more\n", thousands(more)),
        };
        let _ = write!(
            out,
            "\n{name}   {rows} neurons <- {cols} inputs, no bias\n  input   {input}; {} are not 0\n  row     {row}\n{}{more}  \
             sum     {sum}\n  output  {rows} {output}; {next}\n",
            thousands(lit.len()),
            self.terms(&lit[..lit.len().min(terms)]),
        );
    }

    /// One line for each of these inputs: the effect of its weight, and the sum so far.
    fn terms(&self, inputs: &[usize]) -> String {
        let head = match self.units {
            Some(_) => ["input", "code", "weight", "does", "sum"],
            None => ["input", "value", "weight", "product", "sum"],
        };
        let mut rows = vec![head.map(String::from).to_vec()];
        let mut sum = 0.0;
        for &i in inputs {
            let (x, w) = (self.input[i], self.row[i]);
            sum += x * w;
            rows.push(match self.units {
                Some(_) => {
                    let does = ["subtract", "skip", "add"][(w + 1.0) as usize];
                    vec![i.to_string(), x.to_string(), w.to_string(), does.into(), signed(sum)]
                }
                None => {
                    [i.to_string()].into_iter().chain([x, w, x * w, sum].map(|x| format!("{x:.5}"))).collect()
                }
            });
        }
        columns(&rows).lines().map(|line| format!("        {line}\n")).collect()
    }
}

/// The smallest and the largest value.
pub(super) fn ends(values: &[f32]) -> [f32; 2] {
    [f32::min, f32::max].map(|of| values.iter().copied().reduce(of).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_says_what_each_term_does() {
        // Pixels 255, 0 and 51 with gains of 1 give the codes 127, 0 and 25.
        let first = Packed::pack(&[1, 1, -1, 0, -1, 1], 2, 3, 0.5);
        let second = Packed::pack(&[1, 0, -1, 1], 2, 2, 0.25);
        let gains = [vec![1.0; 3], vec![1.0; 2]];
        let walk = Walk::ternary(&[first, second], &gains, 1e-5, &[], &[255, 0, 51]);
        let walk = walk.labelled("one".into(), [1, 3], 1);
        assert_eq!(walk.layers[0].input, [127.0, 0.0, 25.0]);
        assert_eq!((walk.layers[0].neuron, &walk.layers[0].sums[..]), (0, &[102.0, 25.0][..]));
        assert_eq!(walk.layers[1].input, [127.0, 31.0]);
        assert_eq!(walk.layers[1].sums, [127.0, -96.0]);
        assert_eq!(walk.said(), 0);
        let share: f64 = walk.probabilities.iter().sum();
        assert!((share - 1.0).abs() < 1e-12 && (walk.loss + walk.probabilities[1].ln()).abs() < 1e-5);
        let text = walk.text(12);
        for part in [
            "2 neurons <- 3 inputs, no bias",
            "2 weights add their input, 1 subtract it, 0 skip it",
            "1 added, 1 subtracted, 0 skipped",
            "accumulator 102",
            "against the label 1",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        let terms = [[("0", "127"), ("1", "add")], [("2", "25"), ("-1", "subtract")]];
        for [(input, code), (weight, does)] in terms {
            let words = [input, code, weight, does];
            let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().starts_with(&words);
            assert!(text.lines().any(line), "{words:?} is missing in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(walk.text(1).contains("and 1 more"));
        // A chosen neuron is shown.
        assert_eq!(
            Walk::ternary(&[Packed::pack(&[1, -1], 2, 1, 1.0)], &[vec![1.0]], 1e-5, &[1], &[9]).layers[0]
                .neuron,
            1
        );
        assert!(walk.png().starts_with(b"\x89PNG"));
    }
}
