//! A run over its epochs, and several runs beside each other, as SVG. Knows numbers and names only.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One epoch of the curve.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Mean training and test loss, nats.
    pub loss: [f64; 2],
    /// Training and test accuracy, 0 to 1.
    pub accuracy: [f64; 2],
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Share of all trits that changed since the epoch before; `None` without trits.
    pub flips: Option<f64>,
    /// Share of each layer's trits that are 0, the first layer first; empty without trits.
    pub zeros: Vec<f64>,
}

pub(super) const TRAIN: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const TEST: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(super) const INK: RGBColor = RGBColor(0x1f, 0x29, 0x33);
pub(super) const MUTED: RGBColor = RGBColor(0x6b, 0x77, 0x85);
pub(super) const RULE: RGBColor = RGBColor(0xe6, 0xe9, 0xed);

/// Okabe and Ito's colours, which every eye tells apart; yellow, too light for a line, is left out.
pub(super) const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x33, 0x33, 0x33),
];

const WIDTH: u32 = 900;
const MARGIN: i32 = 20;
const TITLE: i32 = 50;
const TEXT: i32 = 14;
/// Epochs up to which each point is marked.
const MARKED: usize = 60;

/// One run: loss, accuracy, learning rate, flips and zeros over epochs. A panel without data is left out.
pub fn curve_svg(title: &str, points: &[Point]) -> String {
    let both = |of: &dyn Fn(&Point) -> [f64; 2], told: &dyn Fn(f64) -> String| {
        let line = |which: usize, name: &str, color| {
            let values: Vec<f64> = points.iter().map(|point| of(point)[which]).collect();
            Line { name: tell(name, &values, told), values, color, dashed: false }
        };
        vec![line(0, "train", TRAIN), line(1, "test", TEST)]
    };
    let one = |name: String, color, values| vec![Line { name, values, color, dashed: false }];

    let mut panels = vec![
        Panel {
            name: "loss: cross-entropy in nats, log scale",
            note: "train: the mean over an epoch, while the network learns",
            scale: Scale::Log,
            unit: "",
            lines: both(&|point| point.loss, &|loss| format!("{loss:.4}")),
        },
        Panel {
            name: "accuracy",
            note: "",
            scale: Scale::Linear,
            unit: " %",
            lines: both(&|point| percent(point.accuracy), &|share| format!("{share:.2} %")),
        },
    ];
    let rates: Vec<f64> = points.iter().map(|point| point.lr).collect();
    panels.push(Panel {
        name: "learning rate",
        note: "at the end of each epoch",
        scale: Scale::Linear,
        unit: "",
        lines: one(tell("learning rate", &rates, &short), COLORS[2], rates),
    });
    let flips: Vec<f64> = points.iter().map(|point| 100.0 * point.flips.unwrap_or(f64::NAN)).collect();
    panels.push(Panel {
        name: "trits that changed since the epoch before, log scale",
        note: "healthy: 20 to 50 % early, under 1 % at the end",
        scale: Scale::Log,
        unit: " %",
        lines: one(tell("changed", &flips, &|share| format!("{} %", short(share))), COLORS[1], flips),
    });
    let layers = points.iter().map(|point| point.zeros.len()).max().unwrap_or(0);
    let zeros = (0..layers).map(|layer| {
        let share = |point: &Point| point.zeros.get(layer).map_or(f64::NAN, |share| 100.0 * share);
        let values: Vec<f64> = points.iter().map(share).collect();
        let name = tell(&format!("layer {layer}"), &values, &|share| format!("{share:.1} %"));
        Line { name, values, color: COLORS[layer % COLORS.len()], dashed: false }
    });
    panels.push(Panel {
        name: "weights that are 0, by layer",
        note: "layer 0 reads the image",
        scale: Scale::Linear,
        unit: " %",
        lines: zeros.collect(),
    });

    let bare = |panel: &Panel| panel.lines.iter().all(|line| line.drawn(panel.scale).next().is_none());
    let kept = panels.into_iter().enumerate().filter(|(i, panel)| *i < 2 || !bare(panel));
    figure(title, &kept.map(|(_, panel)| panel).collect::<Vec<_>>())
}

