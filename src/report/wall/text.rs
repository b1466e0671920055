//! The tables of a terminal.

use super::figure::{binary, digits, measure, percent, short, si};
use crate::report::columns;
use crate::wall::{Bound, Ceilings, Energy, EnergyModel, Format, Model, Point, Probe, Step};

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
    }
}

fn rows<const N: usize>(head: [&str; N], body: impl Iterator<Item = [String; N]>) -> String {
    let head = std::iter::once(head.map(String::from).to_vec());
    columns(&head.chain(body.map(|row| row.to_vec())).collect::<Vec<_>>())
}

fn or_dash<T>(value: Option<T>, told: impl Fn(T) -> String) -> String {
    value.map_or("-".into(), told)
}

/// The ceilings, a line each; gaps with their reasons.
pub fn ceilings_table(ceilings: &Ceilings) -> String {
    let line = |(name, probe): (&'static str, &Probe)| match probe {
        Probe::Measured(found) => [
            ceiling_words(name).into(),
            measure(found.value, &found.unit),
            measure(found.best, &found.unit),
            format!("{}{}", percent(found.spread), if found.steady { "" } else { " varies" }),
            found.long_seconds.len().to_string(),
            found.overrides.clone(),
        ],
        Probe::Missing { missing } => [
            ceiling_words(name).into(),
            "-".into(),
            "-".into(),
            "-".into(),
            "0".into(),
            format!("missing: {missing}"),
        ],
    };
    rows(["ceiling", "median", "best", "spread", "samples", "variant"], ceilings.each().into_iter().map(line))
}

/// The staircase, a line for each working set.
pub fn staircase_table(steps: &[Step]) -> String {
    let line = |step: &Step| match &step.probe {
        Probe::Measured(found) => {
            let varies = if found.steady { "" } else { " varies" };
            [
                binary(step.set_bytes),
                measure(found.value, &found.unit),
                format!("{}{varies}", percent(found.spread)),
            ]
        }
        Probe::Missing { missing } => [binary(step.set_bytes), "-".into(), format!("missing: {missing}")],
    };
    rows(["working set", "read", "spread"], steps.iter().map(line))
}

/// The roofline's points.
pub fn points_table(points: &[Point]) -> String {
    let line = |point: &Point| {
        [
            point.format.clone(),
            format!("{}x{}", point.rows, point.cols),
            point.batch.to_string(),
            point.kernel.clone(),
            si(point.median_seconds, "s"),
            digits(point.intensity),
            si(point.ops_per_second, "op/s"),
            si(point.bytes_per_second, "B/s"),
            or_dash(point.bound_by, |bound| bound_word(bound).into()),
            or_dash(point.reached, percent),
            point.sample_seconds.len().to_string(),
        ]
    };
    let head = [
        "format", "shape", "batch", "kernel", "time", "op/B", "op/s", "B/s", "bound by", "reached", "samples",
    ];
    rows(head, points.iter().map(line))
}

/// Every model in every format.
pub fn models_table(models: &[Model]) -> String {
    let line = |model: &Model| {
        let time = |seconds: Option<f64>| or_dash(seconds, |seconds| si(seconds, "s"));
        [
            model.name.clone(),
            model.format.clone(),
            si(model.bytes as f64, "B"),
            time(model.load_seconds),
            time(model.compute_seconds),
            time(model.predicted_seconds),
            time(model.measured_seconds),
            or_dash(model.tokens_per_second, digits),
            or_dash(model.speedup_over_f16, digits),
            or_dash(model.speedup_over_f32, digits),
        ]
    };
    let head = [
        "model",
        "format",
        "bytes",
        "load",
        "compute",
        "predicted",
        "measured",
        "tokens/s",
        "x f16",
        "x f32",
    ];
    rows(head, models.iter().map(line))
}

/// Number formats.
pub fn formats_table(formats: &[Format]) -> String {
    let line = |format: &Format| {
        let bytes = |bytes: f64| si(bytes, "B");
        [
            format.name.clone(),
            short(format.bits),
            short(format.max),
            short(format.decimal_digits),
            short(format.bytes_per_parameter),
            short(format.information_bits),
            bytes(format.bytes_mnist),
            bytes(format.bytes_2b),
            bytes(format.bytes_7b),
            bytes(format.bytes_70b),
            short(format.ratio_to_fp16),
        ]
    };
    let head =
        ["format", "bits", "max", "digits", "B/param", "log2 n", "0.23M", "2B", "7B", "70B", "of FP16"];
    rows(head, formats.iter().map(line))
}

/// One table of energies: arithmetic, memory and what a counter measured, side by side.
pub fn energy_table(energy: &Energy, model: &EnergyModel) -> String {
    let line = |row: &crate::wall::EnergyRow| {
        let pj = |value: Option<f64>| or_dash(value, |value| format!("{} pJ", digits(value)));
        [
            row.format.clone(),
            pj(row.published_pj_per_weight),
            pj(row.arithmetic_pj_per_weight),
            pj(row.memory_pj_per_weight),
            or_dash(row.total_ratio_to_f16, digits),
            or_dash(row.measured_joules, |joules| si(joules, "J")),
        ]
    };
    let memory = model.memory.as_deref().unwrap_or("memory");
    let head = ["per weight", "published", "int32 sums", memory, "total, x f16", "measured"];
    let mut text = rows(head, model.rows.iter().map(line));
    let wide = model.ratio_int32.map_or("unknown: it has no INT32 addition".into(), digits);
    text += &format!(
        "\n{}: {}\n  (quoted via {})\n  FP16 multiply and add against one INT8 addition {} (the multiplication alone \
         {}), against one INT32 addition {wide}\n  with the bytes of the weights: {}\n  measured: {}\n",
        model.name,
        model.source,
        model.quoted_via,
        digits(model.ratio_published),
        digits(model.ratio_multiply),
        model.ratio_with_memory.map_or("unknown: it has no memory".into(), digits),
        energy.measured,
    );
    text
}
