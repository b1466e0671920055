//! The plots of the page, as SVG to stand inside it.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::curve::{Axis, COLORS, INK, MUTED, RULE, Scale, TRAIN, bold};
use super::html::{binary, digits, percent, short, si};
use crate::measure::WEIGHT_FORMATS;
use crate::measure::ceilings::{Bound, Ceilings, Probe, STEADY};
use crate::measure::measured::Measured;
use crate::measure::quartiles;
use crate::measure::wall::{EnergyModel, EnergyRow, Stair, TokenCost};

const SIZE: (u32, u32) = (940, 430);
const LEGEND: i32 = 214;

type Error = DrawingAreaErrorKind<std::io::Error>;

/// A line, from left to right.
struct Line {
    name: String,
    at: Vec<(f64, f64)>,
    color: RGBColor,
    dashed: bool,
}

/// A point with a word beside it.
struct Mark {
    at: (f64, f64),
    /// Heights of the first and the third quartile.
    spread: Option<[f64; 2]>,
    word: String,
    color: RGBColor,
    bound: Option<Bound>,
}

/// What an axis shows, and how its ticks are written.
type Shown = (&'static str, fn(f64) -> String);

/// Lines and points over two logarithmic axes.
struct Plot {
    axes: [Shown; 2],
    lines: Vec<Line>,
    marks: Vec<Mark>,
    /// Names and colours of the legend beside the lines'.
    key: Vec<(String, RGBColor)>,
    /// Whether the legend explains the shapes of the points.
    shapes: bool,
    /// Whether the ticks across are powers of two.
    binary: bool,
}

fn color(format: &str) -> RGBColor {
    let at = WEIGHT_FORMATS.iter().position(|known| known.name() == format);
    COLORS[at.unwrap_or(WEIGHT_FORMATS.len()) % COLORS.len()]
}

/// Draws into a string, which cannot fail.
fn drawn(
    size: (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend, plotters::coord::Shift>) -> Result<(), Error>,
) -> String {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let done = root.fill(&WHITE).and_then(|()| draw(&root)).and_then(|()| root.present());
        done.expect("drawing into a string cannot fail");
    }
    svg
}

fn text(size: i32, color: &RGBColor, h: HPos, v: VPos) -> TextStyle<'_> {
    TextStyle::from(("sans-serif", size).into_font()).color(color).pos(Pos::new(h, v))
}

impl Plot {
    fn svg(&self) -> String {
        drawn(SIZE, |root| self.draw(root))
    }

