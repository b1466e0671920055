//! The tables of a terminal.

use super::figure::digits;
use super::tables::{self, TERMINAL, Table};
use crate::report::columns;
use crate::wall::{Ceilings, Energy, EnergyModel, Format, Model, Point, Step};

fn lines((head, body): Table) -> String {
    let head = head.iter().map(|cell| cell.to_string()).collect();
    columns(&[vec![head], body].concat())
}

/// The ceilings that were asked for, a line each; gaps with their reasons.
pub fn ceilings_table(ceilings: &Ceilings) -> String {
    lines(tables::ceilings(&TERMINAL, ceilings))
}

/// The staircase, a line for each working set.
pub fn staircase_table(steps: &[Step]) -> String {
    lines(tables::staircase(&TERMINAL, steps))
}

/// The roofline's points.
pub fn points_table(points: &[Point]) -> String {
    lines(tables::points(&TERMINAL, points))
}

/// Every model in every format.
pub fn models_table(models: &[Model]) -> String {
    lines(tables::models(&TERMINAL, models))
}

/// Number formats.
pub fn formats_table(formats: &[Format]) -> String {
    lines(tables::formats(&TERMINAL, formats))
}

/// One table of energies: arithmetic, memory and what a counter measured, side by side.
pub fn energy_table(energy: &Energy, model: &EnergyModel) -> String {
    let wide = model.ratio_int32.map_or("unknown: it has no INT32 addition".into(), digits);
    let total = model.memory.as_deref().map_or(String::new(), |memory| {
        format!(
            "  total: arithmetic with INT32 sums, and every byte from {memory}, the middle of its range\n"
        )
    });
    lines(tables::energy(&TERMINAL, energy, model))
        + &format!(
            "\n{}: {}\n  (quoted via {})\n{total}  FP16 multiply and add against one INT8 addition {} (the \
             multiplication alone {}), against one INT32 addition {wide}\n  with the bytes that a product moves: {}\n  \
             measured: {}\n",
            model.name,
            model.source,
            model.quoted_via,
            digits(model.ratio_published),
            digits(model.ratio_multiply),
            model.ratio_with_memory.map_or("unknown: it has no memory".into(), digits),
            energy.measured,
        )
}
