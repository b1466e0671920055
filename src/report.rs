//! What people look at: the model's table, the confusion matrix, the curve. Numbers come in ready;
//! nothing here computes on the device or trains.

use std::fmt::Write;

use SeriesLabelPosition::{LowerLeft, LowerRight};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::ternary::Packed;

/// One line of the model table, counted from the real weights.
#[derive(Clone, Debug, Default)]
pub struct LayerCost {
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// Weights that are 0, +1 and -1: what one inference skips, adds and subtracts.
    pub skips: usize,
    /// See `skips`.
    pub additions: usize,
    /// See `skips`.
    pub subtractions: usize,
    /// What is still multiplied: gain, int8 scale, and two for the norm per input, and the logits.
    pub multiplications: usize,
    /// Bytes as f32.
    pub f32_bytes: usize,
    /// Bytes as packed words, padding included.
    pub packed_bytes: usize,
    /// Bytes with five trits to a byte.
    pub base3_bytes: usize,
}

impl LayerCost {
    /// Counts one layer; `last` adds the multiplication of each logit.
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

    /// Number of weights: the multiply-adds of the float network.
    pub fn weights(&self) -> usize {
        self.skips + self.additions + self.subtractions
    }

    /// Share of weights that are 0.
    pub fn zeros(&self) -> f64 {
        self.skips as f64 / self.weights().max(1) as f64
    }

    /// Bytes at log2(3) = 1.585 bits a weight, the least that any format can take without knowing more.
    pub fn least_bytes(&self) -> f64 {
        self.weights() as f64 * 3f64.log2() / 8.0
    }

    /// Sum over layers.
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

/// 234752 as `234,752`.
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

/// Columns of equal width, the first to the left and the others to the right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
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
         int8 scale and norm\nof each input, and the scale of each logit\n{}",
        align(&memory),
        align(&work)
    )
}

/// Rows are true classes, columns what the network said.
pub fn confusion_table(confusion: &[Vec<u32>]) -> String {
    let classes = confusion.len();
    let mut rows =
        vec![["true \\ said".to_string()].into_iter().chain((0..classes).map(|k| k.to_string())).collect()];
    for (label, counts) in confusion.iter().enumerate() {
        let cell = |&n: &u32| if n == 0 { "·".to_string() } else { n.to_string() };
        rows.push([label.to_string()].into_iter().chain(counts.iter().map(cell)).collect::<Vec<_>>());
    }
    align(&rows)
}

/// One epoch of the curve.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Mean training and test loss, nats.
    pub loss: [f64; 2],
    /// Training and test accuracy, 0 to 1.
    pub accuracy: [f64; 2],
}

const TRAIN: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const TEST: RGBColor = RGBColor(0x0b, 0x6e, 0x99);

/// Loss above, on a logarithmic axis, and accuracy below, over epochs, as an SVG.
pub fn curve_svg(title: &str, points: &[Point]) -> String {
    let mut svg = String::new();
    draw_curve(title, points, &mut svg).expect("drawing into a string cannot fail");
    svg
}

type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn draw_curve(title: &str, points: &[Point], svg: &mut String) -> Result<(), DrawError> {
    let (width, height) = (860, 640);
    let root = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let (above, below) = root.split_vertically(300);
    let loss: Vec<[f64; 2]> = points.iter().map(|p| p.loss).collect();
    // A zero has no logarithm: the axis ends a step below the smallest value that has one.
    let (low, high) = extent(loss.iter().flatten().filter(|loss| **loss > 0.0)).unwrap_or((0.1, 1.0));
    let (low, high) = (low / 1.5, high * 1.3);
    let logarithmic: Vec<[f64; 2]> = loss.iter().map(|pair| pair.map(|loss| loss.max(low))).collect();
    panel(&above, "cross-entropy, nats", &logarithmic, (low..high).log_scale(), LowerLeft, &|y| {
        format!("{y}")
    })?;
    let percent: Vec<[f64; 2]> = points.iter().map(|p| p.accuracy.map(|share| 100.0 * share)).collect();
    let (low, high) = extent(percent.iter().flatten()).unwrap_or((0.0, 100.0));
    let margin = 0.05 * (high - low).max(0.1);
    panel(&below, "accuracy, %", &percent, low - margin..high + margin, LowerRight, &|y| format!("{y:.1}"))?;
    root.present()
}

/// The smallest and the largest of the values that are numbers.
fn extent<'a>(values: impl Iterator<Item = &'a f64>) -> Option<(f64, f64)> {
    let widen = |(low, high): (f64, f64), y: f64| (low.min(y), high.max(y));
    values.copied().filter(|y| y.is_finite()).map(|y| (y, y)).reduce(|extent, (y, _)| widen(extent, y))
}

fn panel<Y>(
    area: &DrawingArea<SVGBackend, plotters::coord::Shift>,
    name: &str,
    values: &[[f64; 2]],
    y: Y,
    legend: SeriesLabelPosition,
    label: &dyn Fn(&f64) -> String,
) -> Result<(), DrawError>
where
    Y: AsRangedCoord<Value = f64, CoordDescType: ValueFormatter<f64>>,
{
    let epochs = values.len().max(2);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(1.0..epochs as f64, y)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc(name)
        .x_labels(epochs.min(20))
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x}") } else { String::new() })
        .y_label_formatter(label)
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(0xe6, 0xe9, 0xed))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (which, name, color) in [(0, "train, while it learns", TRAIN), (1, "test", TEST)] {
        let line = || values.iter().enumerate().map(|(i, y)| ((i + 1) as f64, y[which]));
        chart
            .draw_series(LineSeries::new(line(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(line().map(|at| Circle::new(at, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE)
        .border_style(RGBColor(0xe6, 0xe9, 0xed))
        .label_font(("sans-serif", 14))
        .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_drawn_whatever_the_numbers() {
        let runs = [
            vec![],
            vec![Point { loss: [2.3, 2.3], accuracy: [0.1, 0.1] }],
            vec![Point { loss: [0.0, 0.0], accuracy: [1.0, 1.0] }; 3],
            vec![Point { loss: [f64::NAN, f64::INFINITY], accuracy: [0.0, 0.0] }; 2],
        ];
        for points in runs {
            assert!(curve_svg("a run", &points).trim_end().ends_with("</svg>"), "{points:?}");
        }
    }

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
