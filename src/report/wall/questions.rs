//! Eight questions for the reader of the page, and the answers from its figures, for a page and for a terminal.

use maud::{Markup, html};

use super::html::{count, or, plain, prose, set, share, trimmed, unit};
use super::tables::words;
use crate::measure::ceilings::{Bound, near};
use crate::measure::wall::{EnergyModel, Fall, Wall};

/// A question, the ids of the sections that show the answer, and the answer.
struct Answer {
    question: &'static str,
    links: &'static [(&'static str, &'static str)],
    answer: Markup,
}

fn answers(wall: &Wall, chosen: Option<&EnergyModel>) -> [Answer; 8] {
    let ask = |question, links, answer| Answer { question, links, answer };
    [
        ask(
            "What does one trit cost in memory and in operations, and why can the multiplication go?",
            &[("formats", "formats"), ("energy", "energy")],
            trit(wall),
        ),
        ask(
            "Where is the wall on this GPU, and is a 7B model at batch 1 left or right of it?",
            &[("roofline", "roofline"), ("staircase", "staircase")],
            sides(wall),
        ),
        ask(
            "How much faster is 2-bit than f16 here, and why not eight times (or why)?",
            &[("models", "the wall itself")],
            speedup(wall),
        ),
        ask(
            "How much of the published energy factor survives when bytes are counted?",
            &[("energy", "energy")],
            energy(wall, chosen),
        ),
        ask(
            "At what batch size does ternary stop being a bandwidth win?",
            &[("roofline", "roofline")],
            batch(wall),
        ),
        ask(
            "Why does the course’s factor of 500 end near eight as well?",
            &[("energy", "energy")],
            course(wall),
        ),
        ask(
            "Why are there shadow weights, and what does straight-through mean?",
            &[],
            prose(
                "A trit can only change by a whole one, and a step of training moves a weight by a thousandth of that. \
                 Whoever rounded after each step would lose every step. So each weight is kept as a float, its shadow, and \
                 each product takes a rounded copy. Small steps add up in the shadow until it crosses the edge between two \
                 trits: then the trit flips. Rounding is flat nearly everywhere, so its true slope is zero and would stop \
                 all learning. Straight-through means: on the way back rounding counts as if it were not there, and the \
                 gradient of the trit goes to its shadow unchanged. `sterna train --compare --no-shadow` shows what is lost \
                 without shadows.",
            ),
        ),
        ask("What does perplexity say of ten classes?", &[], perplexity(wall)),
    ]
}

/// The questions as a list. Each has links to the sections that answer it.
pub fn questions(wall: &Wall, chosen: Option<&EnergyModel>) -> Markup {
    html! {
        ol {
            @for Answer { question, links, answer } in answers(wall, chosen) {
                li {
                    p {
                        b { (question) }
                        @for (i, (id, name)) in links.iter().enumerate() {
                            (if i == 0 { " (" } else { ", " }) a href={ "#" (id) } { (name) }
                        }
                        @if !links.is_empty() { ")" }
                    }
                    p { (answer) }
                }
            }
        }
    }
}

/// The questions for a terminal of 80 columns. `energy_model` is the name of the energy table.
pub fn questions_text(wall: &Wall, energy_model: &str) -> String {
    let chosen = wall.energy.models.iter().find(|model| model.name == energy_model);
    let one = |(i, Answer { question, answer, .. }): (usize, Answer)| {
        format!("{}{}", wrapped(&format!("{}. {question}", i + 1), ""), wrapped(&words(&answer), "   "))
    };
    answers(wall, chosen).into_iter().enumerate().map(one).collect::<Vec<_>>().join("\n")
}

