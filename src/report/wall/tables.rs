//! Every table, as HTML for a page and as text for a terminal.

use std::fmt;

use maud::{Markup, html};

use super::html::{count, digits, gap, or, plain, set, share, trimmed, unit};
use crate::measure::ceilings::{Bound, Ceilings, NOT_ASKED, Probe, STEADY};
use crate::measure::measured::{Chosen, Measured};
use crate::measure::wall::{Energy, EnergyModel, EnergyRow, NOT_MEASURED, NumberFormat, Stair, TokenCost};
use crate::report::columns;

/// The heads of the columns, and the cells. Its `Display` is for a terminal.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Markup>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(head: &[&str], rows: impl IntoIterator<Item = Vec<Markup>>) -> Table {
        Table { head: head.iter().map(|cell| cell.to_string()).collect(), rows: rows.into_iter().collect() }
    }

    /// The table with a caption above it.
    pub fn html(&self, caption: Markup) -> Markup {
        html! {
            div.wide tabindex="0" {
                table {
                    caption { span { (caption) } }
                    thead { tr { @for cell in &self.head { th scope="col" { (cell) } } } }
                    tbody { @for row in &self.rows { tr { @for cell in row { td { (cell) } } } "\n" } }
                }
            }
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut lines = vec![self.head.clone()];
        lines.extend(self.rows.iter().map(|row| row.iter().map(words).collect()));
        f.write_str(&columns(&lines))
    }
}

