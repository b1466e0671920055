//! The live view of a run on a whole terminal: curves, flips by layer, and the weights of the first layer. This module
//! draws into a frame. It knows no terminal and no file.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType};

use super::chart::short;
use super::{Point, Subject, Weights};

/// Columns and rows of the smallest possible terminal.
pub const LEAST: [u16; 2] = [80, 20];

/// The current state of a run.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The network and the device.
    pub title: String,
    /// The subject, which decides axes and words.
    pub subject: Subject,
    /// Total number of epochs, or of steps.
    pub total: usize,
    /// Completed epochs, with the completed part of the current one as a fraction, or completed steps.
    pub at: f64,
    /// The evaluations.
    pub points: Vec<Point>,
    /// The training loss of the current epoch, as in [`Point::steps`].
    pub now: Vec<(f64, f64)>,
    /// For some neurons of the first layer, all weights from -1 to 1.
    pub fields: Vec<Vec<f64>>,
    /// Height and width of the image.
    pub size: [usize; 2],
    /// Text that the network wrote after the last evaluation.
    pub sample: Option<String>,
    /// Images or tokens per second.
    pub speed: Option<f64>,
    /// Remaining time in seconds.
    pub left: Option<f64>,
    /// Whether a process trains, and the keys.
    pub footer: String,
    /// Whether the terminal shows colours.
    pub color: bool,
}

/// The largest number of neurons on any terminal.
const FIELDS: usize = 64;

impl Live {
    /// Takes the weights of the first layer.
    pub fn look(&mut self, first: &Weights) {
        let ([rows, cols], share) = (first.shape(), first.share());
        let field = |row| (0..cols).map(|col| share(row, col)).collect();
        self.fields = (0..rows.min(FIELDS)).map(field).collect();
    }

