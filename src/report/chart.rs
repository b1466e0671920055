//! The common parts of plots: colours, axes with labels, lines, and the legend. The crate plotters draws the SVG.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub const PALE: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
pub const INK: RGBColor = RGBColor(0x1f, 0x29, 0x33);
pub const MUTED: RGBColor = RGBColor(0x6b, 0x77, 0x85);
pub const RULE: RGBColor = RGBColor(0xe6, 0xe9, 0xed);

/// The colours of Okabe and Ito, which all people can tell apart. Yellow is left out, because it is too light for a
/// line.
pub const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x33, 0x33, 0x33),
];

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// A chart with two axes.
pub type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Draws into a string. This cannot fail.
pub fn svg((width, height): (i32, i32), draw: impl FnOnce(&Area) -> Result<(), DrawError>) -> String {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
        let done = root.fill(&WHITE).and_then(|()| draw(&root)).and_then(|()| root.present());
        done.expect("drawing into a string cannot fail");
    }
    svg
}

/// The style of a line of text: its size, its colour, and the point of the text that is placed.
pub fn text(size: i32, color: &RGBColor, across: HPos, down: VPos) -> TextStyle<'_> {
    TextStyle::from(("sans-serif", size).into_font()).color(color).pos(Pos::new(across, down))
}

/// The style of a heading.
pub fn bold(size: i32, color: &RGBColor) -> TextStyle<'_> {
    TextStyle::from(("sans-serif", size, FontStyle::Bold).into_font()).color(color)
}

/// Three significant digits, no trailing zeros.
pub fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    if rounded == 0.0 || (1e-4..1e6).contains(&rounded.abs()) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

/// The scale of an axis.
#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    Linear,
    Log,
    /// `ln(p / (100 - p))` for a percentage: an equal factor in the odds is an equal distance.
    Logit,
}

/// Percentages for labels of a logit axis, nearest to the middle first.
const ODDS: [f64; 17] =
    [50.0, 90.0, 10.0, 99.0, 80.0, 20.0, 98.0, 1.0, 95.0, 5.0, 99.5, 70.0, 30.0, 2.0, 99.9, 99.8, 0.1];

impl Scale {
    /// The position of a value on the axis. It is `None` for a value that is not finite.
    pub fn place(self, y: f64) -> Option<f64> {
        let at = match self {
            Scale::Linear => y,
            // Zero has no logarithm. Its position is below all others, and the end of the panel cuts it off.
            Scale::Log => y.max(f64::MIN_POSITIVE).log10(),
            Scale::Logit => {
                let y = y.clamp(0.1, 99.95);
                (y / (100.0 - y)).ln()
            }
        };
        (y.is_finite() && at.is_finite()).then_some(at)
    }