/// The text of a cell or of an answer, without tags.
pub(super) fn words(cell: &Markup) -> String {
    let plain = cell.0.replace("<code>", "`").replace("</code>", "`");
    let pieces = plain.split('<').enumerate();
    let text: String =
        pieces.filter_map(|(i, piece)| if i == 0 { Some(piece) } else { piece.split('>').nth(1) }).collect();
    let signs = [("–", "-"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("\u{a0}", " "), ("&amp;", "&")];
    // Between two figures a dash means a range, not a missing figure.
    signs.iter().skip(usize::from(text != "–")).fold(text, |text, (sign, plain)| text.replace(sign, plain))
}

/// A spread. It has a sign if it is too large for a steady figure.
fn spread(spread: f64) -> Markup {
    html! { @if spread > STEADY { span.varies { "≈\u{a0}" (share(spread)) } } @else { (share(spread)) } }
}

/// A share of the limit by the ceilings. A share above 1 shows that a ceiling is too low.
fn reached(found: f64) -> Markup {
    html! { (share(found)) @if found > 1.0 { ", disturbed" } }
}

fn seconds(seconds: Option<f64>) -> Markup {
    or(seconds, |seconds| unit(seconds, "s"))
}

/// A probe in the columns `median`, `best`, `spread` and `samples`, with remarks.
fn probe(first: Markup, probe: &Probe, settings: bool) -> Vec<Markup> {
    match probe {
        Probe::Measured(found) => {
            // A figure that does not come from a difference is not steady either.
            let whole = settings && !found.steady && found.spread <= STEADY;
            vec![
                first,
                unit(found.value, &found.unit),
                unit(found.best, &found.unit),
                html! { (spread(found.spread)) @if whole { " whole laps" } },
                count(found.long_seconds.len()),
                html! { @if settings { (found.overrides) } },
            ]
        }
        Probe::Missing { missing } => {
            vec![first, gap(), gap(), gap(), gap(), html! { "missing: " (missing) }]
        }
    }
}

/// The requested ceilings, one line each. A missing one has its reason.
pub fn ceilings(ceilings: &Ceilings) -> Table {
    let asked = |probe: &Probe| !matches!(probe, Probe::Missing { missing } if missing == NOT_ASKED);
    let each = ceilings.each().into_iter().filter(|(_, probe)| asked(probe));
    Table::new(
        &["ceiling", "median", "best", "spread", "samples", "fastest variant"],
        each.map(|(name, found)| probe(html! { (Ceilings::words(name)) }, found, true)),
    )
}

/// The staircase, with one line for each working set.
pub fn staircase(stairs: &[Stair]) -> Table {
    Table::new(
        &["working set", "median", "best", "spread", "samples", ""],
        stairs.iter().map(|stair| probe(set(stair.set_bytes), &stair.probe, false)),
    )
}

/// The points of the roofline.
pub fn points(points: &[&Measured]) -> Table {
    let own = |point: &Measured, chosen| point.chosen == Some(chosen);
    // What holds for all is said in a note.
    let tuned = |point: &&Measured| own(point, Chosen::Tuned) || own(point, Chosen::Provisional);
    let mixed = points.iter().any(tuned);
    let line = |point: &&Measured| {
        vec![
            html! { (point.format) },
            html! { (count(point.rows)) "x" (count(point.cols)) },
            count(point.batch),
            html! {
                (point.kernel)
                @if mixed && own(point, Chosen::Default) { ", default" }
                @if own(point, Chosen::Provisional) { ", provisional" }
            },
            unit(point.median_seconds, "s"),
            unit(point.min_seconds, "s"),
            spread(point.spread),
            plain(point.intensity),
            unit(point.ops_per_second, "op/s"),
            or(point.bound_by, |bound| html! { (Bound::word(bound)) }),
            or(point.reached, reached),
        ]
    };
    #[rustfmt::skip]
    let head = [
        "weights", "shape", "batch", "kernel", "median", "best", "spread", "op/B", "op/s", "bound by", "of the roof",
    ];
    Table::new(&head, points.iter().map(line))
}

/// The matrix products of one token, for every model in every format.
pub fn models(models: &[TokenCost]) -> Table {
    let line = |model: &TokenCost| {
        vec![
            html! { (model.name) },
            html! { (model.format) },
            unit(model.bytes as f64, "B"),
            seconds(model.load_seconds),
            seconds(model.compute_seconds),
            seconds(model.predicted_seconds),
            seconds(model.measured_seconds),
            seconds(model.min_seconds),
            or(model.spread, spread),
            or(model.tokens_per_second, plain),
            or(model.speedup_over_f16, plain),
        ]
    };
    #[rustfmt::skip]
    let head = [
        "model", "weights", "bytes", "load", "compute", "predicted", "measured", "best", "spread", "tokens/s",
        "× f16",
    ];
    Table::new(&head, models.iter().map(line))
}

/// The number formats.
pub fn formats(formats: &[NumberFormat]) -> Table {
    let line = |format: &NumberFormat| {
        let NumberFormat { bits, min, max, decimal_digits, bytes_per_parameter, information_bits, .. } =
            *format;
        let figures = [bits, min, max, decimal_digits, bytes_per_parameter, information_bits].map(trimmed);
        let bytes = [format.bytes_mnist, format.bytes_2b, format.bytes_7b, format.bytes_70b];
        let bytes = bytes.map(|bytes| unit(bytes, "B"));
        let name = html! { (format.name) };
        [name].into_iter().chain(figures).chain(bytes).chain([trimmed(format.ratio_to_fp16)]).collect()
    };
    #[rustfmt::skip]
    let head = [
        "format", "bits", "smallest", "largest", "digits", "bytes/parameter", "log2 of values", "MNIST’s", "2B", "7B", "70B", "of FP16",
    ];
    Table::new(&head, formats.iter().map(line))
}

/// One energy table: arithmetic, memory, and the energy by a counter, side by side.
pub fn energy(energy: &Energy, model: &EnergyModel) -> Table {
    // Without measured energies the column is left out.
    let counted = !energy.joules.is_empty();
    let pj = |value: Option<f64>| or(value, |value| html! { (plain(value)) " pJ" });
    let range = |ends: Option<[f64; 2]>| {
        or(ends, |[low, high]| html! { @if low != high { (plain(low)) " – " } (plain(high)) " pJ" })
    };
    let line = |row: &EnergyRow| {
        let measured = energy.joules.iter().find(|joules| joules.format == row.format);
        let mut cells = vec![
            html! { (row.format) },
            pj(row.published_pj_per_weight),
            pj(row.arithmetic_pj_per_weight),
            range(row.sram_pj_per_weight),
            range(row.hbm_pj_per_weight),
            range(row.dram_pj_per_weight),
            or(row.total_ratio_to_f16, plain),
        ];
        if counted {
            cells.push(measured.map_or(html! { (NOT_MEASURED) }, |measured| unit(measured.joules, "J")));
        }
        cells
    };
    let mut head = vec![
        "per weight",
        "arithmetic as published",
        "with INT32 sums",
        "SRAM",
        "HBM",
        "DRAM",
        "f16 takes so many times",
    ];
    if counted {
        head.push("measured, a product");
    }
    Table::new(&head, model.rows.iter().map(line))
}

/// [`energy`] for a terminal, by the table with this name, with the conclusions.
pub fn energy_text(found: &Energy, model: &str) -> String {
    let Some(model) = found.models.iter().find(|known| known.name == model) else { return String::new() };
    let wide = model.ratio_int32.map_or("unknown: it has no INT32 addition".into(), digits);
    let total = model.memory.as_deref().map_or(String::new(), |memory| {
        format!(
            "  f16 takes: in all, arithmetic with INT32 sums where the table has them, and every byte from {memory}{}, the \
             middle of its range\n",
            model.memory_of.as_deref().map_or(String::new(), |other| format!(" of {other}, since this table has none")),
        )
    });
    format!(
        "{}\n{}: {}\n  (quoted via {})\n{total}  FP16 multiply and add against one INT8 addition {} (the multiplication \
         alone {}), against one INT32 addition {wide}\n  with the bytes that a product moves: {}\n  measured: {}\n",
        energy(found, model),
        model.name,
        model.source,
        model.quoted_via,
        digits(model.ratio_published),
        digits(model.ratio_multiply),
        model.ratio_with_memory.map_or("unknown".into(), digits),
        found.measured,
    )
}
