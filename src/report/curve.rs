//! The curves of one run, or of several runs together, as SVG. This module knows numbers and names only.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::chart::{
    Area, Axis, COLORS, DrawError, INK, Line, MUTED, PALE, Scale, axes, bold, short, step, svg, text,
};
use super::{Matrix, Point, Subject};

const TEST: RGBColor = COLORS[0];
const FAINT: RGBColor = RGBColor(0xc4, 0xcb, 0xd3);

const WIDTH: i32 = 900;
const MARGIN: i32 = 20;
const TITLE: i32 = 50;
const TEXT: i32 = 14;
/// The largest number of evaluations for which each point has a mark.
const MARKED: usize = 60;

/// The curves of one run: loss, accuracy or perplexity, learning rate, flips and zeros. A panel without data is left out.
pub fn curve_svg(subject: Subject, title: &str, points: &[Point]) -> String {
    let line = |name: String, color, of: &dyn Fn(&Point) -> f64, told: &dyn Fn(f64) -> String| {
        let at: Vec<(f64, f64)> = points.iter().map(|point| (point.at, of(point))).collect();
        Line { name: tell(&name, &at, told), at, color, dashed: false }
    };
    let both = |of: &dyn Fn(&Point) -> [f64; 2], told: &dyn Fn(f64) -> String| {
        let [train, test] = subject.halves().map(String::from);
        vec![line(train, PALE, &|point| of(point)[0], told), line(test, TEST, &|point| of(point)[1], told)]
    };

    let mut losses = both(&|point| point.loss, &|loss| format!("{loss:.4}"));
    let within: Vec<(f64, f64)> = points.iter().flat_map(|point| point.steps.iter().copied()).collect();
    if !within.is_empty() {
        let name = "train, a few steps".into();
        losses.insert(0, Line { name, at: within, color: FAINT, dashed: false });
    }
    let mut panels = match subject {
        Subject::Digits => vec![
            Panel {
                name: "loss: cross-entropy in nats, log scale".into(),
                note: "train: the mean over an epoch or a few steps, while the network learns",
                scale: Scale::Log,
                unit: "",
                lines: losses,
            },
            Panel {
                name: "accuracy".into(),
                note: "",
                scale: Scale::Linear,
                unit: " %",
                lines: both(&|point| percent(point.accuracy), &|share| format!("{share:.2} %")),
            },
        ],
        Subject::Text { token } => vec![
            Panel {
                name: format!("loss: cross-entropy in nats per {token}"),
                note: "train: the mean over the steps since the point before, while the network learns",
                scale: Scale::Linear,
                unit: "",
                lines: losses,
            },
            Panel {
                name: format!("perplexity, exp(loss), log scale: like a choice among so many {token}s"),
                note: "random guesses: the size of the vocabulary",
                scale: Scale::Log,
                unit: "",
                lines: both(&|point| point.loss.map(f64::exp), &|perplexity| format!("{perplexity:.2}")),
            },
        ],
    };
    panels.push(Panel {
        name: "learning rate".into(),
        note: if subject == Subject::Digits { "at the end of each epoch" } else { "at each evaluation" },
        scale: Scale::Linear,
        unit: "",
        lines: vec![line("learning rate".into(), COLORS[2], &|point| point.lr, &short)],
    });
    let all = |point: &Point| 100.0 * point.flips.unwrap_or(f64::NAN);
    let share = |share: f64| format!("{} %", short(share));
    let changed = |name: String, lines| Panel {
        name,
        note: match subject {
            Subject::Digits => "healthy: 20 to 50 % early, under 1 % at the end",
            Subject::Text { .. } => "healthy: many early, under 1 % at the end",
        },
        scale: Scale::Log,
        unit: " %",
        lines,
    };
    let zeros = |name: String, note, lines| Panel { name, note, scale: Scale::Linear, unit: " %", lines };
    // One line for each layer, or for each role.
    let layers = points.iter().map(Point::layers).max().unwrap_or(0);
    let by_layer = |of: fn(&Matrix) -> f64, told: &dyn Fn(f64) -> String| -> Vec<Line> {
        let layer = |layer: usize| {
            let color = COLORS[layer % COLORS.len()];
            let of = |point: &Point| 100.0 * point.mean(of, |matrix| matrix.layer == layer);
            line(format!("layer {layer}"), color, &of, told)
        };
        (0..layers).map(layer).collect()
    };
    let mut roles: Vec<&str> = Vec::new();
    for matrix in points.iter().flat_map(|point| &point.matrices) {
        if !roles.contains(&&matrix.role[..]) {
            roles.push(&matrix.role);
        }
    }
    // Their names have no values, because there are too many of them.
    let by_role = |of: fn(&Matrix) -> f64| -> Vec<Line> {
        let role = |(i, &role): (usize, &&str)| {
            let of = |point: &Point| (point.at, 100.0 * point.mean(of, |matrix| matrix.role == role));
            let at = points.iter().map(of).collect();
            Line { name: role.into(), at, color: COLORS[i % COLORS.len()], dashed: false }
        };
        roles.iter().enumerate().map(role).collect()
    };
    let tenths = |share: f64| format!("{share:.1} %");
    let since = format!(
        "trits that changed since the {} before",
        if subject == Subject::Digits { "epoch" } else { "evaluation" }
    );
    panels
        .push(changed(format!("{since}, log scale"), vec![line("changed".into(), COLORS[1], &all, &share)]));
    match subject {
        Subject::Digits => {
            let note = "layer 0 reads the image";
            panels.push(zeros(
                "weights that are 0, by layer".into(),
                note,
                by_layer(|matrix| matrix.zeros, &tenths),
            ));
        }
        Subject::Text { .. } => {
            panels.push(changed(
                "trits that changed, by layer, log scale".into(),
                by_layer(|matrix| matrix.flips, &share),
            ));
            panels.push(changed(
                "trits that changed, by role of the matrix, log scale".into(),
                by_role(|matrix| matrix.flips),
            ));
            let note = "layer 0 reads the embedding";
            panels.push(zeros(
                "weights that are 0, by layer".into(),
                note,
                by_layer(|matrix| matrix.zeros, &tenths),
            ));
            let note = "q, k, v, o: attention; gate, up, down: feed-forward";
            panels.push(zeros(
                "weights that are 0, by role of the matrix".into(),
                note,
                by_role(|matrix| matrix.zeros),
            ));
        }
    }

    let bare = |panel: &Panel| {
        panel.lines.iter().flat_map(|line| &line.at).all(|at| panel.scale.place(at.1).is_none())
    };
    let kept = panels.into_iter().enumerate().filter(|(i, panel)| *i < 2 || !bare(panel));
    figure(subject, title, points.len(), &kept.map(|(_, panel)| panel).collect::<Vec<_>>())
}