/// Several runs in one figure: test accuracy, and test loss with the training loss dashed.
///
/// Accuracy lies on an axis that is stretched towards 0 and 100 %, so that a run that stays at 40 % and
/// the tenths of one that ends at 98 % are both seen.
pub fn compare_svg(title: &str, runs: &[(&str, &[Point])]) -> String {
    let color = |run: usize| COLORS[run % COLORS.len()];
    let accuracy = runs.iter().enumerate().map(|(run, (name, points))| {
        let values: Vec<f64> = points.iter().map(|point| percent(point.accuracy)[1]).collect();
        let name = tell(name, &values, &|share| format!("{share:.2} %"));
        Line { name, values, color: color(run), dashed: false }
    });
    // The dashed lines first: they lie below.
    let train = runs.iter().enumerate().map(|(run, (_, points))| {
        let values = points.iter().map(|point| point.loss[0]).collect();
        Line { name: String::new(), values, color: lighter(color(run)), dashed: true }
    });
    let test = runs.iter().enumerate().map(|(run, (name, points))| {
        let values: Vec<f64> = points.iter().map(|point| point.loss[1]).collect();
        let name = tell(name, &values, &|loss| format!("{loss:.4}"));
        Line { name, values, color: color(run), dashed: false }
    });
    let panels = [
        Panel {
            name: "test accuracy, the axis stretched towards 0 and 100 %",
            note: "",
            scale: Scale::Logit,
            unit: " %",
            lines: accuracy.collect(),
        },
        Panel {
            name: "loss: cross-entropy in nats, log scale",
            note: "solid: test, dashed: train, while the network learns",
            scale: Scale::Log,
            unit: "",
            lines: train.chain(test).collect(),
        },
    ];
    figure(title, &panels)
}

fn percent(shares: [f64; 2]) -> [f64; 2] {
    shares.map(|share| 100.0 * share)
}

fn lighter(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let half = |channel: u8| 128 + channel / 2;
    RGBColor(half(r), half(g), half(b))
}

/// A name with the last figure that is a number.
fn tell(name: &str, values: &[f64], told: &dyn Fn(f64) -> String) -> String {
    let last = values.iter().rev().find(|value| value.is_finite());
    last.map_or(name.to_string(), |last| format!("{name}: {}", told(*last)))
}

/// Three significant digits, no trailing zeros.
pub(super) fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    if rounded == 0.0 || (1e-4..1e6).contains(&rounded.abs()) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

/// How an axis is stretched.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    Linear,
    Log,
    /// `ln(p / (100 - p))`: equal steps where the odds grow by an equal factor.
    Logit,
}

/// Percentages worth a label on a logit axis, nearest to the middle first.
const ODDS: [f64; 17] =
    [50.0, 90.0, 10.0, 99.0, 80.0, 20.0, 98.0, 1.0, 95.0, 5.0, 99.5, 70.0, 30.0, 2.0, 99.9, 99.8, 0.1];

impl Scale {
    /// Where a value lies; `None` for what has no place on any axis.
    pub(super) fn place(self, y: f64) -> Option<f64> {
        let at = match self {
            Scale::Linear => y,
            // A zero has no logarithm: it lies below everything, and the panel's end cuts it.
            Scale::Log => y.max(f64::MIN_POSITIVE).log10(),
            Scale::Logit => {
                let y = y.clamp(0.1, 99.95);
                (y / (100.0 - y)).ln()
            }
        };
        (y.is_finite() && at.is_finite()).then_some(at)
    }

    /// The ends of an axis on which all of these are seen, in places.
    pub(super) fn ends(self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let places = values.filter(|y| self != Scale::Log || *y > 0.0).filter_map(|y| self.place(y));
        let widen = |ends: Option<(f64, f64)>, at: f64| {
            Some(ends.map_or((at, at), |(low, high)| (low.min(at), high.max(at))))
        };
        let (low, high) = places.fold(None, widen).unwrap_or((-1.0, 0.0));
        let least = match self {
            Scale::Linear => (0.02 * high.abs()).max(1e-9),
            Scale::Log => 0.3,
            Scale::Logit => 0.5,
        };
        let margin = 0.07 * (high - low).max(least);
        (low - margin, high + margin)
    }