    fn draw(&self, root: &DrawingArea<SVGBackend, plotters::coord::Shift>) -> Result<(), Error> {
        let (body, key) = root.split_horizontally(SIZE.0 as i32 - LEGEND);
        let all =
            || self.lines.iter().flat_map(|l| l.at.iter().copied()).chain(self.marks.iter().map(|m| m.at));
        let axis = |values: &mut dyn Iterator<Item = f64>, binary: bool| {
            let (low, high) = Scale::Log.ends(values);
            let ticks = if binary {
                let (first, last) = (10f64.powf(low).log2().ceil() as i32, 10f64.powf(high).log2() as i32);
                let powers = (first..=last).filter(|power| power % 2 == 0).map(|power| 2f64.powi(power));
                powers.map(|value| (value.log10(), value)).collect()
            } else {
                Scale::Log.ticks(low, high)
            };
            (Axis { ends: low..high, ticks: ticks.iter().map(|(at, _)| *at).collect() }, ticks)
        };
        let (across, x_ticks) = axis(&mut all().map(|at| at.0), self.binary);
        let strokes = self.marks.iter().filter_map(|mark| mark.spread).flatten();
        let (up, y_ticks) = axis(&mut all().map(|at| at.1).chain(strokes), false);
        let (low, high) = (up.ends.start, up.ends.end);
        let name = |ticks: &[(f64, f64)], told: fn(f64) -> String, at: &f64| {
            ticks.iter().find(|(place, _)| place == at).map_or(String::new(), |(_, value)| told(*value))
        };
        let [(x_name, x_told), (y_name, y_told)] = self.axes;
        let mut chart = ChartBuilder::on(&body)
            .margin_left(10)
            .margin_right(14)
            .margin_top(30)
            .margin_bottom(20)
            .x_label_area_size(26)
            .y_label_area_size(78)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .x_label_formatter(&|at| name(&x_ticks, x_told, at))
            .y_label_formatter(&|at| name(&y_ticks, y_told, at))
            .bold_line_style(RULE)
            .axis_style(TRAIN)
            .label_style(("sans-serif", 13))
            .draw()?;
        let place = |(x, y): (f64, f64)| (x.log10(), y.log10().clamp(low, high));
        for line in &self.lines {
            let at = || line.at.iter().map(|&at| place(at));
            if line.dashed {
                let dashes = at().collect::<Vec<_>>().into_iter();
                chart.draw_series(DashedLineSeries::new(dashes, 6, 4, line.color.stroke_width(2)))?;
            } else {
                chart.draw_series(LineSeries::new(at(), line.color.stroke_width(2)))?;
            }
        }
        let words = text(12, &INK, HPos::Left, VPos::Center);
        for mark in &self.marks {
            let (at, fill) = (place(mark.at), mark.color.filled());
            if let Some(ends) = mark.spread {
                let ends = ends.map(|y| place((mark.at.0, y)));
                chart.draw_series([PathElement::new(ends, mark.color.stroke_width(2))])?;
            }
            match mark.bound {
                Some(Bound::Compute) => chart.draw_series([TriangleMarker::new(at, 7, fill)])?,
                Some(Bound::Launch) => chart.draw_series([Cross::new(at, 5, mark.color.stroke_width(3))])?,
                Some(Bound::Bandwidth) => chart.draw_series([Circle::new(at, 5, fill)])?,
                Some(Bound::Balanced) => {
                    chart.draw_series([EmptyElement::at(at) + Rectangle::new([(-5, -5), (5, 5)], fill)])?
                }
                None => chart.draw_series([Circle::new(at, 4, mark.color.stroke_width(2))])?,
            };
            if !mark.word.is_empty() {
                let word = EmptyElement::at(at) + Text::new(mark.word.clone(), (8, 0), words.clone());
                chart.draw_series([word])?;
            }
        }
        body.draw_text(y_name, &text(13, &MUTED, HPos::Left, VPos::Top), (10, 8))?;
        let corner = (SIZE.0 as i32 - LEGEND - 14, SIZE.1 as i32 - 18);
        body.draw_text(x_name, &text(13, &MUTED, HPos::Right, VPos::Top), corner)?;

        let named = |y: &mut i32| {
            *y += 21;
            *y
        };
        let mut y = 20;
        let words = text(13, &INK, HPos::Left, VPos::Center);
        for line in self.lines.iter().filter(|line| !line.name.is_empty()) {
            let y = named(&mut y);
            let ends = [(0, y), (20, y)];
            match line.dashed {
                true => key.draw(&PathElement::new([(0, y), (8, y)], line.color.stroke_width(2))).and_then(
                    |()| key.draw(&PathElement::new([(12, y), (20, y)], line.color.stroke_width(2))),
                )?,
                false => key.draw(&PathElement::new(ends, line.color.stroke_width(3)))?,
            }
            // As many letters as there is room for: what tells names apart comes first.
            let all = line.name.chars().count();
            let name: String = match all > 32 {
                true => line.name.chars().take(31).chain(['…']).collect(),
                false => line.name.clone(),
            };
            key.draw_text(&name, &words, (27, y))?;
        }
        y += 8;
        for (name, color) in &self.key {
            let y = named(&mut y);
            key.draw(&Circle::new((10, y), 5, color.filled()))?;
            key.draw_text(name, &words, (27, y))?;
        }
        if self.shapes {
            y += 8;
            let mut shape = |bound: Bound, name: &str| {
                let y = named(&mut y);
                match bound {
                    Bound::Bandwidth => key.draw(&Circle::new((10, y), 5, MUTED.filled()))?,
                    Bound::Compute => key.draw(&TriangleMarker::new((10, y), 7, MUTED.filled()))?,
                    Bound::Launch => key.draw(&Cross::new((10, y), 5, MUTED.stroke_width(3)))?,
                    Bound::Balanced => {
                        key.draw(&Rectangle::new([(5, y - 5), (15, y + 5)], MUTED.filled()))?
                    }
                }
                key.draw_text(name, &words, (27, y))
            };
            shape(Bound::Bandwidth, "bound by bandwidth")?;
            shape(Bound::Compute, "bound by compute")?;
            shape(Bound::Launch, "bound by launches")?;
            shape(Bound::Balanced, "balanced: two within 10 %")?;
        }
        Ok(())
    }
}