/// The curves of several runs in one figure: the loss of the evaluation, with the training loss as dashed lines, and for
/// digits the test accuracy.
///
/// The axis of accuracy is stretched towards 0 % and 100 %. It shows both a run that stays at 40 % and the
/// differences of tenths near 98 %.
pub fn compare_svg(subject: Subject, title: &str, runs: &[(&str, &[Point])]) -> String {
    let color = |run: usize| COLORS[run % COLORS.len()];
    let lines = |of: &dyn Fn(&Point) -> f64, told: &dyn Fn(f64) -> String| -> Vec<Line> {
        let line = |(run, (name, points)): (usize, &(&str, &[Point]))| {
            let at: Vec<(f64, f64)> = points.iter().map(|point| (point.at, of(point))).collect();
            Line { name: tell(name, &at, told), at, color: color(run), dashed: false }
        };
        runs.iter().enumerate().map(line).collect()
    };
    // The dashed lines are drawn first, so they lie below the others.
    let train = runs.iter().enumerate().map(|(run, (_, points))| {
        let at = points.iter().map(|point| (point.at, point.loss[0])).collect();
        Line { name: "train".into(), at, color: lighter(color(run)), dashed: true }
    });
    let losses = train.chain(lines(&|point| point.loss[1], &|loss| format!("{loss:.4}"))).collect();
    let panels = match subject {
        Subject::Digits => [
            Panel {
                name: "test accuracy, the axis stretched towards 0 and 100 %".into(),
                note: "",
                scale: Scale::Logit,
                unit: " %",
                lines: lines(&|point| percent(point.accuracy)[1], &|share| format!("{share:.2} %")),
            },
            Panel {
                name: "loss: cross-entropy in nats, log scale".into(),
                note: "solid: test, dashed: train, while the network learns",
                scale: Scale::Log,
                unit: "",
                lines: losses,
            },
        ],
        Subject::Text { token } => [
            Panel {
                name: format!("loss: cross-entropy in nats per {token}"),
                note: "solid: validation, dashed: train, while the network learns",
                scale: Scale::Linear,
                unit: "",
                lines: losses,
            },
            Panel {
                name: format!(
                    "validation perplexity, exp(loss), log scale: like a choice among so many {token}s"
                ),
                note: "",
                scale: Scale::Log,
                unit: "",
                lines: lines(&|point| point.loss[1].exp(), &|perplexity| format!("{perplexity:.3}")),
            },
        ],
    };
    let count = runs.iter().map(|(_, points)| points.len()).max().unwrap_or(0);
    figure(subject, title, count, &panels)
}

