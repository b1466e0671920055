//! Every table once, for the terminal and for the page: they differ in how a cell is written.

use super::figure::{binary, digits, percent, short, si, symbol};
use super::html;
use crate::wall::{
    Bound, Ceilings, Chosen, Energy, EnergyModel, EnergyRow, Format, Model, NOT_ASKED, NOT_MEASURED, Point,
    Probe, STEADY, Step,
};

/// How cells are written.
pub struct Cells {
    text: fn(&str) -> String,
    unit: fn(f64, &str) -> String,
    plain: fn(f64) -> String,
    short: fn(f64) -> String,
    count: fn(usize) -> String,
    share: fn(f64) -> String,
    set: fn(u64) -> String,
    /// A kernel's name.
    kernel: fn(&str) -> String,
    varies: &'static str,
    gap: &'static str,
}

pub const TERMINAL: Cells = Cells {
    text: |text| text.into(),
    unit: si,
    plain: digits,
    short,
    count: |value| value.to_string(),
    share: percent,
    set: binary,
    kernel: |name| name.into(),
    varies: " varies",
    gap: "-",
};

pub const PAGE: Cells = Cells {
    text: html::escape,
    unit: html::unit,
    plain: html::plain,
    short: html::trimmed,
    count: html::count,
    share: html::share,
    set: html::set,
    // Names are long: they may break.
    kernel: |name| html::escape(name).replace('_', "_<wbr>"),
    varies: "\u{a0}<b>varies</b>",
    gap: html::GAP,
};

impl Cells {
    fn or<T>(&self, value: Option<T>, told: impl Fn(T) -> String) -> String {
        value.map_or(self.gap.into(), told)
    }

    /// A spread, and whether it is too large for the figure to count as steady.
    fn spread(&self, spread: f64) -> String {
        let told = (self.share)(spread);
        if spread > STEADY { told + self.varies } else { told }
    }
}

/// What stands above the columns, and the cells below.
pub type Table = (&'static [&'static str], Vec<Vec<String>>);

/// What a ceiling is, in a few words.
pub fn ceiling_words(name: &str) -> &'static str {
    match name {
        "read" => "read memory",
        "write" => "write memory",
        "copy" => "copy memory",
        "triad" => "triad, x + s y",
        "fma_f32" => "f32 fused multiply-add",
        "fma_f16" => "f16 fused multiply-add",
        "add_i32" => "int32 addition",
        "dot4_i8" => "dot4I8Packed",
        "launch" => "empty dispatch",
        "dependent" => "dependent dispatch",
        "host_to_device" => "host to device",
        _ => "device to host",
    }
}

/// What binds a point, in a word.
pub fn bound_word(bound: Bound) -> &'static str {
    match bound {
        Bound::Bandwidth => "bandwidth",
        Bound::Compute => "compute",
        Bound::Launch => "launch",
        Bound::Balanced => "balanced",
    }
}

/// The ceilings that were asked for, a line each; gaps with their reasons.
pub fn ceilings(cells: &Cells, ceilings: &Ceilings) -> Table {
    let line = |(name, probe): (&'static str, &Probe)| {
        let mut line = vec![ceiling_words(name).to_string()];
        match probe {
            Probe::Missing { missing } if missing == NOT_ASKED => return None,
            Probe::Missing { missing } => {
                line.extend([cells.gap; 4].map(String::from));
                line.push(format!("missing: {}", (cells.text)(missing)));
            }
            Probe::Measured(found) => {
                let figure = |value| (cells.unit)(value, symbol(&found.unit));
                // Two lengths that do not differ make no steady figure either.
                let varies = !found.steady && found.spread <= STEADY;
                line.extend([
                    figure(found.value),
                    figure(found.best),
                    cells.spread(found.spread) + if varies { " whole laps" } else { "" },
                    (cells.count)(found.long_seconds.len()),
                    (cells.text)(&found.overrides),
                ]);
            }
        }
        Some(line)
    };
    let head = &["ceiling", "median", "best", "spread", "samples", "fastest variant"];
    (head, ceilings.each().into_iter().filter_map(line).collect())
}

/// The staircase, a line for each working set.
pub fn staircase(cells: &Cells, steps: &[Step]) -> Table {
    let line = |step: &Step| match &step.probe {
        Probe::Measured(found) => vec![
            (cells.set)(step.set_bytes),
            (cells.unit)(found.value, "B/s"),
            (cells.unit)(found.best, "B/s"),
            cells.spread(found.spread),
            (cells.count)(found.long_seconds.len()),
            String::new(),
        ],
        Probe::Missing { missing } => {
            let mut line = vec![(cells.set)(step.set_bytes)];
            line.extend([cells.gap; 4].map(String::from));
            line.push(format!("missing: {}", (cells.text)(missing)));
            line
        }
    };
    (&["working set", "median", "best", "spread", "samples", ""], steps.iter().map(line).collect())
}