    /// Draws the whole view.
    pub fn draw(&self, frame: &mut Frame) {
        let tile = self.size[0].div_ceil(2) as u16;
        let shares = self.flips();
        let flips = shares.len().min(6) as u16;
        let fixed = 3 + if flips > 0 { flips + 1 } else { 0 };
        // The weights are shown only if the curves keep their space: a line above, and one or two rows of neurons.
        let left = frame.area().height.saturating_sub(fixed + 8 + 1);
        let room = left / (tile + 1);
        let below = match &self.sample {
            Some(sample) if left > 0 => 1 + left.min(sample.lines().count() as u16),
            Some(_) => 0,
            None if self.fields.is_empty() || room == 0 => 0,
            None => 1 + room.min(2) * (tile + 1),
        };
        let [title, progress, curves, layers, last, footer] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(8),
            Constraint::Length(if flips > 0 { flips + 1 } else { 0 }),
            Constraint::Length(below),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Line::from(self.title.as_str()).bold(), title);
        self.progress(frame, progress);
        let [loss, second] = Layout::horizontal([Constraint::Fill(1); 2]).areas(curves);
        self.losses(frame, loss);
        match self.subject {
            Subject::Digits => self.accuracies(frame, second),
            Subject::Text { .. } => self.perplexities(frame, second),
        }
        self.flipped(frame, layers, &shares);
        match &self.sample {
            Some(sample) => written(frame, last, sample),
            None => self.weights(frame, last),
        }
        frame.render_widget(Line::from(self.footer.as_str()).dim(), footer);
    }

    /// Share of the trits of each layer that flipped before the last evaluation.
    fn flips(&self) -> Vec<f64> {
        let Some(point) = self.points.last().filter(|point| point.flips.is_some()) else { return Vec::new() };
        let layer = |layer: usize| point.mean(|matrix| matrix.flips, |matrix| matrix.layer == layer);
        (0..point.layers()).map(layer).collect()
    }

    fn progress(&self, frame: &mut Frame, area: Rect) {
        let share = (self.at / self.total.max(1) as f64).clamp(0.0, 1.0);
        // An epoch counts from its beginning, and a step from its end.
        let begun = if self.subject == Subject::Digits { 1 } else { 0 };
        let (unit, at) = (self.subject.unit(), (self.at.floor() as usize + begun).min(self.total));
        let mut told = format!("{unit} {at}/{}  {:.0} %", self.total, 100.0 * share);
        if let Some(speed) = self.speed {
            told += &format!("  {speed:.0} {}/s", self.subject.labels());
        }
        if let Some(left) = self.left.filter(|_| share < 1.0) {
            told += &format!("  {} left", clock(left));
        }
        let [bar, text] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(told.len() as u16 + 1)]).areas(area);
        let done = "█".repeat((share * f64::from(bar.width)).round() as usize);
        frame.render_widget(Line::from(done).fg(Color::LightBlue), bar);
        frame.render_widget(Line::from(told).right_aligned(), text);
    }

    fn losses(&self, frame: &mut Frame, area: Rect) {
        let log = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
            let real = points.into_iter().filter(|(_, loss)| *loss > 0.0 && loss.is_finite());
            real.map(|(at, loss)| (at, loss.log10())).collect()
        };
        let within = self.points.iter().flat_map(|point| &point.steps).chain(&self.now).copied();
        let train = log(within.collect());
        let test = log(self.ends(|point| point.loss[1]));
        let told = ["loss, log".into(), last_power(&train, 4), last_power(&test, 4)];
        self.chart(frame, area, told, [train, test], |y| short(10f64.powf(y)));
    }

    fn accuracies(&self, frame: &mut Frame, area: Rect) {
        let [train, test] = [0, 1].map(|i| self.ends(|point| 100.0 * point.accuracy[i]));
        let last = |line: &[(f64, f64)]| line.last().map_or(String::new(), |at| format!(" {:.2} %", at.1));
        let told = ["accuracy".into(), last(&train), last(&test)];
        self.chart(frame, area, told, [train, test], |y| format!("{y:.1}"));
    }

    /// `exp(loss)`, on a logarithmic axis.
    fn perplexities(&self, frame: &mut Frame, area: Rect) {
        let [train, test] = [0, 1].map(|i| self.ends(|point| point.loss[i] * std::f64::consts::LOG10_E));
        let told = ["perplexity, log".into(), last_power(&train, 2), last_power(&test, 2)];
        self.chart(frame, area, told, [train, test], |y| short(10f64.powf(y)));
    }

    /// One value for each evaluation.
    fn ends(&self, of: impl Fn(&Point) -> f64) -> Vec<(f64, f64)> {
        let at = self.points.iter().map(|point| (point.at, of(point)));
        at.filter(|(_, value)| value.is_finite()).collect()
    }

    /// A chart of two values over the axis: in training and in the evaluation.
    fn chart(
        &self,
        frame: &mut Frame,
        area: Rect,
        [name, train, test]: [String; 3],
        lines: [Vec<(f64, f64)>; 2],
        label: impl Fn(f64) -> String,
    ) {
        let all = || lines.iter().flatten().map(|at| at.1);
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        let [head, area] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        // Short names, so that two charts fit beside each other on 80 columns.
        let [first, second] = ["train", if self.subject == Subject::Digits { "test" } else { "val" }];
        let told =
            vec![name.into(), format!("  {first}{train}").fg(TRAIN), format!("  {second}{test}").fg(TEST)];
        frame.render_widget(Line::from(told), head);
        if low > high {
            return frame.render_widget(Line::from("nothing yet").dim(), area);
        }
        let margin = 0.05 * (high - low).max(0.02);
        let (low, high) = (low - margin, high + margin);
        let marker = if self.color { Marker::Braille } else { Marker::Dot };
        let line = |i: usize, color| {
            Dataset::default()
                .data(&lines[i])
                .marker(marker)
                .graph_type(GraphType::Line)
                .style(Style::new().fg(color))
        };
        let last = self.at.ceil().max(1.0);
        let chart = Chart::new(vec![line(0, TRAIN), line(1, TEST)])
            .x_axis(Axis::default().bounds([0.0, last]).labels(["0".to_string(), format!("{last}")]))
            .y_axis(Axis::default().bounds([low, high]).labels([low, (low + high) / 2.0, high].map(label)));
        frame.render_widget(chart, area);
    }

    fn flipped(&self, frame: &mut Frame, area: Rect, shares: &[f64]) {
        if area.height == 0 {
            return;
        }
        let rows = Layout::vertical(vec![Constraint::Length(1); area.height.into()]).split(area);
        let told = match self.subject {
            Subject::Digits => "trits that flipped in the last epoch",
            Subject::Text { .. } => "trits that flipped since the evaluation before",
        };
        frame.render_widget(Line::from(told), rows[0]);
        for (layer, (share, row)) in shares.iter().zip(&rows[1..]).enumerate() {
            let told = format!("layer {layer}  {:6.2} %  ", 100.0 * share);
            let room = f64::from(row.width.saturating_sub(told.len() as u16));
            let bar = "█".repeat((share.clamp(0.0, 1.0) * room).round() as usize);
            frame.render_widget(Line::from(vec![told.into(), bar.fg(Color::LightBlue)]), *row);
        }
    }

    /// As many neurons as fit. One row of characters shows two rows of weights.
    fn weights(&self, frame: &mut Frame, area: Rect) {
        let [height, width] = self.size;
        let [tall, wide] = [height.div_ceil(2) + 1, width + 1];
        if area.height == 0 || height * width == 0 {
            return;
        }
        let told = match self.color {
            true => "what the first neurons look for: yellow adds, blue subtracts",
            false => "what the first neurons look for: a block adds its input",
        };
        let [head, area] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Line::from(told), head);
        let across = usize::from(area.width) / wide;
        let shown = (across * (usize::from(area.height) / tall)).min(self.fields.len());
        for (i, field) in self.fields.iter().take(shown).enumerate() {
            let [left, top] = [(i % across * wide) as u16, (i / across * tall) as u16];
            let name = Line::from(format!("neuron {i}")).dim();
            frame.render_widget(
                name,
                Rect { x: area.x + left, y: area.y + top, width: width as u16, height: 1 },
            );
            for y in (0..height).step_by(2) {
                for x in 0..width {
                    let upper = sign(field.get(y * width + x));
                    let lower = sign(field.get((y + 1) * width + x));
                    let at = (area.x + left + x as u16, area.y + top + 1 + (y / 2) as u16);
                    let Some(cell) = frame.buffer_mut().cell_mut(at) else { continue };
                    if self.color {
                        cell.set_symbol("▀").set_fg(COLORS[upper]).set_bg(COLORS[lower]);
                    } else {
                        cell.set_symbol(
                            [[" ", "▄"], ["▀", "█"]][usize::from(upper == 2)][usize::from(lower == 2)],
                        );
                    }
                }
            }
        }
    }
}