fn percent(shares: [f64; 2]) -> [f64; 2] {
    shares.map(|share| 100.0 * share)
}

fn lighter(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let half = |channel: u8| 128 + channel / 2;
    RGBColor(half(r), half(g), half(b))
}

/// A name with the last finite value.
fn tell(name: &str, at: &[(f64, f64)], told: &dyn Fn(f64) -> String) -> String {
    let last = at.iter().rev().find(|at| at.1.is_finite());
    last.map_or(name.to_string(), |last| format!("{name}: {}", told(last.1)))
}

/// One panel: values over the axis of the run.
struct Panel {
    name: String,
    note: &'static str,
    scale: Scale,
    unit: &'static str,
    lines: Vec<Line>,
}

/// The panels, one below the other, over the same axis. A line of at most `count` values has a point for each
/// evaluation.
fn figure(subject: Subject, title: &str, count: usize, panels: &[Panel]) -> String {
    let tall = if panels.len() > 2 { 240 } else { 310 };
    let size = (WIDTH, TITLE + tall * panels.len() as i32 + MARGIN / 2);
    svg(size, |root| {
        // A long title is written smaller, so that it is not cut off.
        let fits = 1.7 * f64::from(WIDTH - 2 * MARGIN) / title.chars().count().max(1) as f64;
        root.draw_text(title, &bold(fits.clamp(11.0, 20.0) as i32, &INK), (MARGIN, 16))?;
        let lines = || panels.iter().flat_map(|panel| &panel.lines);
        let last = lines().flat_map(|line| &line.at).map(|at| at.0).fold(0.0, f64::max);
        let (_, mut rest) = root.split_vertically(TITLE);
        for panel in panels {
            let (area, below) = rest.split_vertically(tall);
            panel.draw(&area, subject.unit(), last.ceil().max(1.0), count)?;
            rest = below;
        }
        Ok(())
    })
}

impl Panel {
    fn draw(&self, area: &Area, unit: &str, last: f64, count: usize) -> Result<(), DrawError> {
        area.draw_text(&self.name, &bold(15, &INK), (MARGIN, 4))?;
        area.draw_text(self.note, &text(TEXT, &MUTED, HPos::Right, VPos::Top), (WIDTH - MARGIN, 5))?;

        self.legend(area)?;
        let body = area.margin(48, 14, 0, 0);
        let (low, high) =
            self.scale.labelled_ends(self.lines.iter().flat_map(|line| line.at.iter().map(|at| at.1)));
        // Up to 20 epochs or steps every one has a label. Above that, round numbers have one.
        let every = if last <= 20.0 { 1.0 } else { step(last / 2.0) };
        let round = (0..).map(|i| f64::from(i) * every).take_while(|at| *at <= last);
        let across = Axis { ends: 0.0..last, ticks: round.map(|at| (at, at.to_string())).collect() };
        let ticks = self.scale.ticks(low, high).into_iter();
        let up = Axis {
            ends: low..high,
            ticks: ticks.map(|(at, y)| (at, format!("{}{}", short(y), self.unit))).collect(),
        };
        let mut chart = axes(&body, [across, up], [4, 0, MARGIN - 8, MARGIN + 50], [24, 64], TEXT)?;
        let place = |(at, y)| Some((at, self.scale.place(y)?.clamp(low, high)));
        for line in &self.lines {
            let at = line.draw(&mut chart, place)?;
            if !line.dashed && count <= MARKED && at.len() <= count {
                chart.draw_series(at.into_iter().map(|at| Circle::new(at, 3, line.color.filled())))?;
            }
        }

        let below = area.dim_in_pixel().1 as i32 - 23;
        area.draw_text(unit, &text(TEXT, &MUTED, HPos::Right, VPos::Center), (WIDTH - MARGIN, below))
    }

