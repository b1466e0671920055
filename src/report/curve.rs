//! The curves of one run over its epochs, or of several runs together, as SVG. This module knows numbers and names
//! only.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::chart::{
    Area, Axis, COLORS, DrawError, INK, Line, MUTED, PALE, Scale, axes, bold, short, step, svg, text,
};

/// One epoch of the curve.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Mean training and test loss, nats.
    pub loss: [f64; 2],
    /// Training and test accuracy, from 0 to 1.
    pub accuracy: [f64; 2],
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Share of all trits that changed since the previous epoch. It is `None` for a network without trits.
    pub flips: Option<f64>,
    /// Share of zero trits in each layer, first layer first. It is empty for a network without trits.
    pub zeros: Vec<f64>,
    /// The training loss within the epoch: pairs of the completed epochs as a fraction, and the mean loss of the
    /// steps before that point.
    pub steps: Vec<(f64, f64)>,
}

impl Point {
    /// An epoch without any data.
    pub fn missing() -> Point {
        Point { loss: [f64::NAN; 2], accuracy: [f64::NAN; 2], lr: f64::NAN, ..Point::default() }
    }
}

const TEST: RGBColor = COLORS[0];
const FAINT: RGBColor = RGBColor(0xc4, 0xcb, 0xd3);

const WIDTH: i32 = 900;
const MARGIN: i32 = 20;
const TITLE: i32 = 50;
const TEXT: i32 = 14;
/// The largest number of epochs for which each point has a mark.
const MARKED: usize = 60;

/// The curves of one run: loss, accuracy, learning rate, flips and zeros over epochs. A panel without data is left
/// out.
pub fn curve_svg(title: &str, points: &[Point]) -> String {
    let both = |of: &dyn Fn(&Point) -> [f64; 2], told: &dyn Fn(f64) -> String| {
        let line = |which: usize, name: &str, color| {
            let values: Vec<f64> = points.iter().map(|point| of(point)[which]).collect();
            series(tell(name, &values, told), values, color, false)
        };
        vec![line(0, "train", PALE), line(1, "test", TEST)]
    };
    let one = |name: String, color, values| vec![series(name, values, color, false)];

    let mut losses = both(&|point| point.loss, &|loss| format!("{loss:.4}"));
    let within: Vec<(f64, f64)> = points.iter().flat_map(|point| point.steps.iter().copied()).collect();
    if !within.is_empty() {
        let name = "train, a few steps".into();
        losses.insert(0, Line { name, at: within, color: FAINT, dashed: false });
    }
    let mut panels = vec![
        Panel {
            name: "loss: cross-entropy in nats, log scale",
            note: "train: the mean over an epoch or a few steps, while the network learns",
            scale: Scale::Log,
            unit: "",
            lines: losses,
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
        series(name, values, COLORS[layer % COLORS.len()], false)
    });
    panels.push(Panel {
        name: "weights that are 0, by layer",
        note: "layer 0 reads the image",
        scale: Scale::Linear,
        unit: " %",
        lines: zeros.collect(),
    });

    let bare = |panel: &Panel| {
        panel.lines.iter().flat_map(|line| &line.at).all(|at| panel.scale.place(at.1).is_none())
    };
    let kept = panels.into_iter().enumerate().filter(|(i, panel)| *i < 2 || !bare(panel));
    figure(title, &kept.map(|(_, panel)| panel).collect::<Vec<_>>())
}