/// The roofline's points.
pub fn points(cells: &Cells, points: &[Point]) -> Table {
    let line = |point: &Point| {
        let chosen = match point.chosen {
            Some(Chosen::Tuned) => ", tuned",
            Some(Chosen::Default) => ", default",
            Some(Chosen::Only) | None => "",
        };
        vec![
            (cells.text)(&point.format),
            format!("{}x{}", (cells.count)(point.rows), (cells.count)(point.cols)),
            (cells.count)(point.batch),
            (cells.kernel)(&point.kernel) + chosen,
            (cells.unit)(point.median_seconds, "s"),
            (cells.unit)(point.min_seconds, "s"),
            cells.spread(point.spread),
            (cells.count)(point.sample_seconds.len()),
            (cells.plain)(point.intensity),
            (cells.unit)(point.ops_per_second, "op/s"),
            (cells.unit)(point.bytes_per_second, "B/s"),
            cells.or(point.bound_by, |bound| bound_word(bound).into()),
            cells.or(point.reached, cells.share),
        ]
    };
    let head = &[
        "weights",
        "shape",
        "batch",
        "kernel",
        "median",
        "best",
        "spread",
        "samples",
        "op/B",
        "op/s",
        "B/s",
        "bound by",
        "of the roof",
    ];
    (head, points.iter().map(line).collect())
}

/// Every model in every format.
pub fn models(cells: &Cells, models: &[Model]) -> Table {
    let line = |model: &Model| {
        let time = |seconds: Option<f64>| cells.or(seconds, |seconds| (cells.unit)(seconds, "s"));
        vec![
            (cells.text)(&model.name),
            (cells.text)(&model.format),
            (cells.unit)(model.bytes as f64, "B"),
            time(model.load_seconds),
            time(model.compute_seconds),
            time(model.predicted_seconds),
            time(model.measured_seconds),
            time(model.min_seconds),
            cells.or(model.spread, |spread| cells.spread(spread)),
            cells.or(model.samples, cells.count),
            cells.or(model.tokens_per_second, cells.plain),
            cells.or(model.speedup_over_f16, cells.plain),
            cells.or(model.speedup_over_f32, cells.plain),
        ]
    };
    let head = &[
        "model",
        "weights",
        "bytes",
        "load",
        "compute",
        "predicted",
        "measured",
        "best",
        "spread",
        "samples",
        "tokens/s",
        "× f16",
        "× f32",
    ];
    (head, models.iter().map(line).collect())
}

/// Number formats.
pub fn formats(cells: &Cells, formats: &[Format]) -> Table {
    let line = |format: &Format| {
        let mut line = vec![(cells.text)(&format.name)];
        let values = [
            format.bits,
            format.max,
            format.decimal_digits,
            format.bytes_per_parameter,
            format.information_bits,
        ];
        line.extend(values.map(cells.short));
        let bytes = [format.bytes_mnist, format.bytes_2b, format.bytes_7b, format.bytes_70b];
        line.extend(bytes.map(|bytes| (cells.unit)(bytes, "B")));
        line.push((cells.short)(format.ratio_to_fp16));
        line
    };
    let head = &[
        "format",
        "bits",
        "largest",
        "digits",
        "bytes/parameter",
        "log2 of values",
        "MNIST’s",
        "2B",
        "7B",
        "70B",
        "of FP16",
    ];
    (head, formats.iter().map(line).collect())
}

/// One table of energies: arithmetic, memory and what a counter measured, side by side.
pub fn energy(cells: &Cells, energy: &Energy, model: &EnergyModel) -> Table {
    let pj = |value: Option<f64>| cells.or(value, |value| format!("{} pJ", (cells.plain)(value)));
    let range = |ends: Option<[f64; 2]>| {
        cells.or(ends, |[low, high]| {
            if low == high {
                pj(Some(low))
            } else {
                format!("{} – {} pJ", (cells.plain)(low), (cells.plain)(high))
            }
        })
    };
    let line = |row: &EnergyRow| {
        let measured = energy.joules.iter().find(|joules| joules.format == row.format);
        vec![
            (cells.text)(&row.format),
            pj(row.published_pj_per_weight),
            pj(row.arithmetic_pj_per_weight),
            range(row.sram_pj_per_weight),
            range(row.hbm_pj_per_weight),
            range(row.dram_pj_per_weight),
            cells.or(row.total_ratio_to_f16, cells.plain),
            measured.map_or(NOT_MEASURED.into(), |measured| (cells.unit)(measured.joules, "J")),
        ]
    };
    let head = &[
        "per weight",
        "arithmetic as published",
        "with INT32 sums",
        "SRAM",
        "HBM",
        "DRAM",
        "total, × f16",
        "measured, a product",
    ];
    (head, model.rows.iter().map(line).collect())
}