    /// The names of the lines, side by side, as many as fit.
    fn legend(&self, area: &Area) -> Result<(), DrawError> {
        let words = text(TEXT, &INK, HPos::Left, VPos::Center);
        let (mut x, y) = (MARGIN, 38);
        let named: Vec<&Line> = self.lines.iter().filter(|line| !line.name.is_empty()).collect();
        for (i, line) in named.iter().enumerate() {
            let wide = 26 + line.name.chars().count() as i32 * TEXT * 6 / 10 + 20;
            // The last name needs no space for a count of more names.
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

    const TEXT_RUN: Subject = Subject::Text { token: "character" };

    fn matrices(zeros: &[f64]) -> Vec<Matrix> {
        let layer = |(layer, &zeros)| Matrix { layer, weights: 10, flips: 0.1, zeros, ..Matrix::default() };
        zeros.iter().enumerate().map(layer).collect()
    }

    fn run(epochs: usize) -> Vec<Point> {
        let point = |i: usize| {
            let left = 0.7f64.powi(i as i32);
            Point {
                at: (i + 1) as f64,
                loss: [0.4 * left, 0.1 + 0.1 * left],
                accuracy: [1.0 - 0.1 * left, 0.98 - 0.05 * left],
                lr: 3e-3 * left,
                flips: (i > 0).then_some(0.2 * left),
                matrices: matrices(&[0.3, 0.35, 0.2]),
                steps: (1..=4).map(|k| (i as f64 + f64::from(k) / 4.0, 0.4 * left)).collect(),
            }
        };
        (0..epochs).map(point).collect()
    }

    #[test]
    fn a_curve_is_drawn_whatever_the_numbers() {
        let same = |loss: [f64; 2], accuracy: [f64; 2], n: usize| {
            let (matrices, steps) = (matrices(&[f64::NAN, 0.0]), vec![(0.5, loss[0])]);
            vec![Point { at: 1.0, loss, accuracy, lr: 1e-3, flips: Some(0.0), matrices, steps }; n]
        };
        let runs = [
            vec![],
            vec![Point::default(); 2],
            same([2.3, 2.3], [0.1, 0.1], 1),
            same([0.0, 0.0], [1.0, 1.0], 3),
            same([f64::NAN, f64::INFINITY], [0.0, f64::NAN], 2),
            same([1e300, 1e-300], [1.0, -1.0], 200),
            vec![Point { matrices: matrices(&[0.5; 40]), ..run(2)[1].clone() }; 3],
        ];
        for points in &runs {
            for subject in [Subject::Digits, TEXT_RUN] {
                let whole = |svg: String| svg.trim_end().ends_with("</svg>") && !svg.contains("NaN");
                assert!(whole(curve_svg(subject, "a < run", points)), "{points:?}");
                let pair: [(&str, &[Point]); 2] = [("a", points), ("b & c", &run(5))];
                assert!(whole(compare_svg(subject, "two", &pair)), "{points:?}");
            }
        }
        assert!(compare_svg(Subject::Digits, "none", &[]).contains("none"));
    }

    #[test]
    fn a_panel_without_data_is_left_out() {
        let none = |point: &Point| Point { flips: None, matrices: vec![], ..point.clone() };
        let (whole, float) = (run(6), |points: &[Point]| points.iter().map(none).collect::<Vec<_>>());
        let ternary = curve_svg(Subject::Digits, "ternary", &whole);
        for text in ["accuracy", "learning rate", "trits that changed", "layer 2: 20.0 %", "test: 97.16 %"] {
            assert!(ternary.contains(text), "{text}");
        }
        let float = curve_svg(Subject::Digits, "float", &float(&whole));
        assert!(float.contains("learning rate") && !float.contains("trits") && !float.contains("layer"));
        let compared = compare_svg(Subject::Digits, "two", &[("ternary", &whole), ("f32", &run(3))]);
        assert!(compared.contains("ternary: 97.16 %") && compared.contains("f32: 95.55 %"));
    }

    #[test]
    fn a_text_has_perplexity_and_its_matrices_by_layer_and_by_role() {
        let mut points = run(6);
        for point in &mut points {
            let matrix = |i: usize| Matrix {
                layer: i / 2,
                role: ["q", "down"][i % 2].into(),
                weights: [10, 30][i % 2],
                flips: 0.1,
                zeros: 0.1 * (i + 1) as f64,
            };
            point.matrices = (0..4).map(matrix).collect();
        }
        let svg = curve_svg(TEXT_RUN, "text", &points);
        // The mean over weights: (10 * 0.1 + 30 * 0.2) / 40 and (10 * 0.3 + 30 * 0.4) / 40.
        for text in [
            "nats per character",
            "perplexity",
            "validation",
            "layer 0: 17.5 %",
            "layer 1: 37.5 %",
            "down",
            "step",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("accuracy") && !svg.contains("epoch"));
        let compared = compare_svg(TEXT_RUN, "two", &[("ternary", &points), ("f32", &points)]);
        assert!(compared.contains("validation perplexity") && compared.contains("ternary: 0.1168"));
    }
}