fn binary_tick(value: f64) -> String {
    binary(value as u64)
}

fn speed_tick(value: f64) -> String {
    si(value, "B/s").replace(".00 ", " ").replace(".0 ", " ")
}

fn rate_tick(value: f64) -> String {
    si(value, "op/s").replace(".00 ", " ").replace(".0 ", " ")
}

/// A rate where laps took as long as their first and third quartile; none where there are no laps.
fn around(rate: f64, mut seconds: Vec<f64>) -> Option<[f64; 2]> {
    seconds.sort_by(f64::total_cmp);
    (!seconds.is_empty()).then(|| {
        let [low, middle, high] = quartiles(&seconds);
        [low, high].map(|lap| rate * middle / lap)
    })
}

/// Read bandwidth by working set, of one or several adapters.
pub fn staircase_svg(stairs: &[(String, &[Stair])]) -> String {
    let line = |(i, (name, steps)): (usize, &(String, &[Stair]))| {
        let at = steps.iter().filter_map(|step| Some((step.set_bytes as f64, step.probe.value()?)));
        Line { name: name.clone(), at: at.collect(), color: COLORS[i % COLORS.len()], dashed: false }
    };
    let lines: Vec<Line> = stairs.iter().enumerate().map(line).collect();
    let mark = |color, step: &Stair| match &step.probe {
        Probe::Measured(found) => Some(Mark {
            at: (step.set_bytes as f64, found.value),
            spread: around(found.value, found.long_seconds.clone()),
            word: String::new(),
            color,
            bound: Some(Bound::Bandwidth),
        }),
        Probe::Missing { .. } => None,
    };
    let marks = stairs
        .iter()
        .zip(&lines)
        .flat_map(|((_, steps), line)| steps.iter().filter_map(move |step| mark(line.color, step)));
    let axes: [Shown; 2] = [("working set", binary_tick), ("bytes read per second", speed_tick)];
    let marks: Vec<Mark> = marks.collect();
    Plot { axes, marks, lines, key: vec![], shapes: false, binary: true }.svg()
}

/// The roofs of one adapter: the slope of its memory and the flats of its arithmetic.
fn roofs(
    ceilings: &Ceilings,
    [left, right]: [f64; 2],
    of: &dyn Fn(usize) -> (RGBColor, bool),
    prefix: &str,
) -> Vec<Line> {
    let Some(read) = ceilings.read.value() else { return Vec::new() };
    let flats = [
        ("f32 multiply-add", ceilings.fma_f32.value()),
        ("f16 multiply-add", ceilings.fma_f16.value()),
        ("int8 dot product", ceilings.dot4_i8.value()),
        ("int32 addition", ceilings.add_i32.value()),
    ];
    let highest = flats.iter().filter_map(|(_, rate)| *rate).fold(read * left, f64::max);
    let (slope, dashed) = of(0);
    let mut lines = vec![Line {
        name: format!("{prefix}memory, read"),
        at: vec![(left, read * left), (highest / read, highest)],
        color: slope,
        dashed,
    }];
    for (i, (name, rate)) in flats.into_iter().enumerate() {
        if let Some(rate) = rate {
            let (color, dashed) = of(i + 1);
            let name = format!("{prefix}{name}");
            lines.push(Line { name, at: vec![(rate / read, rate), (right, rate)], color, dashed });
        }
    }
    lines
}