    /// The values worth a label between two places, about six of them, with their places.
    pub(super) fn ticks(self, low: f64, high: f64) -> Vec<(f64, f64)> {
        let inside = |values: &mut dyn Iterator<Item = f64>| -> Vec<(f64, f64)> {
            let placed = values.filter_map(|y| Some((self.place(y)?, y)));
            placed.filter(|(at, _)| (low..=high).contains(at)).collect()
        };
        let decades = |factors: &'static [f64], step: usize| {
            let exponents = (low.floor() as i32..=high.ceil() as i32).step_by(step);
            inside(&mut exponents.flat_map(|e| factors.iter().map(move |f| f * 10f64.powi(e))))
        };
        let even = |low: f64, high: f64| {
            let step = step(high - low);
            inside(&mut (0..=12).map(|i| ((low / step).ceil() + f64::from(i)) * step))
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
                // In the order of their worth, each that leaves room for a line of text.
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

/// A step of 1, 2 or 5 times a power of ten that cuts a width into at most about seven.
fn step(width: f64) -> f64 {
    let rough = (width / 7.0).max(1e-12);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    factor * power
}

/// One line over epochs: values from epoch 1 on, and its name in the legend, none if empty.
struct Line {
    name: String,
    values: Vec<f64>,
    color: RGBColor,
    dashed: bool,
}

impl Line {
    /// Epoch and place of each value that has one.
    fn drawn(&self, scale: Scale) -> impl Iterator<Item = (f64, f64)> + '_ {
        let at = move |(i, y): (usize, &f64)| Some(((i + 1) as f64, scale.place(*y)?));
        self.values.iter().enumerate().filter_map(at)
    }
}

/// One axis of values over the epochs.
struct Panel {
    name: &'static str,
    note: &'static str,
    scale: Scale,
    unit: &'static str,
    lines: Vec<Line>,
}

/// An axis with its ends and the places that have a label.
pub(super) struct Axis {
    pub(super) ends: Range<f64>,
    pub(super) ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, at: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (at - self.ends.start) / (self.ends.end - self.ends.start);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.ends.clone()
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// The panels below each other, all over the same epochs.
fn figure(title: &str, panels: &[Panel]) -> String {
    let mut svg = String::new();
    draw(title, panels, &mut svg).expect("drawing into a string cannot fail");
    svg
}

fn draw(title: &str, panels: &[Panel], svg: &mut String) -> Result<(), DrawError> {
    let tall = if panels.len() > 2 { 220 } else { 290 };
    let height = TITLE + tall * panels.len() as i32 + MARGIN / 2;
    let root = SVGBackend::with_string(svg, (WIDTH, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    // A long title is set smaller rather than cut off.
    let fits = 1.7 * f64::from(WIDTH as i32 - 2 * MARGIN) / title.chars().count().max(1) as f64;
    root.draw_text(title, &bold(fits.clamp(11.0, 20.0) as i32, &INK), (MARGIN, 16))?;

    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let epochs = lines().map(|line| line.values.len()).max().unwrap_or(0);
    let longest = lines().map(|line| line.name.chars().count()).max().unwrap_or(0);
    let legend = (longest as i32 * TEXT * 6 / 10 + 44).clamp(120, 380);
    let (_, mut rest) = root.split_vertically(TITLE);
    for panel in panels {
        let (area, below) = rest.split_vertically(tall);
        panel.draw(&area, epochs, legend)?;
        rest = below;
    }
    root.present()
}

impl Panel {
    fn draw(&self, area: &Area, epochs: usize, legend: i32) -> Result<(), DrawError> {
        area.draw_text(self.name, &bold(15, &INK), (MARGIN, 4))?;
        let right = Pos::new(HPos::Right, VPos::Top);
        let note = TextStyle::from(("sans-serif", TEXT).into_font()).color(&MUTED).pos(right);
        area.draw_text(self.note, &note, (WIDTH as i32 - MARGIN, 5))?;

        let (body, key) = area.margin(28, 14, 0, 0).split_horizontally(WIDTH as i32 - legend);
        let (low, high) = self.scale.ends(self.lines.iter().flat_map(|line| line.values.iter().copied()));
        let ticks = self.scale.ticks(low, high);
        let name = |at: &f64| {
            let tick = ticks.iter().find(|(place, _)| place == at);
            tick.map_or(String::new(), |(_, y)| format!("{}{}", short(*y), self.unit))
        };
        let last = epochs.max(2) as f64;
        // Every epoch has its label up to 20, then round ones and the first.
        let every = if last <= 20.0 { 1.0 } else { step(last / 2.0) };
        let epoch = |i: usize| (i as f64 * every).max(1.0);
        let round = (usize::from(every == 1.0)..).map(epoch).take_while(|epoch| *epoch <= last).collect();
        let across = Axis { ends: 1.0..last, ticks: round };
        let up = Axis { ends: low..high, ticks: ticks.iter().map(|(at, _)| *at).collect() };
        let mut chart = ChartBuilder::on(&body)
            .margin_left(MARGIN - 8)
            .margin_right(10)
            .margin_top(4)
            .x_label_area_size(24)
            .y_label_area_size(64)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|epoch| format!("{epoch}"))
            .y_label_formatter(&name)
            .bold_line_style(RULE)
            .axis_style(TRAIN)
            .label_style(("sans-serif", TEXT))
            .draw()?;
        for line in &self.lines {
            let at = || line.drawn(self.scale).map(|(epoch, at)| (epoch, at.clamp(low, high)));
            if line.dashed {
                let dashes = at().collect::<Vec<_>>().into_iter();
                chart.draw_series(DashedLineSeries::new(dashes, 5, 4, line.color.stroke_width(2)))?;
                continue;
            }
            chart.draw_series(LineSeries::new(at(), line.color.stroke_width(2)))?;
            if epochs <= MARKED {
                chart.draw_series(at().map(|at| Circle::new(at, 3, line.color.filled())))?;
            }
        }

        let height = key.dim_in_pixel().1 as i32;
        let middle = Pos::new(HPos::Left, VPos::Center);
        let text = |color| TextStyle::from(("sans-serif", TEXT).into_font()).color(color).pos(middle);
        key.draw_text("epoch", &text(&MUTED), (10, height - 9))?;
        let named = self.lines.iter().filter(|line| !line.name.is_empty()).collect::<Vec<_>>();
        let room = (height as usize).saturating_sub(40) / 20;
        for (i, line) in named.iter().enumerate().take(room) {
            let y = 12 + 20 * i as i32;
            if i + 1 == room && named.len() > room {
                key.draw_text(&format!("and {} more", named.len() - i), &text(&INK), (26, y))?;
                break;
            }
            key.draw(&PathElement::new([(0, y), (18, y)], line.color.stroke_width(3)))?;
            key.draw_text(&line.name, &text(&INK), (26, y))?;
        }
        Ok(())
    }
}

pub(super) fn bold(size: i32, color: &RGBColor) -> TextStyle<'_> {
    TextStyle::from(("sans-serif", size, FontStyle::Bold).into_font()).color(color)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(epochs: usize) -> Vec<Point> {
        let point = |i: usize| {
            let left = 0.7f64.powi(i as i32);
            Point {
                loss: [0.4 * left, 0.1 + 0.1 * left],
                accuracy: [1.0 - 0.1 * left, 0.98 - 0.05 * left],
                lr: 3e-3 * left,
                flips: (i > 0).then_some(0.2 * left),
                zeros: vec![0.3, 0.35, 0.2],
            }
        };
        (0..epochs).map(point).collect()
    }

    #[test]
    fn a_curve_is_drawn_whatever_the_numbers() {
        let same = |loss: [f64; 2], accuracy: [f64; 2], n: usize| {
            vec![Point { loss, accuracy, lr: 1e-3, flips: Some(0.0), zeros: vec![f64::NAN, 0.0] }; n]
        };
        let runs = [
            vec![],
            vec![Point::default(); 2],
            same([2.3, 2.3], [0.1, 0.1], 1),
            same([0.0, 0.0], [1.0, 1.0], 3),
            same([f64::NAN, f64::INFINITY], [0.0, f64::NAN], 2),
            same([1e300, 1e-300], [1.0, -1.0], 200),
            vec![Point { zeros: vec![0.5; 40], ..run(2)[1].clone() }; 3],
        ];
        for points in &runs {
            let whole = |svg: String| svg.trim_end().ends_with("</svg>") && !svg.contains("NaN");
            assert!(whole(curve_svg("a < run", points)), "{points:?}");
            let pair: [(&str, &[Point]); 2] = [("a", points), ("b & c", &run(5))];
            assert!(whole(compare_svg("two", &pair)), "{points:?}");
        }
        assert!(compare_svg("none", &[]).contains("none"));
    }

    #[test]
    fn a_panel_without_data_is_left_out() {
        let (whole, float) = (run(6), |point: &Point| Point { flips: None, zeros: vec![], ..point.clone() });
        let ternary = curve_svg("ternary", &whole);
        for text in ["accuracy", "learning rate", "trits that changed", "layer 2: 20.0 %", "test: 97.16 %"] {
            assert!(ternary.contains(text), "{text}");
        }
        let float = curve_svg("float", &whole.iter().map(float).collect::<Vec<_>>());
        assert!(float.contains("learning rate") && !float.contains("trits") && !float.contains("layer"));
        let compared = compare_svg("two", &[("ternary", &whole), ("f32", &run(3))]);
        assert!(compared.contains("ternary: 97.16 %") && compared.contains("f32: 95.55 %"));
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
