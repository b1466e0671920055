//! Five questions that a reader of the page can answer, and the answers that its figures give.

use std::fmt::Write;

use super::html::{count, escape, or, plain, set, share, trimmed};
use crate::wall::{Bound, EnergyModel, Wall, near};

pub fn questions(wall: &Wall, chosen: Option<&EnergyModel>) -> String {
    let summary = &wall.summary;
    let mut html =
        String::from("<section id=questions><h2>Five questions, answered by this page</h2>\n<ol>\n");
    let mut ask = |question: &str, links: &str, answer: String| {
        let _ = writeln!(html, "<li><p><b>{question}</b> {links}</p><p>{answer}</p></li>");
    };

    let format = |name: &str| wall.formats.iter().find(|format| format.name == name);
    let (trit, five) = (format("ternary"), format("ternary, five to a byte"));
    ask(
        "What does one trit cost in memory and in operations, and why can the multiplication go?",
        "(<a href=#formats>formats</a>, <a href=#energy>energy</a>)",
        format!(
            "It says {} bits, is stored in {} or, five to a byte, in {}, and costs one addition. Multiplying by a weight \
             that is minus one, zero or one is subtracting, skipping or adding: there is nothing left to multiply but one \
             scale for each output.",
            or(trit.map(|t| t.information_bits), trimmed),
            or(trit.map(|t| t.bits), trimmed),
            or(five.map(|t| t.bits), trimmed),
        ),
    );

    let side = |intensity: f64, ridge: Option<f64>| match ridge {
        Some(ridge) if near(intensity, ridge) => "at the ridge",
        Some(ridge) if intensity < ridge => "left",
        Some(_) => "right",
        None => "on an unknown side",
    };
    let sides: Vec<String> = summary
        .intensity_7b
        .iter()
        .map(|(format, intensity)| {
            let floats = ["f32", "f16"].contains(&format.as_str());
            let ridge = if floats { summary.ridge_f32 } else { summary.ridge_int8 };
            format!("{} ({} op/B) {}", escape(format), plain(*intensity), side(*intensity, ridge))
        })
        .collect();
    let fall = match summary.wall_set_bytes {
        Some(bytes) => format!("Reading falls at a working set of {}", set(bytes)),
        None => "No working set is read much faster than memory".into(),
    };
    ask(
        "Where is the wall on this GPU, and is a 7B model at batch 1 left or right of it?",
        "(<a href=#staircase>staircase</a>, <a href=#roofline>roofline</a>)",
        format!(
            "{fall}, and the roof bends at {} operations per byte for f32, {} for int8. Of the ridge of its own arithmetic \
             LLaMA 7B at batch 1 lies: {}. Left means that it waits for memory; at the ridge, within a tenth of it, that \
             nobody can tell.",
            or(summary.ridge_f32, plain),
            or(summary.ridge_int8, plain),
            sides.join(", ")
        ),
    );

    let measured = match (summary.speedup_measured, summary.speedup_measured_f32) {
        (Some(speedup), _) => format!("{} times", plain(speedup)),
        (None, Some(speedup)) => {
            format!("f16 was not measured here; over f32 it is {} times", plain(speedup))
        }
        (None, None) => "neither was measured".into(),
    };
    let why = match (summary.speedup_ideal, summary.speedup_predicted, summary.bound_2bit_7b) {
        (Some(ideal), Some(predicted), Some(bound)) => {
            let because = match bound {
                Bound::Bandwidth => {
                    "two-bit weights still wait for memory, so what is missing to the ratio of the bytes is \
                                     the kernel's own"
                }
                Bound::Compute => {
                    "with so few bytes the arithmetic takes longer than the loading, and fewer bytes cannot \
                                   help any more"
                }
                Bound::Launch => "the matrices are so small that starting a kernel takes longest",
                Bound::Balanced => {
                    "two-bit weights lie near the ridge, where two ceilings allow about the same, so both hold the rest \
                     back"
                }
            };
            format!(
                "The bytes alone would give {}, the ceilings allow {}: {because}. The kernel reaches {} of what the ceilings \
                 allow.",
                plain(ideal),
                plain(predicted),
                or(summary.reached_7b, share)
            )
        }
        (Some(ideal), ..) => format!(
            "The bytes alone would give {}; what the ceilings allow is not known, since one is missing.",
            plain(ideal)
        ),
        _ => String::new(),
    };
    ask(
        "How much faster is 2-bit than f16 here, and why not eight times (or why)?",
        "(<a href=#models>the wall itself</a>)",
        format!("For LLaMA 7B: {measured}. {why}"),
    );

    let survives = match chosen.and_then(|model| Some((model, model.ratio_with_memory?))) {
        Some((model, left)) => format!(
            "By {} arithmetic alone gives {}, with sums as wide as they must be {}; with all bytes that move {} is left, \
             which is about the ratio of the bytes. Measured: {}.",
            escape(&model.title),
            plain(model.ratio_published),
            or(model.ratio_int32, plain),
            plain(left),
            escape(&wall.energy.measured)
        ),
        None => "The chosen table knows no memory, so nothing can be said; see the others.".into(),
    };
    ask(
        "How much of the published energy factor survives when bytes are counted?",
        "(<a href=#energy>energy</a>)",
        survives,
    );

    let crossing = match summary.crossing_batch {
        Some(batch) if batch <= 1.0 => format!(
            "By the ceilings loading and computing take equally long at a batch of {}: below one, so two bits are a matter of \
             arithmetic here from the first row on.",
            plain(batch)
        ),
        Some(batch) => format!(
            "By the ceilings loading and computing take equally long at a batch of {}; f32 weights get there at {}.",
            plain(batch),
            or(summary.crossing_batch_f32, plain)
        ),
        None => "By the ceilings never, or one of them is missing.".into(),
    };
    let by_batch: Vec<String> = summary
        .speedup_by_batch
        .iter()
        .map(|(batch, speedup)| format!("{} at {}", plain(*speedup), count(*batch)))
        .collect();
    let fading = match summary.fading_batch {
        Some(batch) => format!(" At {} it is less than half of what it was at 1.", count(batch)),
        None => String::new(),
    };
    let measured = match by_batch.is_empty() {
        true => String::new(),
        false => format!(" Measured speed-up over f32 by batch: {}.{fading}", by_batch.join(", ")),
    };
    ask(
        "At what batch size does ternary stop being a bandwidth win?",
        "(<a href=#roofline>roofline</a>)",
        format!("{crossing}{measured}"),
    );
    html + "</ol></section>\n"
}