/// Where operations per byte begin and end on a roofline.
fn reach<'a>(walls: impl Iterator<Item = (&'a Ceilings, &'a [&'a Measured])>) -> [f64; 2] {
    let mut ends = [0.3f64, 64.0];
    for (ceilings, points) in walls {
        let rates = [&ceilings.fma_f32, &ceilings.fma_f16, &ceilings.dot4_i8, &ceilings.add_i32];
        let ridges = rates.iter().filter_map(|rate| Some(rate.value()? / ceilings.read.value()?));
        for x in ridges.chain(points.iter().map(|point| point.intensity)) {
            ends = [ends[0].min(0.8 * x), ends[1].max(2.0 * x)];
        }
    }
    ends
}

fn marks(points: &[&Measured], shape: [usize; 2]) -> Vec<Mark> {
    let mark = |point: &&Measured| Mark {
        at: (point.intensity, point.ops_per_second),
        spread: around(point.ops_per_second, point.sample_seconds.clone()),
        word: if [point.rows, point.cols] == shape { point.batch.to_string() } else { String::new() },
        color: color(&point.format),
        bound: point.bound_by,
    };
    points.iter().map(mark).collect()
}

const ROOFLINE: [Shown; 2] = [("operations per byte", short), ("operations per second", rate_tick)];

/// The roofline of one adapter with its points.
pub fn roofline_svg(ceilings: &Ceilings, points: &[&Measured], shape: [usize; 2]) -> String {
    let shades = [INK, COLORS[0], COLORS[1], COLORS[2], MUTED];
    let lines = roofs(ceilings, reach([(ceilings, points)].into_iter()), &|i| (shades[i], i > 0), "");
    let names = WEIGHT_FORMATS.map(|format| format.name()).into_iter();
    let there = names.filter(|name| points.iter().any(|point| point.format == *name));
    let key = there.map(|name| (format!("{name} weights"), color(name)));
    Plot {
        axes: ROOFLINE,
        lines,
        marks: marks(points, shape),
        key: key.collect(),
        shapes: true,
        binary: false,
    }
    .svg()
}

/// The roofs of several adapters on one plot.
pub fn rooflines_svg(walls: &[(String, (&Ceilings, Vec<&Measured>))]) -> String {
    let ends = reach(walls.iter().map(|(_, (ceilings, points))| (*ceilings, points.as_slice())));
    let mut lines = Vec::new();
    let mut all = Vec::new();
    for (i, (name, (ceilings, points))) in walls.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let mut own = roofs(ceilings, ends, &|flat| (color, flat > 0), "");
        for (flat, line) in own.iter_mut().enumerate() {
            line.name = if flat == 0 { name.clone() } else { String::new() };
        }
        lines.extend(own);
        all.extend(marks(points, [0, 0]).into_iter().map(|mark| Mark { color, word: String::new(), ..mark }));
    }
    Plot { axes: ROOFLINE, lines, marks: all, key: vec![], shapes: true, binary: false }.svg()
}

/// One bar: its name, its parts with their colours, a tick across it, and what is written behind it.
struct Bar {
    name: String,
    parts: Vec<(f64, RGBColor)>,
    tick: Option<f64>,
    told: String,
}