/// Text in lines of at most 80 columns. Each line starts with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let (mut all, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > 80 {
            all += &format!("{indent}{line}\n");
            line.clear();
        }
        line += if line.is_empty() { "" } else { " " };
        line += word;
    }
    all + &format!("{indent}{line}\n")
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
        "The wall is where the roof bends, at its ridge: what lies left of it waits for memory, what lies right of it for \
         arithmetic. Here the ridge is at " (or(summary.ridge_f32, plain)) " operations per byte for f32 and at "
        (or(summary.ridge_int8, plain)) " for int8. Of the ridge of its own arithmetic LLaMA 7B at batch 1 lies: "
        @for (i, (format, intensity)) in summary.intensity_7b.iter().enumerate() {
            @if i > 0 { ", " } (format) " (" (plain(*intensity)) " op/B) " (side(format, *intensity))
        }
        ". At the ridge, within a tenth of it, nobody can tell. "
        @match (summary.fall, summary.wall_set_bytes) {
            (Fall::There, Some(bytes)) => {
                "Caches are faster than memory up to a working set of less than " (set(bytes)) ", and no such model fits there."
            }
            (Fall::None, _) => { "No cache helps: all working sets are read about equally fast." }
            _ => { "Where the caches end cannot be told here." }
        }
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
        @match summary.speedup_measured {
            Some(speedup) => { (plain(speedup)) " times" }
            None => { "it was not measured whole" }
        }
        ". "
        @match (summary.speedup_ideal, summary.speedup_predicted, summary.bound_2bit_7b) {
            (Some(ideal), Some(predicted), Some(bound)) => {
                "The bytes alone would give " (plain(ideal)) ", the ceilings allow " (plain(predicted)) ": "
                (because(bound)) ". The kernel reaches " (or(summary.reached_7b, share)) " of what the ceilings allow."
                @if summary.speedup_measured > Some(predicted) {
                    " More than the ceilings allow is measured because f16 reaches even less of its own."
                }
                @if summary.reached_7b.is_some_and(|share| share > 1.0) {
                    " That is more than the whole: other work disturbed a ceiling while it was measured."
                }
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
            "By " (model.title) " arithmetic alone gives " (plain(model.ratio_published))
            @if let Some(wide) = model.ratio_int32 { ", with sums as wide as they must be " (plain(wide)) }
            "; with all bytes that move " (plain(left)) " is left, which is about the ratio of the bytes. Measured: "
            (prose(&wall.energy.measured)) "."
        } @else { "There is no such table." }
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
                "; f16 weights get there at " (or(summary.crossing_batch_f16, plain)) "."
            }
            None => { "By the ceilings never, or one of them is missing." }
        }
        @if !summary.speedup_over_f16_by_batch.is_empty() {
            " Measured speed-up over f16 by batch: "
            @for (i, (batch, speedup)) in summary.speedup_over_f16_by_batch.iter().enumerate() {
                @if i > 0 { ", " } (plain(*speedup)) " at " (count(*batch))
            }
            "."
            @if let Some(batch) = summary.fading_batch {
                " At " (count(batch)) " it is less than half of what it was at 1."
            }
        }
    }
}

fn course(wall: &Wall) -> Markup {
    let model = wall.energy.models.iter().find(|model| model.name == "course");
    let row = |format: &str| model.and_then(|model| model.rows.iter().find(|row| row.format == format));
    html! {
        @if let (Some(model), Some(f16), Some(trits)) = (model, row("f16"), row("2-bit")) {
            "It compares arithmetic alone: an FP16 multiplication costs " (plain(model.ratio_multiply))
            " times as much as an INT8 addition, with its addition " (plain(model.ratio_published))
            " times. But a weight must come from memory first. By " (model.memory.as_deref().unwrap_or("no memory")) " of "
            (model.memory_of.as_deref().unwrap_or("the same table")) " that takes "
            (or(f16.memory_pj_per_weight, plain)) " pJ for a weight in f16 and " (or(trits.memory_pj_per_weight, plain))
            " pJ in two bits. Beside that the " (or(trits.published_pj_per_weight, plain)) " pJ of the addition are nothing: "
            (or(model.ratio_with_memory, plain)) " is left. However cheap arithmetic is, the ratio of the bytes stays, "
            (or(wall.summary.speedup_ideal, plain)) "."
        } @else { "The course’s table is missing." }
    }
}

fn perplexity(wall: &Wall) -> Markup {
    let (classes, loss) = (wall.summary.example_classes, wall.summary.example_loss);
    html! {
        "It is e to the power of the cross-entropy, and says among how many equally likely classes a network hesitates. \
         Whoever guesses among ten has a loss of " (unit(loss, "nats")) " and a perplexity of " (trimmed(classes))
        "; whoever is sure and right has a loss of zero and a perplexity of one. A wrong answer that was sure costs more than \
         a guess. So a network may have a perplexity near " (trimmed(classes)) " and yet be right more often than wrong: it \
         knows the order of its answers, and not how sure to be."
    }
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_end_within_80_columns() {
        let text = "ein Wort und noch eines ".repeat(20) + &"x".repeat(90);
        let lines = wrapped(&text, "   ");
        let (others, last) = lines.trim_end().rsplit_once('\n').expect("several lines");
        let (others, _) = others.rsplit_once('\n').expect("several lines");
        assert!(
            others.lines().all(|line| line.len() <= 80 && line.starts_with("   ") && line.len() > 70),
            "{lines}"
        );
        assert_eq!(last.trim(), "x".repeat(90));
        assert_eq!(lines.split_whitespace().count(), text.split_whitespace().count());
    }
}