    /// The two ends, as positions, of an axis that shows all these values.
    pub fn ends(self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) = self.span(values);
        let margin = 0.07 * (high - low).max(self.least(high));
        (low - margin, high + margin)
    }

    /// [`Scale::ends`] rounded outwards to labels, so that every value lies between two labels.
    pub fn labelled_ends(self, values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let (low, high) = self.span(values.clone());
        // A wider axis may need a wider step.
        let even = |low: f64, high: f64| {
            (0..2).fold((low, high), |(low, high), _| {
                let step = step(high - low);
                ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step)
            })
        };
        match self {
            // If all values are equal, the axis starts at 0.
            Scale::Linear if low == high && low > 0.0 => even(0.0, high),
            _ if high - low < 1e-3 * self.least(high) => self.ends(values),
            Scale::Logit => self.ends(values),
            Scale::Linear => even(low, high),
            // The axis is so short that its labels have equal steps.
            Scale::Log if high - low < 0.3 => {
                let (low, high) = even(10f64.powf(low), 10f64.powf(high));
                if low > 0.0 { (low.log10(), high.log10()) } else { self.ends(values) }
            }
            Scale::Log => {
                let factors: &[f64] = if high - low < 2.0 { &[1.0, 2.0, 5.0, 10.0] } else { &[1.0, 10.0] };
                let places = |at: f64| factors.iter().map(move |f| at.floor() + f.log10());
                let below = places(low).filter(|at| *at <= low).fold(f64::NEG_INFINITY, f64::max);
                let above = places(high).filter(|at| *at >= high).fold(f64::INFINITY, f64::min);
                (below, above)
            }
        }
    }

    /// The smallest and the largest position of these values.
    fn span(self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let places = values.filter(|y| self != Scale::Log || *y > 0.0).filter_map(|y| self.place(y));
        let widen = |ends: Option<(f64, f64)>, at: f64| {
            Some(ends.map_or((at, at), |(low, high)| (low.min(at), high.max(at))))
        };
        places.fold(None, widen).unwrap_or((-1.0, 0.0))
    }

    /// The width of an axis below which all values count as equal.
    fn least(self, high: f64) -> f64 {
        match self {
            Scale::Linear => (0.02 * high.abs()).max(1e-9),
            Scale::Log => 0.3,
            Scale::Logit => 0.5,
        }
    }

    /// Labels between two positions, about six of them: pairs of position and value.
    pub fn ticks(self, low: f64, high: f64) -> Vec<(f64, f64)> {
        let inside = |values: &mut dyn Iterator<Item = f64>| -> Vec<(f64, f64)> {
            let placed = values.filter_map(|y| Some((self.place(y)?, y)));
            // An end may coincide with a label except for rounding.
            let near = 1e-9 * (high - low);
            placed.filter(|(at, _)| (low - near..=high + near).contains(at)).collect()
        };
        let decades = |factors: &'static [f64], step: usize| {
            let exponents = (low.floor() as i32..=high.ceil() as i32).step_by(step);
            inside(&mut exponents.flat_map(|e| factors.iter().map(move |f| f * 10f64.powi(e))))
        };
        let even = |low: f64, high: f64| {
            let step = step(high - low);
            inside(&mut (0..=12).map(|i| ((low / step - 1e-9).ceil() + f64::from(i)) * step))
        };
        match self {
            Scale::Linear => even(low, high),
            Scale::Log => {
                let wide = ((high - low) / 6.0).ceil().max(1.0) as usize;
                let choices = [decades(&[1.0, 2.0, 5.0], 1), decades(&[1.0, 3.0], 1), decades(&[1.0], wide)];
                let last = choices.len() - 1;
                let chosen = choices.into_iter().enumerate().find(|(i, t)| t.len() <= 7 || *i == last);
                let chosen = chosen.map(|(_, ticks)| ticks).unwrap_or_default();
                if chosen.len() > 2 { chosen } else { even(10f64.powf(low), 10f64.powf(high)) }
            }
            Scale::Logit => {
                // Labels in the order of their importance. One is kept if it leaves room for a line of text.
                let mut kept: Vec<(f64, f64)> = Vec::new();
                for (at, y) in inside(&mut ODDS.into_iter()) {
                    if kept.iter().all(|(other, _)| (at - other).abs() > (high - low) / 12.0) {
                        kept.push((at, y));
                    }
                }
                let back = |at: f64| 100.0 / (1.0 + (-at).exp());
                if kept.len() > 2 { kept } else { even(back(low), back(high)) }
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides a width into at most about seven parts.
pub fn step(width: f64) -> f64 {
    let rough = (width / 7.0).max(1e-12);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    factor * power
}

/// An axis: its two ends, and the positions of its labels.
pub struct Axis {
    pub ends: Range<f64>,
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    fn label(ticks: &[(f64, String)], at: f64) -> String {
        ticks.iter().find(|(place, _)| *place == at).map_or(String::new(), |(_, label)| label.clone())
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, at: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (at - self.ends.start) / (self.ends.end - self.ends.start);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.iter().map(|(place, _)| *place).collect()
        }
    }

    fn range(&self) -> Range<f64> {
        self.ends.clone()
    }
}

/// A line through these points, and its name in the legend. A line with an empty name is not in the legend.
pub struct Line {
    pub name: String,
    pub at: Vec<(f64, f64)>,
    pub color: RGBColor,
    pub dashed: bool,
}

/// The axes with grid lines and labels. `margins` are the distances from the edges: top, bottom, left, right.
/// `labels` is the space for the labels of the two axes.
pub fn axes<'a, 'b>(
    area: &'a Area<'b>,
    [across, up]: [Axis; 2],
    [top, bottom, left, right]: [i32; 4],
    labels: [i32; 2],
    size: i32,
) -> Result<Chart<'a, 'b>, DrawError> {
    let (x_ticks, y_ticks) = (across.ticks.clone(), up.ticks.clone());
    let mut chart = ChartBuilder::on(area)
        .margin_top(top)
        .margin_bottom(bottom)
        .margin_left(left)
        .margin_right(right)
        .x_label_area_size(labels[0])
        .y_label_area_size(labels[1])
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .x_label_formatter(&|at| Axis::label(&x_ticks, *at))
        .y_label_formatter(&|at| Axis::label(&y_ticks, *at))
        .bold_line_style(RULE)
        .axis_style(PALE)
        .label_style(("sans-serif", size))
        .draw()?;
    Ok(chart)
}

impl Line {
    /// Draws the line and returns its points. `place` turns a point into its position.
    pub fn draw(
        &self,
        chart: &mut Chart,
        place: impl Fn((f64, f64)) -> Option<(f64, f64)>,
    ) -> Result<Vec<(f64, f64)>, DrawError> {
        let at: Vec<(f64, f64)> = self.at.iter().copied().filter_map(place).collect();
        let style = self.color.stroke_width(2);
        if self.dashed {
            chart.draw_series(DashedLineSeries::new(at.clone(), 6, 4, style))?;
        } else {
            chart.draw_series(LineSeries::new(at.iter().copied(), style))?;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_between_two_labels() {
        for (scale, values) in [
            (Scale::Linear, [86.3, 98.99]),
            (Scale::Linear, [0.0, 3e-3]),
            (Scale::Linear, [4.47e-8, 4.47e-8]),
            (Scale::Log, [0.0327, 0.489]),
            (Scale::Log, [0.1, 45.11]),
            (Scale::Log, [2.0, 2.303]),
        ] {
            let (low, high) = scale.labelled_ends(values.into_iter());
            let ticks = scale.ticks(low, high);
            let [least, most] = values.map(|value| scale.place(value).expect("a place"));
            assert!(ticks.iter().any(|tick| tick.0 <= least + 1e-9), "{values:?}: {ticks:?}");
            assert!(ticks.iter().any(|tick| tick.0 >= most - 1e-9), "{values:?}: {ticks:?}");
        }
    }

    #[test]
    fn labels_are_round_and_few() {
        for (scale, low, high) in [
            (Scale::Linear, 89.2, 100.3),
            (Scale::Linear, 0.0, 3.1e-3),
            (Scale::Log, -1.1, -0.3),
            (Scale::Log, -4.0, 1.4),
            (Scale::Log, -300.0, 3.0),
            (Scale::Log, -1.02, -0.98),
            (Scale::Logit, -2.2, 4.5),
            (Scale::Logit, 3.8, 4.1),
        ] {
            let ticks = scale.ticks(low, high);
            let texts: Vec<String> = ticks.iter().map(|(_, y)| short(*y)).collect();
            assert!((3..=9).contains(&ticks.len()), "{texts:?}");
            assert!(texts.iter().all(|text| text.len() <= 6), "{texts:?}");
        }
        assert_eq!([0.0, 0.000_500_000_01, 98.0, 1.0e-5].map(short), ["0", "0.0005", "98", "1e-5"]);
    }
}