/// Bars below each other, in groups, over one linear axis of their own per group.
fn bars(groups: &[(String, Vec<Bar>)], key: &[(&str, RGBColor)]) -> String {
    const ROW: i32 = 22;
    const LEFT: i32 = 92;
    const RIGHT: i32 = 300;
    let rows: i32 = groups.iter().map(|(_, bars)| bars.len() as i32).sum();
    let height = 34 + groups.len() as i32 * 32 + rows * ROW + 6;
    drawn((SIZE.0, height as u32), |root| {
        let words = |h| text(13, &INK, h, VPos::Center);
        let mut x = LEFT;
        for (name, color) in key {
            root.draw(&Rectangle::new([(x, 10), (x + 14, 22)], color.filled()))?;
            root.draw_text(name, &words(HPos::Left), (x + 20, 16))?;
            x += 40 + 8 * name.chars().count() as i32;
        }
        let mut y = 34;
        for (name, bars) in groups {
            root.draw_text(name, &bold(14, &INK), (10, y + 8))?;
            y += 32;
            let longest =
                |bar: &Bar| bar.parts.iter().map(|part| part.0).sum::<f64>().max(bar.tick.unwrap_or(0.0));
            let most = bars.iter().map(longest).fold(0.0, f64::max);
            let room = f64::from(SIZE.0 as i32 - LEFT - RIGHT);
            let at = |value: f64| if most > 0.0 { (room * value / most) as i32 } else { 0 };
            for bar in bars {
                root.draw_text(&bar.name, &words(HPos::Right), (LEFT - 10, y + ROW / 2))?;
                let (mut from, mut end) = (0.0, 0);
                for (value, color) in &bar.parts {
                    let ends =
                        [(LEFT + at(from), y + 3), (LEFT + at(from + value).max(at(from) + 1), y + ROW - 3)];
                    root.draw(&Rectangle::new(ends, color.filled()))?;
                    from += value;
                    end = at(from);
                }
                if let Some(tick) = bar.tick {
                    let x = LEFT + at(tick);
                    root.draw(&Rectangle::new([(x - 1, y), (x + 1, y + ROW)], INK.filled()))?;
                    end = end.max(at(tick));
                }
                root.draw_text(&bar.told, &words(HPos::Left), (LEFT + end + 10, y + ROW / 2))?;
                y += ROW;
            }
        }
        Ok(())
    })
}

/// Time per token of every model: a bar as measured, a tick as the ceilings predict.
pub fn models_svg(models: &[TokenCost]) -> String {
    let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
    for model in models {
        if groups.last().is_none_or(|(name, _)| *name != model.name) {
            groups.push((model.name.clone(), Vec::new()));
        }
        let measured = model.measured_seconds;
        let varies = model.spread.filter(|&spread| spread > STEADY);
        let varies = varies.map_or(String::new(), |spread| format!(" ± {}", percent(spread / 2.0)));
        let told = match (measured, model.predicted_seconds) {
            (Some(measured), Some(floor)) => {
                format!("{}{varies}, at least {} by the ceilings", si(measured, "s"), si(floor, "s"))
            }
            (Some(measured), None) => si(measured, "s") + &varies,
            (None, Some(floor)) => format!("not measured; at least {} by the ceilings", si(floor, "s")),
            (None, None) => "not measured".into(),
        };
        let parts = measured.map(|seconds| (seconds, color(&model.format))).into_iter().collect();
        let bar = Bar { name: model.format.clone(), parts, tick: model.predicted_seconds, told };
        if let Some((_, bars)) = groups.last_mut() {
            bars.push(bar);
        }
    }
    bars(&groups, &[("measured, per token", MUTED), ("predicted (tick)", INK)])
}

/// Energy per weight by one table: arithmetic and memory on top of each other.
pub fn energy_svg(model: &EnergyModel) -> String {
    let bar = |row: &EnergyRow| {
        let (arithmetic, memory) = (row.arithmetic_pj_per_weight, row.memory_pj_per_weight);
        let parts = arithmetic.map(|pj| (pj, COLORS[1])).into_iter().chain(memory.map(|pj| (pj, COLORS[0])));
        let pj = |value: Option<f64>| value.map_or("unknown".into(), |pj| format!("{} pJ", digits(pj)));
        let told = format!("{} arithmetic + {} memory", pj(arithmetic), pj(memory));
        Bar { name: row.format.clone(), parts: parts.collect(), tick: None, told }
    };
    let memory = model.memory.as_deref().unwrap_or("memory");
    let group = (format!("per weight, by {}", model.title), model.rows.iter().map(bar).collect());
    bars(&[group], &[("arithmetic", COLORS[1]), (memory, COLORS[0])])
}