/// The last value of a line of logarithms, with so many decimal places.
fn last_power(line: &[(f64, f64)], digits: usize) -> String {
    line.last().map_or(String::new(), |at| format!(" {:.digits$}", 10f64.powf(at.1)))
}

/// Draws the text that a network wrote.
fn written(frame: &mut Frame, area: Rect, sample: &str) {
    let [head, area] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::from("what it writes"), head);
    let lines: Vec<Line> = sample.lines().map(|line| Line::from(line).fg(Color::LightBlue)).collect();
    frame.render_widget(Text::from(lines), area);
}

/// The terminal's own text colour is visible on light and on dark backgrounds.
const TRAIN: Color = Color::Reset;
const TEST: Color = Color::LightBlue;

/// Colours for negative, near-zero and positive weights. All people can tell them apart.
const COLORS: [Color; 3] = [Color::Blue, Color::Black, Color::Yellow];

fn sign(weight: Option<&f64>) -> usize {
    weight.map_or(1, |weight| 1 + usize::from(*weight > 0.25) - usize::from(*weight < -0.25))
}

/// A duration as text.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02} min"),
        (hours, minutes, _) => format!("{hours}:{minutes:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::Matrix;
    use super::*;
    use crate::ternary::Packed;

    fn drawn(live: &Live, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal.draw(|frame| live.draw(frame)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let row =
            |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_string();
        (0..height).map(row).collect()
    }

    fn matrices(flips: &[f64]) -> Vec<Matrix> {
        let layer = |(layer, &flips)| Matrix { layer, weights: 10, flips, ..Matrix::default() };
        flips.iter().enumerate().map(layer).collect()
    }

    fn live() -> Live {
        let point = |i: usize| Point {
            at: (i + 1) as f64,
            flips: Some(0.3),
            matrices: matrices(&[0.45, 0.2]),
            loss: [0.5 / (i + 1) as f64, 0.2 / (i + 1) as f64],
            accuracy: [0.9, 0.95],
            steps: (1..=4).map(|k| (i as f64 + f64::from(k) / 4.0, 2.0 / (i + k as usize) as f64)).collect(),
            ..Point::default()
        };
        let mut live = Live {
            title: "784-256-10 in ternary".into(),
            total: 4,
            at: 2.5,
            points: (0..2).map(point).collect(),
            now: vec![(2.25, 0.4)],
            size: [4, 10],
            speed: Some(12_345.0),
            left: Some(75.0),
            footer: "q leaves".into(),
            color: true,
            ..Live::default()
        };
        let trits: Vec<i8> = (0..80).map(|i| if i < 40 { 1 } else { -1 }).collect();
        live.look(&Weights::Trits(&Packed::pack(&trits, 2, 40, 1.0)));
        live
    }

    #[test]
    fn all_of_it_is_on_the_screen() {
        let text = drawn(&live(), 80, 30).join("\n");
        for part in [
            "784-256-10 in ternary",
            "epoch 3/4  62 %  12345 images/s  1:15 min left",
            "loss, log  train 0.4000  test 0.1000",
            "accuracy  train 90.00 %  test 95.00 %",
            "what the first neurons look for: yellow adds, blue subtracts",
            "layer 0   45.00 %",
            "layer 1   20.00 %",
            "neuron 0",
            "neuron 1",
            "▀▀▀▀▀▀▀▀▀▀ ▀▀▀▀▀▀▀▀▀▀",
            "q leaves",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        // Without colours a positive weight is a block. The other neuron is blank.
        let blocks = drawn(&Live { color: false, ..live() }, 80, 30);
        let names = blocks.iter().position(|line| line.starts_with("neuron 0")).expect("the neurons");
        assert_eq!(blocks[names + 1..names + 3], ["██████████", "██████████"], "{blocks:?}");
    }

    /// A run on a text, with a sample.
    fn text() -> Live {
        let subject = Subject::Text { token: "character" };
        Live { subject, total: 1200, at: 240.0, sample: Some("ROMEO:\nO night!".into()), ..live() }
    }

    #[test]
    fn a_text_has_steps_perplexity_and_what_it_writes() {
        let drawn = drawn(&text(), 80, 30).join("\n");
        for part in [
            "step 240/1200  20 %  12345 tokens/s",
            "loss, log  train 0.4000  val 0.1000",
            // exp(0.25) and exp(0.1).
            "perplexity, log  train 1.28  val 1.11",
            "layer 0   45.00 %",
            "what it writes\nROMEO:\nO night!",
        ] {
            assert!(drawn.contains(part), "{part:?} is missing in\n{drawn}");
        }
        assert!(!drawn.contains("accuracy") && !drawn.contains("neuron"), "{drawn}");
    }

    #[test]
    fn it_is_drawn_whatever_the_terminal_and_the_run() {
        let [least_width, least_height] = LEAST;
        let mut many = live();
        many.points[1].matrices = matrices(&[1.5; 40]);
        let empty = Point { loss: [f64::NAN; 2], accuracy: [f64::NAN; 2], lr: f64::NAN, ..Point::default() };
        let odd = Live { points: vec![empty; 3], now: vec![(0.1, f64::NAN), (0.2, 0.0)], ..live() };
        for live in [Live::default(), live(), text(), many, odd] {
            for (width, height) in [(least_width, least_height), (120, 40), (300, 100), (10, 5), (1, 1)] {
                assert_eq!(drawn(&live, width, height).len(), usize::from(height));
            }
        }
        let small = drawn(&Live { size: [28, 28], ..live() }, least_width, least_height).join("\n");
        assert!(small.contains("loss, log") && !small.contains("neuron"), "curves come first:\n{small}");
        assert_eq!([3.2, 75.0, 7300.0].map(clock), ["3 s", "1:15 min", "2:01 h"]);
    }
}
