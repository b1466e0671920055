//! Five questions that a reader of the page can answer, and the answers that its figures give.

use maud::{Markup, html};

use super::html::{count, or, plain, set, share, trimmed};
use crate::measure::ceilings::{Bound, near};
use crate::measure::wall::{EnergyModel, Wall};

pub fn questions(wall: &Wall, chosen: Option<&EnergyModel>) -> Markup {
    html! {
        ol {
            (ask(
                "What does one trit cost in memory and in operations, and why can the multiplication go?",
                &[("formats", "formats"), ("energy", "energy")],
                trit(wall),
            ))
            (ask(
                "Where is the wall on this GPU, and is a 7B model at batch 1 left or right of it?",
                &[("staircase", "staircase"), ("roofline", "roofline")],
                sides(wall),
            ))
            (ask(
                "How much faster is 2-bit than f16 here, and why not eight times (or why)?",
                &[("models", "the wall itself")],
                speedup(wall),
            ))
            (ask(
                "How much of the published energy factor survives when bytes are counted?",
                &[("energy", "energy")],
                energy(wall, chosen),
            ))
            (ask(
                "At what batch size does ternary stop being a bandwidth win?",
                &[("roofline", "roofline")],
                batch(wall),
            ))
        }
    }
}

/// A question with links to what answers it, and the answer.
fn ask(question: &str, links: &[(&str, &str)], answer: Markup) -> Markup {
    html! {
        li {
            p {
                b { (question) } " ("
                @for (i, (id, name)) in links.iter().enumerate() {
                    @if i > 0 { ", " } a href={ "#" (id) } { (name) }
                }
                ")"
            }
            p { (answer) }
        }
    }
}

fn trit(wall: &Wall) -> Markup {
    let format = |name: &str| wall.formats.iter().find(|format| format.name == name);
    let (trit, five) = (format("ternary"), format("ternary, five to a byte"));
    html! {
        "It says " (or(trit.map(|trit| trit.information_bits), trimmed)) " bits, is stored in "
        (or(trit.map(|trit| trit.bits), trimmed)) " or, five to a byte, in " (or(five.map(|five| five.bits), trimmed))
        ", and costs one addition. Multiplying by a weight that is minus one, zero or one is subtracting, skipping or adding: \
         there is nothing left to multiply but one scale for each output."
    }
}

fn sides(wall: &Wall) -> Markup {
    let summary = &wall.summary;
    let side = |format: &str, intensity: f64| {
        let ridge = if ["f32", "f16"].contains(&format) { summary.ridge_f32 } else { summary.ridge_int8 };
        match ridge {
            Some(ridge) if near(intensity, ridge) => "at the ridge",
            Some(ridge) if intensity < ridge => "left",
            Some(_) => "right",
            None => "on an unknown side",
        }
    };
    html! {
        @if let Some(bytes) = summary.wall_set_bytes {
            "Reading falls at a working set of " (set(bytes))
        } @else { "No working set is read much faster than memory" }
        ", and the roof bends at " (or(summary.ridge_f32, plain)) " operations per byte for f32, "
        (or(summary.ridge_int8, plain)) " for int8. Of the ridge of its own arithmetic LLaMA 7B at batch 1 lies: "
        @for (i, (format, intensity)) in summary.intensity_7b.iter().enumerate() {
            @if i > 0 { ", " } (format) " (" (plain(*intensity)) " op/B) " (side(format, *intensity))
        }
        ". Left means that it waits for memory; at the ridge, within a tenth of it, that nobody can tell."
    }
}

fn speedup(wall: &Wall) -> Markup {
    let summary = &wall.summary;
    let because = |bound| match bound {
        Bound::Bandwidth => {
            "two-bit weights still wait for memory, so what is missing to the ratio of the bytes is the kernel's own"
        }
        Bound::Compute => {
            "with so few bytes the arithmetic takes longer than the loading, and fewer bytes cannot help any more"
        }
        Bound::Launch => "the matrices are so small that starting a kernel takes longest",
        Bound::Balanced => {
            "two-bit weights lie near the ridge, where two ceilings allow about the same, so both hold the rest back"
        }
    };
    html! {
        "For LLaMA 7B: "
        @match (summary.speedup_measured, summary.speedup_measured_f32) {
            (Some(speedup), _) => { (plain(speedup)) " times" }
            (None, Some(speedup)) => { "f16 was not measured here; over f32 it is " (plain(speedup)) " times" }
            (None, None) => { "neither was measured" }
        }
        ". "
        @match (summary.speedup_ideal, summary.speedup_predicted, summary.bound_2bit_7b) {
            (Some(ideal), Some(predicted), Some(bound)) => {
                "The bytes alone would give " (plain(ideal)) ", the ceilings allow " (plain(predicted)) ": "
                (because(bound)) ". The kernel reaches " (or(summary.reached_7b, share)) " of what the ceilings allow."
            }
            (Some(ideal), ..) => {
                "The bytes alone would give " (plain(ideal)) "; what the ceilings allow is not known, since one is missing."
            }
            _ => {}
        }
    }
}

fn energy(wall: &Wall, chosen: Option<&EnergyModel>) -> Markup {
    html! {
        @if let Some((model, left)) = chosen.and_then(|model| Some((model, model.ratio_with_memory?))) {
            "By " (model.title) " arithmetic alone gives " (plain(model.ratio_published)) ", with sums as wide as they must be "
            (or(model.ratio_int32, plain)) "; with all bytes that move " (plain(left))
            " is left, which is about the ratio of the bytes. Measured: " (wall.energy.measured) "."
        } @else { "The chosen table knows no memory, so nothing can be said; see the others." }
    }
}

fn batch(wall: &Wall) -> Markup {
    let summary = &wall.summary;
    html! {
        @match summary.crossing_batch {
            Some(batch) if batch <= 1.0 => {
                "By the ceilings loading and computing take equally long at a batch of " (plain(batch))
                ": below one, so two bits are a matter of arithmetic here from the first row on."
            }
            Some(batch) => {
                "By the ceilings loading and computing take equally long at a batch of " (plain(batch))
                "; f32 weights get there at " (or(summary.crossing_batch_f32, plain)) "."
            }
            None => { "By the ceilings never, or one of them is missing." }
        }
        @if !summary.speedup_by_batch.is_empty() {
            " Measured speed-up over f32 by batch: "
            @for (i, (batch, speedup)) in summary.speedup_by_batch.iter().enumerate() {
                @if i > 0 { ", " } (plain(*speedup)) " at " (count(*batch))
            }
            "."
            @if let Some(batch) = summary.fading_batch {
                " At " (count(batch)) " it is less than half of what it was at 1."
            }
        }
    }
}
