//! The plots of the page, as SVG for embedding.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::html::{binary, digits, percent, short, si};
use crate::measure::ceilings::{Bound, Ceilings, Probe, STEADY};
use crate::measure::measured::Measured;
use crate::measure::wall::{EnergyModel, EnergyRow, Stair, TokenCost, Wall};
use crate::measure::{WEIGHT_FORMATS, WeightFormat, quartiles};
use crate::report::chart::{
    Area, Axis, COLORS, DrawError, INK, Line, MUTED, PALE, Scale, axes, bold, svg, text,
};

const WIDTH: i32 = 980;
const HEIGHT: i32 = 460;
const LEGEND: i32 = 236;

/// The size of all text, and the approximate width of a character.
const SIZE: i32 = 16;
const LETTER: i32 = 7;

/// A point with a word next to it.
struct Mark {
    at: (f64, f64),
    /// Values at the first and the third quartile.
    spread: Option<[f64; 2]>,
    word: String,
    color: RGBColor,
    bound: Option<Bound>,
}

/// The title of an axis, and the function that formats its labels.
type Shown = (&'static str, fn(f64) -> String);

/// Lines and points over two logarithmic axes, with a legend beside them.
struct Plot {
    axes: [Shown; 2],
    lines: Vec<Line>,
    marks: Vec<Mark>,
    /// Further names and colours for the legend, besides those of the lines.
    key: Vec<(String, RGBColor)>,
    /// Whether the legend explains the shapes of the points.
    shapes: bool,
    /// Operations per byte at the bends of the roofs. To the left of a bend memory is the limit, and to the right
    /// arithmetic.
    ridges: Vec<f64>,
    /// Whether the labels of the horizontal axis are powers of two.
    binary: bool,
}

fn color(format: &str) -> RGBColor {
    let at = WEIGHT_FORMATS.iter().position(|known| known.name() == format);
    COLORS[at.unwrap_or(WEIGHT_FORMATS.len()) % COLORS.len()]
}

impl Plot {
    fn svg(&self) -> String {
        svg((WIDTH, HEIGHT), |root| {
            let (body, key) = root.split_horizontally(WIDTH - LEGEND);
            self.draw(&body)?;
            self.legend(&key)
        })
    }

    fn draw(&self, body: &Area) -> Result<(), DrawError> {
        let points =
            || self.lines.iter().flat_map(|l| l.at.iter().copied()).chain(self.marks.iter().map(|m| m.at));
        let strokes = self.marks.iter().filter_map(|mark| mark.spread).flatten();
        let [(x_name, x_told), (y_name, y_told)] = self.axes;
        let (left, right) = Scale::Log.ends(points().map(|at| at.0));
        let (low, high) = Scale::Log.ends(points().map(|at| at.1).chain(strokes));
        let ticks = if self.binary {
            let ends = (10f64.powf(left).log2().ceil() as i32)..=(10f64.powf(right).log2() as i32);
            let powers = ends.filter(|power| power % 2 == 0).map(|power| 2f64.powi(power));
            powers.map(|value| (value.log10(), value)).collect()
        } else {
            Scale::Log.ticks(left, right)
        };
        let named = |ticks: Vec<(f64, f64)>, told: fn(f64) -> String| {
            ticks.into_iter().map(|(at, value)| (at, told(value))).collect()
        };
        let across = Axis { ends: left..right, ticks: named(ticks, x_told) };
        let up = Axis { ends: low..high, ticks: named(Scale::Log.ticks(low, high), y_told) };
        let mut chart = axes(body, [across, up], [32, 24, 8, 14], [28, 92], SIZE)?;

        let place = |(x, y): (f64, f64)| (x.log10(), y.log10().clamp(low, high));
        let ends =
            self.ridges.iter().copied().reduce(f64::min).zip(self.ridges.iter().copied().reduce(f64::max));
        if let Some((first, last)) = ends {
            let floor = 10f64.powf(low);
            for &ridge in &self.ridges {
                let at = [(ridge, floor), (ridge, 10f64.powf(high))];
                let line = Line { name: String::new(), at: at.into(), color: PALE, dashed: true };
                line.draw(&mut chart, |at| Some(place(at)))?;
            }
            for (ridge, apart, word, side) in
                [(first, -8, "memory-bound", HPos::Right), (last, 8, "compute-bound", HPos::Left)]
            {
                let (x, y) = chart.backend_coord(&place((ridge, floor)));
                body.draw_text(word, &text(SIZE, &MUTED, side, VPos::Bottom), (x + apart, y - 6))?;
            }
        }
        // Rectangles that a word must not touch.
        let mut taken: Vec<[i32; 4]> = Vec::new();
        let around = |(x, y): (i32, i32), by: i32| [x - by, y - by, x + by, y + by];
        for line in &self.lines {
            let at = line.draw(&mut chart, |at| Some(place(at)))?;
            for pair in at.windows(2) {
                let [from, to] = [pair[0], pair[1]].map(|at| chart.backend_coord(&at));
                let along = |i: i32| (from.0 + (to.0 - from.0) * i / 100, from.1 + (to.1 - from.1) * i / 100);
                taken.extend((0..=100).map(|i| around(along(i), 2)));
            }
        }
        for mark in &self.marks {
            if let Some(ends) = mark.spread {
                let ends = ends.map(|y| chart.backend_coord(&place((mark.at.0, y))));
                body.draw(&PathElement::new(ends, mark.color.stroke_width(2)))?;
                taken.push([
                    ends[0].0 - 2,
                    ends[0].1.min(ends[1].1),
                    ends[0].0 + 2,
                    ends[0].1.max(ends[1].1),
                ]);
            }
        }
        for mark in &self.marks {
            let at = chart.backend_coord(&place(mark.at));
            shape(body, at, mark.bound, mark.color)?;
            taken.push(around(at, 7));
        }
        // A word is next to its point if there is space. Otherwise it is left out, because the table has it too.
        for mark in self.marks.iter().filter(|mark| !mark.word.is_empty()) {
            let (x, y) = chart.backend_coord(&place(mark.at));
            let wide = LETTER * mark.word.chars().count() as i32 + 2;
            let sides = [(9, 0), (-9 - wide, 0), (-wide / 2, -15), (-wide / 2, 15), (8, -13), (8, 13)];
            let others = [(-8 - wide, -13), (-8 - wide, 13), (-wide / 2, -27), (-wide / 2, 27)];
            let boxed = |(dx, dy): (i32, i32)| [x + dx, y + dy - 7, x + dx + wide, y + dy + 7];
            let free = |one: &[i32; 4]| {
                let apart =
                    |two: &[i32; 4]| one[0] > two[2] || one[2] < two[0] || one[1] > two[3] || one[3] < two[1];
                one[2] < WIDTH - LEGEND && taken.iter().all(apart)
            };
            if let Some(found) = sides.into_iter().chain(others).map(boxed).find(free) {
                let words = text(SIZE, &INK, HPos::Left, VPos::Center);
                body.draw_text(&mark.word, &words, (found[0], (found[1] + found[3]) / 2))?;
                taken.push(found);
            }
        }
        body.draw_text(y_name, &text(SIZE, &MUTED, HPos::Left, VPos::Top), (10, 8))?;
        let corner = (WIDTH - LEGEND - 14, HEIGHT - 20);
        body.draw_text(x_name, &text(SIZE, &MUTED, HPos::Right, VPos::Top), corner)
    }

    fn legend(&self, key: &Area) -> Result<(), DrawError> {
        let words = text(SIZE, &INK, HPos::Left, VPos::Center);
        let mut y = 20;
        let mut next = |apart| {
            y += 22 + apart;
            y
        };
        for line in self.lines.iter().filter(|line| !line.name.is_empty() && !line.at.is_empty()) {
            let y = next(0);
            let parts = if line.dashed { vec![(0, 8, 2), (12, 20, 2)] } else { vec![(0, 20, 3)] };
            for (from, to, width) in parts {
                key.draw(&PathElement::new([(from, y), (to, y)], line.color.stroke_width(width)))?;
            }
            // A long name takes two lines.
            let room = ((LEGEND - 27) / LETTER) as usize;
            let cut = line.name.char_indices().nth(room).map_or(line.name.len(), |(at, _)| at);
            let cut = if cut < line.name.len() { line.name[..cut].rfind(' ').unwrap_or(cut) } else { cut };
            let (one, rest) = line.name.split_at(cut);
            key.draw_text(one, &words, (27, y))?;
            if !rest.is_empty() {
                let rest: String = rest.trim().chars().take(room).collect();
                key.draw_text(&rest, &words, (27, next(-4)))?;
            }
        }
        let circle = |name: &str, color| (name.to_string(), Some(Bound::Bandwidth), color);
        let formats = self.key.iter().map(|(name, color)| circle(name, *color));
        let bounds = [
            (Bound::Bandwidth, "bound by bandwidth"),
            (Bound::Compute, "bound by compute"),
            (Bound::Launch, "bound by launches"),
            (Bound::Balanced, "balanced: two within 10 %"),
        ];
        let shapes = bounds.iter().filter(|_| self.shapes);
        let shapes = shapes.map(|&(bound, name)| (name.to_string(), Some(bound), MUTED));
        let allowed = (!self.ridges.is_empty()).then(|| ("LLaMA 7B, as allowed".to_string(), None, INK));
        let shapes = shapes.chain(allowed);
        for group in [formats.collect::<Vec<_>>(), shapes.collect()] {
            for (i, (name, bound, color)) in group.into_iter().enumerate() {
                let y = next(if i == 0 { 8 } else { 0 });
                shape(key, (10, y), bound, color)?;
                key.draw_text(&name, &words, (27, y))?;
            }
        }
        Ok(())
    }
}

/// Draws a point. Its shape shows the bound. A light edge separates points that touch.
fn shape(area: &Area, at: (i32, i32), bound: Option<Bound>, color: RGBColor) -> Result<(), DrawError> {
    let (x, y) = at;
    let rectangle = |by: i32| [(x - by, y - by), (x + by, y + by)];
    match bound {
        Some(Bound::Bandwidth) => {
            area.draw(&Circle::new(at, 6, WHITE.filled()))?;
            area.draw(&Circle::new(at, 5, color.filled()))
        }
        Some(Bound::Compute) => {
            area.draw(&TriangleMarker::new(at, 8, WHITE.filled()))?;
            area.draw(&TriangleMarker::new(at, 6, color.filled()))
        }
        Some(Bound::Launch) => area.draw(&Cross::new(at, 5, color.stroke_width(3))),
        Some(Bound::Balanced) => {
            area.draw(&Rectangle::new(rectangle(6), WHITE.filled()))?;
            area.draw(&Rectangle::new(rectangle(5), color.filled()))
        }
        None => area.draw(&Circle::new(at, 6, color.stroke_width(2))),
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

/// The rates at the first and at the third quartile of the laps. It is `None` without laps.
fn around(rate: f64, mut seconds: Vec<f64>) -> Option<[f64; 2]> {
    seconds.sort_by(f64::total_cmp);
    (!seconds.is_empty()).then(|| {
        let [low, middle, high] = quartiles(&seconds);
        [low, high].map(|lap| rate * middle / lap)
    })
}

/// The speed of reading by working set, for one or several adapters.
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
    Plot { axes, marks, lines, key: vec![], shapes: false, ridges: vec![], binary: true }.svg()
}

/// The roofs of one adapter: the slope of its memory and the horizontal lines of its arithmetic.
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

/// The smallest and the largest number of operations per byte of a roofline.
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

/// The roofline of one adapter with its points, and the limits for a 7B model in f16 and in two bits.
pub fn roofline_svg(wall: &Wall, points: &[&Measured]) -> String {
    let (ceilings, summary) = (&wall.ceilings, &wall.summary);
    let shades = [INK, COLORS[0], COLORS[1], COLORS[2], MUTED];
    let lines = roofs(ceilings, reach([(ceilings, points)].into_iter()), &|i| (shades[i], i > 0), "");
    let names = WEIGHT_FORMATS.map(|format| format.name()).into_iter();
    let there = names.filter(|name| points.iter().any(|point| point.format == *name));
    let key = there.map(|name| (format!("{name} weights"), color(name)));
    let allowed = summary.intensity_7b.iter().filter_map(|(name, intensity)| {
        let format = WeightFormat::named(name).filter(|_| ["f16", "2-bit"].contains(&name.as_str()))?;
        let roof = ceilings.rate(format.arithmetic())?.min(intensity * ceilings.read.value()?);
        let word = format!("7B {name}");
        Some(Mark { at: (*intensity, roof), spread: None, word, color: INK, bound: None })
    });
    Plot {
        axes: ROOFLINE,
        lines,
        marks: allowed.chain(marks(points, wall.roofline_shape)).collect(),
        key: key.collect(),
        shapes: true,
        ridges: [summary.ridge_f32, summary.ridge_int8].into_iter().flatten().collect(),
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
    Plot { axes: ROOFLINE, lines, marks: all, key: vec![], shapes: true, ridges: vec![], binary: false }.svg()
}

/// One bar: its name, its parts with their colours, a tick, and the text behind it.
struct Bar {
    name: String,
    parts: Vec<(f64, RGBColor)>,
    tick: Option<f64>,
    told: String,
}

/// A sign of the legend: a colour, or the tick.
enum Swatch<'a> {
    Colors(&'a [RGBColor]),
    Tick,
}

/// Bars below each other, in groups. Each group has its own linear axis.
fn bars(groups: &[(String, Vec<Bar>)], key: &[(&str, Swatch)]) -> String {
    const ROW: i32 = 24;
    const LEFT: i32 = 92;
    const RIGHT: i32 = 410;
    let rows: i32 = groups.iter().map(|(_, bars)| bars.len() as i32).sum();
    let height = 34 + groups.len() as i32 * 32 + rows * ROW + 6;
    svg((WIDTH, height), |root| {
        let words = |h| text(SIZE, &INK, h, VPos::Center);
        let mut x = LEFT;
        for (name, swatch) in key {
            match swatch {
                Swatch::Tick => root.draw(&Rectangle::new([(x + 6, 6), (x + 8, 26)], INK.filled()))?,
                Swatch::Colors(colors) => {
                    for (i, color) in (0..).zip(*colors) {
                        let wide = 20 / colors.len() as i32;
                        let ends = [(x - 5 + i * wide, 9), (x - 5 + (i + 1) * wide, 23)];
                        root.draw(&Rectangle::new(ends, color.filled()))?;
                    }
                }
            }
            root.draw_text(name, &words(HPos::Left), (x + 22, 16))?;
            x += 50 + LETTER * name.chars().count() as i32;
        }
        let mut y = 34;
        for (name, bars) in groups {
            root.draw_text(name, &bold(SIZE, &INK), (10, y + 8))?;
            y += 32;
            let longest =
                |bar: &Bar| bar.parts.iter().map(|part| part.0).sum::<f64>().max(bar.tick.unwrap_or(0.0));
            let most = bars.iter().map(longest).fold(0.0, f64::max);
            let room = f64::from(WIDTH - LEFT - RIGHT);
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

/// Time per token of every model: a bar for the measurement, and a tick for the prediction by the ceilings.
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
            (Some(measured), Some(floor)) if measured < floor => {
                format!("{}{varies}; the ceiling, {}, was disturbed", si(measured, "s"), si(floor, "s"))
            }
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
    let colors = WEIGHT_FORMATS.map(|format| color(format.name()));
    bars(
        &groups,
        &[("measured, per token", Swatch::Colors(&colors)), ("what the ceilings allow", Swatch::Tick)],
    )
}

/// Energy per weight by one table: the arithmetic as published, the arithmetic with wide sums, and that with memory.
pub fn energy_svg(model: &EnergyModel) -> String {
    let pj = |value: Option<f64>| value.map_or("unknown".into(), |pj| format!("{} pJ", digits(pj)));
    let times = |ratio: Option<f64>, row: &EnergyRow| {
        let ratio = ratio.filter(|_| row.format == "2-bit");
        ratio.map_or(String::new(), |ratio| format!("; f16 takes {} times as much", digits(ratio)))
    };
    let arithmetic = |of: fn(&EnergyRow) -> Option<f64>, ratio: Option<f64>| {
        let bar = |row: &EnergyRow| Bar {
            name: row.format.clone(),
            parts: of(row).map(|pj| (pj, COLORS[1])).into_iter().collect(),
            tick: None,
            told: pj(of(row)) + &times(ratio, row),
        };
        model.rows.iter().map(bar).collect()
    };
    let whole = |row: &EnergyRow| {
        let sums = row.arithmetic_pj_per_weight.or(row.published_pj_per_weight);
        let parts = [(sums, COLORS[1]), (row.memory_pj_per_weight, COLORS[0])];
        let parts = parts.into_iter().filter_map(|(pj, color)| Some((pj?, color)));
        let told =
            format!("{} + {}{}", pj(sums), pj(row.memory_pj_per_weight), times(model.ratio_with_memory, row));
        Bar { name: row.format.clone(), parts: parts.collect(), tick: None, told }
    };
    let title = &model.title;
    let mut groups = vec![(
        format!("arithmetic as published, for each weight, by {title}"),
        arithmetic(|row| row.published_pj_per_weight, Some(model.ratio_published)),
    )];
    if model.ratio_int32.is_some() {
        let wide = arithmetic(|row| row.arithmetic_pj_per_weight, model.ratio_int32);
        groups.push(("with sums in INT32".into(), wide));
    }
    groups.push(("with all bytes that move".into(), model.rows.iter().map(whole).collect()));
    let memory = model.memory.as_deref().unwrap_or("memory");
    bars(&groups, &[("arithmetic", Swatch::Colors(&[COLORS[1]])), (memory, Swatch::Colors(&[COLORS[0]]))])
}
