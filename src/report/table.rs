//! Tables for a terminal: memory and arithmetic of a model, and the confusion matrix. This module makes text only.

use std::fmt::Write;

use crate::ternary::Packed;

/// One line of the model table, counted from the actual weights.
#[derive(Clone, Debug, Default)]
pub struct LayerCost {
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// Number of weights that are 0. One inference skips them.
    pub skips: usize,
    /// Number of weights that are 1. One inference adds their inputs.
    pub additions: usize,
    /// Number of weights that are -1. One inference subtracts their inputs.
    pub subtractions: usize,
    /// Number of remaining multiplications: four for each input (gain, int8 scale, and two for the norm), and one for
    /// each logit.
    pub multiplications: usize,
    /// Bytes as f32.
    pub f32_bytes: usize,
    /// Bytes as packed words, including padding.
    pub packed_bytes: usize,
    /// Bytes with five trits per byte.
    pub base3_bytes: usize,
}

impl LayerCost {
    /// Counts one layer. With `last` it adds the multiplication of each logit.
    pub fn count(packed: &Packed, last: bool) -> LayerCost {
        let [subtractions, skips, additions] = packed.histogram();
        let weights = packed.rows * packed.cols;
        LayerCost {
            shape: [packed.rows, packed.cols],
            skips,
            additions,
            subtractions,
            multiplications: 4 * packed.cols + if last { packed.rows } else { 0 },
            f32_bytes: 4 * weights,
            packed_bytes: packed.bytes(),
            base3_bytes: weights.div_ceil(5),
        }
    }

    /// Number of weights. It is also the number of multiply-adds of the same network in floats.
    pub fn weights(&self) -> usize {
        self.skips + self.additions + self.subtractions
    }

    /// Share of weights that are 0.
    pub fn zeros(&self) -> f64 {
        self.skips as f64 / self.weights().max(1) as f64
    }

    /// Bytes at log2(3) = 1.585 bits per weight. No format for arbitrary trits can use fewer.
    pub fn least_bytes(&self) -> f64 {
        self.weights() as f64 * 3f64.log2() / 8.0
    }

    /// The sum over all layers.
    pub fn total(layers: &[LayerCost]) -> LayerCost {
        layers.iter().fold(LayerCost::default(), |sum, layer| LayerCost {
            shape: [0, 0],
            skips: sum.skips + layer.skips,
            additions: sum.additions + layer.additions,
            subtractions: sum.subtractions + layer.subtractions,
            multiplications: sum.multiplications + layer.multiplications,
            f32_bytes: sum.f32_bytes + layer.f32_bytes,
            packed_bytes: sum.packed_bytes + layer.packed_bytes,
            base3_bytes: sum.base3_bytes + layer.base3_bytes,
        })
    }
}

/// A number with commas: 234752 becomes `234,752`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Rows as aligned columns. The first column is aligned to the left, the others to the right.
pub fn columns(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            if c == 0 {
                let _ = write!(line, "  {cell:<w$}", w = widths[c]);
            } else {
                let _ = write!(line, "  {cell:>w$}", w = widths[c]);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The longest cell of each column.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

/// [`columns`] in lines of at most 80 columns, where the figures leave room: a first cell that is too long for that
/// stands on a line of its own, above its figures.
pub fn fitted(rows: &[Vec<String>]) -> String {
    let figures: usize = widths(rows).iter().skip(1).map(|width| width + 2).sum();
    let room = 80usize.saturating_sub(2 + figures);
    let mut fitting = Vec::new();
    for row in rows {
        match row.split_first() {
            Some((first, figures)) if !figures.is_empty() && first.chars().count() > room => {
                fitting.push(vec![first.clone()]);
                fitting.push([&[String::new()], figures].concat());
            }
            _ => fitting.push(row.clone()),
        }
    }
    // A cell that stands alone is no wider than the table for it.
    let alone = |row: &Vec<String>| row.len() == 1;
    let table: Vec<Vec<String>> =
        fitting.iter().map(|row| if alone(row) { vec![String::new()] } else { row.clone() }).collect();
    let lines = columns(&table);
    let line = |(line, row): (&str, &Vec<String>)| match alone(row) {
        true => format!("  {}\n", row[0]),
        false => format!("{line}\n"),
    };
    lines.lines().zip(&fitting).map(line).collect()
}

/// Text in lines of up to 80 columns. All lines except the first begin at column `indent`.
pub fn folded(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if indent + line.chars().count() + 1 + word.chars().count() <= 80 => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.into()),
        }
    }
    lines.join(&format!("\n{:indent$}", ""))
}

/// The model table: memory by format, then the arithmetic of one inference.
pub fn model_table(layers: &[LayerCost]) -> String {
    let total = LayerCost::total(layers);
    let named = || {
        let name = |(i, layer): (usize, &LayerCost)| format!("{i}  {} <- {}", layer.shape[0], layer.shape[1]);
        layers.iter().enumerate().map(name).chain(["all".into()]).zip(layers.iter().chain([&total]))
    };
    let head = |cells: &[&str]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();

    let mut memory = vec![head(&["layer", "weights", "f32", "2-bit", "base-3", "log2(3)", "zeros"])];
    memory.extend(named().map(|(name, l)| {
        let bytes = [l.f32_bytes, l.packed_bytes, l.base3_bytes, l.least_bytes().ceil() as usize];
        let bytes = bytes.map(|bytes| format!("{} B", thousands(bytes)));
        let zeros = format!("{:.1} %", 100.0 * l.zeros());
        [name, thousands(l.weights())].into_iter().chain(bytes).chain([zeros]).collect()
    }));

    let mut work = vec![head(&[
        "layer",
        "additions",
        "subtractions",
        "skips",
        "multiplications",
        "float multiply-adds",
    ])];
    work.extend(named().map(|(name, l)| {
        let counts = [l.additions, l.subtractions, l.skips, l.multiplications, l.weights()];
        [name].into_iter().chain(counts.map(thousands)).collect()
    }));

    format!(
        "Memory of the weights\n{}\nOne inference: +1 adds, -1 subtracts, 0 skips; the multiplications left are gain, \
         int8 scale and norm\nof each input, and the scale of each logit; there are no biases\n{}",
        columns(&memory),
        columns(&work)
    )
}

/// The confusion matrix. Rows are true classes, and columns are predicted classes.
pub fn confusion_table(confusion: &[Vec<u32>]) -> String {
    let classes = confusion.len();
    let mut rows =
        vec![["true \\ said".to_string()].into_iter().chain((0..classes).map(|k| k.to_string())).collect()];
    for (label, counts) in confusion.iter().enumerate() {
        let cell = |&n: &u32| if n == 0 { "·".to_string() } else { n.to_string() };
        rows.push([label.to_string()].into_iter().chain(counts.iter().map(cell)).collect::<Vec<_>>());
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_counted_from_the_trits() {
        let packed = Packed::pack(&[1, -1, 0, 0, 1, 1], 2, 3, 0.5);
        let cost = LayerCost::count(&packed, true);
        assert_eq!((cost.additions, cost.subtractions, cost.skips), (3, 1, 2));
        assert_eq!((cost.multiplications, cost.weights()), (4 * 3 + 2, 6));
        assert_eq!((cost.f32_bytes, cost.packed_bytes, cost.base3_bytes), (24, 8, 2));
        assert_eq!([0, 999, 1000, 234_752].map(thousands), ["0", "999", "1,000", "234,752"]);
    }
}