/// The curves of several runs in one figure: test accuracy and test loss, with the training loss as dashed lines.
///
/// The axis of accuracy is stretched towards 0 % and 100 %. It shows both a run that stays at 40 % and the
/// differences of tenths near 98 %.
pub fn compare_svg(title: &str, runs: &[(&str, &[Point])]) -> String {
    let color = |run: usize| COLORS[run % COLORS.len()];
    let accuracy = runs.iter().enumerate().map(|(run, (name, points))| {
        let values: Vec<f64> = points.iter().map(|point| percent(point.accuracy)[1]).collect();
        let name = tell(name, &values, &|share| format!("{share:.2} %"));
        series(name, values, color(run), false)
    });
    // The dashed lines first: they lie below.
    let train = runs.iter().enumerate().map(|(run, (_, points))| {
        let values = points.iter().map(|point| point.loss[0]).collect();
        series("train".into(), values, lighter(color(run)), true)
    });
    let test = runs.iter().enumerate().map(|(run, (name, points))| {
        let values: Vec<f64> = points.iter().map(|point| point.loss[1]).collect();
        let name = tell(name, &values, &|loss| format!("{loss:.4}"));
        series(name, values, color(run), false)
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

/// A name with the last finite value.
fn tell(name: &str, values: &[f64], told: &dyn Fn(f64) -> String) -> String {
    let last = values.iter().rev().find(|value| value.is_finite());
    last.map_or(name.to_string(), |last| format!("{name}: {}", told(*last)))
}

/// A line of values, which starts at epoch 1.
fn series(name: String, values: Vec<f64>, color: RGBColor, dashed: bool) -> Line {
    Line { name, at: (1..).map(f64::from).zip(values).collect(), color, dashed }
}

/// One panel: values over the epochs.
struct Panel {
    name: &'static str,
    note: &'static str,
    scale: Scale,
    unit: &'static str,
    lines: Vec<Line>,
}

/// The panels, one below the other, over the same epochs.
fn figure(title: &str, panels: &[Panel]) -> String {
    let tall = if panels.len() > 2 { 240 } else { 310 };
    let size = (WIDTH, TITLE + tall * panels.len() as i32 + MARGIN / 2);
    svg(size, |root| {
        // A long title is written smaller, so that it is not cut off.
        let fits = 1.7 * f64::from(WIDTH - 2 * MARGIN) / title.chars().count().max(1) as f64;
        root.draw_text(title, &bold(fits.clamp(11.0, 20.0) as i32, &INK), (MARGIN, 16))?;
        let lines = || panels.iter().flat_map(|panel| &panel.lines);
        let last = lines().flat_map(|line| &line.at).map(|at| at.0).fold(0.0, f64::max);
        let epochs = last.ceil() as usize;
        let (_, mut rest) = root.split_vertically(TITLE);
        for panel in panels {
            let (area, below) = rest.split_vertically(tall);
            panel.draw(&area, epochs)?;
            rest = below;
        }
        Ok(())
    })
}

impl Panel {
    fn draw(&self, area: &Area, epochs: usize) -> Result<(), DrawError> {
        area.draw_text(self.name, &bold(15, &INK), (MARGIN, 4))?;
        area.draw_text(self.note, &text(TEXT, &MUTED, HPos::Right, VPos::Top), (WIDTH - MARGIN, 5))?;

        self.legend(area)?;
        let body = area.margin(48, 14, 0, 0);
        let (low, high) =
            self.scale.labelled_ends(self.lines.iter().flat_map(|line| line.at.iter().map(|at| at.1)));
        let last = epochs.max(1) as f64;
        // Up to 20 epochs every epoch has a label. Above that, round numbers have one.
        let every = if last <= 20.0 { 1.0 } else { step(last / 2.0) };
        let round = (0..).map(|i| f64::from(i) * every).take_while(|epoch| *epoch <= last);
        let across = Axis { ends: 0.0..last, ticks: round.map(|epoch| (epoch, epoch.to_string())).collect() };
        let ticks = self.scale.ticks(low, high).into_iter();
        let up = Axis {
            ends: low..high,
            ticks: ticks.map(|(at, y)| (at, format!("{}{}", short(y), self.unit))).collect(),
        };
        let mut chart = axes(&body, [across, up], [4, 0, MARGIN - 8, MARGIN + 50], [24, 64], TEXT)?;
        let place = |(epoch, y)| Some((epoch, self.scale.place(y)?.clamp(low, high)));
        for line in &self.lines {
            let at = line.draw(&mut chart, place)?;
            if !line.dashed && epochs <= MARKED && at.len() <= epochs {
                chart.draw_series(at.into_iter().map(|at| Circle::new(at, 3, line.color.filled())))?;
            }
        }

        let below = area.dim_in_pixel().1 as i32 - 23;
        area.draw_text("epoch", &text(TEXT, &MUTED, HPos::Right, VPos::Center), (WIDTH - MARGIN, below))
    }

    /// The names of the lines, side by side, as many as fit.
    fn legend(&self, area: &Area) -> Result<(), DrawError> {
        let words = text(TEXT, &INK, HPos::Left, VPos::Center);
        let (mut x, y) = (MARGIN, 38);
        let named: Vec<&Line> = self.lines.iter().filter(|line| !line.name.is_empty()).collect();
        for (i, line) in named.iter().enumerate() {
            let wide = 26 + line.name.chars().count() as i32 * TEXT * 6 / 10 + 20;
            // Of the last none is left to be counted.
            let end = if i + 1 == named.len() { WIDTH - MARGIN } else { WIDTH - 100 };
            if x + wide > end {
                return area.draw_text(&format!("and {} more", named.len() - i), &words, (x, y));
            }
            // For a dashed line a gap divides the sample into two dashes.
            let gap = if line.dashed { 2 } else { 0 };
            for ends in [[(x, y), (x + 9 - gap, y)], [(x + 9 + gap, y), (x + 18, y)]] {
                area.draw(&PathElement::new(ends, line.color.stroke_width(3)))?;
            }
            area.draw_text(&line.name, &words, (x + 26, y))?;
            x += wide;
        }
        Ok(())
    }
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
                steps: (1..=4).map(|k| (i as f64 + f64::from(k) / 4.0, 0.4 * left)).collect(),
            }
        };
        (0..epochs).map(point).collect()
    }

    #[test]
    fn a_curve_is_drawn_whatever_the_numbers() {
        let same = |loss: [f64; 2], accuracy: [f64; 2], n: usize| {
            let zeros = vec![f64::NAN, 0.0];
            vec![Point { loss, accuracy, lr: 1e-3, flips: Some(0.0), zeros, steps: vec![(0.5, loss[0])] }; n]
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
}
