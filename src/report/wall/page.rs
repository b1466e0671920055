//! The page of one adapter: one HTML file that contains its plots. It uses no script, and no font or picture from
//! elsewhere.

use maud::{Markup, html};

use super::html::*;
use super::plot::{energy_svg, models_svg, roofline_svg, staircase_svg};
use super::questions::questions;
use super::tables;
use crate::measure::ceilings::Bound;
use crate::measure::decode::{Binds, Rate};
use crate::measure::wall::{Energy, EnergyModel, Fall, TokenCost, Wall};

/// The page of one adapter. `energy_model` is the name of the energy table for the figures.
pub fn wall_page(wall: &Wall, energy_model: &str) -> String {
    let title = format!("The memory wall of {}", wall.adapter);
    let chosen = wall.energy.models.iter().find(|model| model.name == energy_model);
    let chosen = chosen.or(wall.energy.models.first());
    let sections = [
        ("questions", "Eight questions, answered by this page", questions(wall, chosen)),
        ("sum", "The sum that everyone quotes", sum(wall)),
        ("ceilings", "Ceilings of this adapter", ceilings(wall)),
        ("staircase", "The cache staircase", staircase(wall)),
        ("roofline", "The roofline", roofline(wall)),
        ("models", "The wall itself", models(wall)),
        ("formats", "Number formats", formats(wall)),
        ("energy", "Energy", html! { @if let Some(model) = chosen { (energy(&wall.energy, model)) } }),
        ("method", "How it was measured", method(wall)),
    ];
    document(
        &title,
        html! {
            (first(wall))
            nav aria-label="Contents" {
                @for (id, heading, _) in &sections { a href={ "#" (id) } { (heading) } " " }
            }
            @for (id, heading, body) in sections { (section(id, heading, body)) }
        },
    )
}

fn formats(wall: &Wall) -> Markup {
    html! {
        p {
            "What a parameter takes and what it can say. A trit holds less than two bits; five of them fit a byte. Digits are \
             those of decimal numbers that the bits can tell apart; integers and trits are exact. Weights and activations in \
             INT8 leave the smallest value unused, so that their range is the same on both sides."
        }
        (tables::formats(&wall.formats).html(html! {}))
    }
}

fn method(wall: &Wall) -> Markup {
    html! {
        ul { @for note in &wall.notes { li { (prose(note)) } } }
        p {
            "Every sample is in " code { "wall.json" } ", which lies beside this page. "
            code { "sterna wall --compare" } " puts several of them on one page."
        }
    }
}

/// The notes at the beginning of the page.
fn first(wall: &Wall) -> Markup {
    html! {
        @if wall.software {
            p.warn {
                b { "This “device” is a CPU." }
                " The driver is a software renderer: it runs shaders on the cores of the processor. Nothing below says \
                 anything about a GPU. What can be learnt here is the method, and that the integers are right; what cannot \
                 is where the wall of a graphics card is, how much faster few bits are there, or what they save in energy."
            }
        }
        @if wall.interrupted {
            p.warn {
                b { "Interrupted." } " The measurement was asked to end early: what is missing says so."
            }
        }
        p.meta {
            (wall.adapter) " (" (wall.backend) ", " (wall.device_type) ") · " (wall.began) " · " (unit(wall.seconds, "s"))
            " measured, about " (unit(wall.budget_seconds, "s")) " a point · sterna " (wall.sterna_version)
        }
    }
}

/// LLaMA 7B in this format.
fn seven<'a>(wall: &'a Wall, format: &str) -> Option<&'a TokenCost> {
    wall.models.iter().find(|model| model.name == "LLaMA 7B" && model.format == format)
}

fn seconds(seconds: Option<f64>) -> Markup {
    or(seconds, |seconds| unit(seconds, "s"))
}

/// The well-known example calculation, and the same calculation with the figures of this adapter.
fn sum(wall: &Wall) -> Markup {
    let summary = &wall.summary;
    let own = wall.ceilings.read.value().zip(seven(wall, "f16")).zip(seven(wall, "2-bit"));
    html! {
        p {
            "A 7B model in FP16 is " (unit(summary.example_bytes, "B")) ". At "
            (unit(summary.example_bytes_per_second, "B/s")) " loading it once takes " (unit(summary.example_seconds, "s"))
            ", and every token needs all of it: however fast the arithmetic, at batch 1 nobody writes faster than that."
            @if let Some(((read, f16), trits)) = own {
                " " b { "Here" } " memory is read at " (unit(read, "B/s")) ": the matrices of LLaMA 7B are "
                (unit(f16.bytes as f64, "B")) " in f16 and take " (seconds(f16.load_seconds))
                " to load; in two bits they are " (unit(trits.bytes as f64, "B")) " and take " (seconds(trits.load_seconds))
                "."
            }
        }
    }
}

fn ceilings(wall: &Wall) -> Markup {
    html! {
        p {
            "A ceiling is the median of what a probe reached that does nothing else; its best lap may be faster. Bytes are \
             logical: a copy counts what it reads and what it writes, a triad two reads and a write; a multiply-add is two \
             operations, a packed dot product with its addition eight. ≈ stands before a spread of more than a twentieth: \
             such a figure varies."
        }
        (tables::ceilings(&wall.ceilings).html(html! {}))
    }
}

fn staircase(wall: &Wall) -> Markup {
    let summary = &wall.summary;
    let cache = summary.cache_bytes_per_second.zip(summary.cache_set_bytes);
    let conclude = html! {
        @if let Some(((cache, near), far)) = cache.zip(summary.far_bytes_per_second) {
            (set(near)) " is read at " (unit(cache, "B/s")) ", " (or(summary.far_set_bytes, set)) " at " (unit(far, "B/s"))
            @match (summary.fall, summary.wall_set_bytes) {
                (Fall::There, Some(wall)) => {
                    "; from " (set(wall)) " on the bandwidth is nearer to the lower of the two: " b { "there the caches end" }
                    ", and the weights of any real model lie beyond."
                }
                (Fall::None, _) => {
                    ": no fall worth the name, so either no cache is faster than the memory or the shader's own instructions \
                     are slower than both."
                }
                _ => {
                    ". " b { "Where the caches end cannot be told here" } ": the steps rise and fall as much by chance as from \
                     one end to the other, or are too few. Measure again on a quiet machine."
                }
            }
        } @else { "Nothing was measured." }
    };
    let shows = html! {
        "Each point is how fast one working set is read again and again, the stroke through it the middle half of its \
         samples; to the left it fits a cache, to the right only the memory."
    };
    html! {
        (figure(
            &staircase_svg(&[("read bandwidth".into(), &wall.staircase)]),
            "Read bandwidth by working set",
            shows,
            conclude,
        ))
        details { summary { "The figures" } (tables::staircase(&wall.staircase).html(html! {})) }
    }
}

fn roofline(wall: &Wall) -> Markup {
    let (points, summary, [rows, cols]) = (wall.roofline(), &wall.summary, wall.roofline_shape);
    let at_one = points.iter().filter(|point| point.shape() == [1, rows, cols]);
    let told = at_one.filter_map(|point| Some((&point.format, point.bound_by?, point.reached?)));
    let conclude = html! {
        @if let Some((dense, int8)) = summary.ridge_f32.zip(summary.ridge_int8) {
            "The roof bends at " (plain(dense)) " operations per byte for f32 and at " (plain(int8))
            " for int8 dot products: what lies to the left waits for memory, what lies to the right for arithmetic"
        } @else { "Without its ceilings nothing can be concluded" }
        @for (i, (format, bound, reached)) in told.enumerate() {
            (if i == 0 { "; at batch 1 " } else { ", " }) (format) " is "
            @if bound != Bound::Balanced { "bound by " } (bound.word()) " and reaches " (share(reached))
            " of what the ceilings allow"
            @if reached > 1.0 { " (one of them was disturbed)" }
        }
        "."
    };
    let shows = html! {
        "Each point is one measured product of a " (count(rows)) " × " (count(cols)) " matrix, the number beside it the rows \
         of activations (the batch); fewer bits per weight move a point to the right, since each byte feeds more operations, \
         and up as far as the roof lets it; points of a small matrix have no number: " (count(wall.small_shape[0]))
        " × " (count(wall.small_shape[1])) ". A stroke through a point is the middle half of its samples. Circles on the roof \
         are what it allows LLaMA 7B at batch 1. Weights in f16 are multiplied and summed in f32, so the f16 roof is not \
         theirs."
    };
    html! {
        (figure(&roofline_svg(wall, &points), "The roofline with measured products", shows, conclude))
        (tables::points(&points).html(html! {
            "The points. What binds one is the ceiling that would take it longest; balanced are those of which two ceilings \
             would take within a tenth of equally long. The spread is of the middle half of the samples; ≈ says that it is \
             more than a twentieth. What reaches more than the whole of the roof says that its ceiling was disturbed: \
             other work ran while that was measured."
        }))
        (gaps(&wall.gaps))
    }
}

fn models(wall: &Wall) -> Markup {
    let bound = match wall.summary.bound_2bit_7b {
        Some(Bound::Bandwidth) => {
            "loading its weights takes longer than computing with them: it is memory-bound"
        }
        Some(Bound::Compute) => {
            "computing with its weights takes longer than loading them: on this adapter two bits leave the memory wall \
             behind, and meet that of arithmetic"
        }
        Some(Bound::Launch) => "starting its kernels takes longer than what they do",
        Some(Bound::Balanced) => {
            "what the ceilings allow is balanced, two of them within a tenth of each other: it lies near the ridge, and \
             which of them binds it this measurement cannot tell"
        }
        None => "a ceiling is missing",
    };
    let trits = seven(wall, "2-bit").filter(|trits| trits.measured_seconds.is_some());
    let conclude = html! {
        @if let Some(trits) = trits {
            "LLaMA 7B in two bits takes " (seconds(trits.measured_seconds)) " a token, " (or(trits.speedup_over_f16, plain))
            " times as fast as in f16, of which the bytes alone would give " (or(wall.summary.speedup_ideal, plain)) "; "
            (bound) "."
        } @else { "LLaMA 7B was not measured whole." }
    };
    let shows = html! {
        "Each bar is the time of all matrix products of one token, measured shape by shape over matrices in rotation and \
         summed; the tick across it is what the ceilings allow, matrix by matrix the longest of loading, computing and \
         starting; ± is the middle half of the samples, where that is much. Each model has a scale of its own."
    };
    let mut reasons: Vec<&str> = wall.models.iter().filter_map(|model| model.missing.as_deref()).collect();
    reasons.dedup();
    html! {
        (figure(&models_svg(&wall.models), "Seconds for each token by model and format", shows, conclude))
        (tables::models(&wall.models).html(html! {
            "One token’s matrix work, all layers and the output head: medians of each shape times its count, the fastest \
             samples in the same way, and the spread of the middle halves; ≈ says that it is more than a twentieth. × f16: how \
             many times as fast as in f16."
        }))
        @if !reasons.is_empty() { p.gaps { b { "Not measured." } " " (reasons.join("; ")) "." } }
        @if let Some(rate) = &wall.text { (written(rate)) }
    }
}

/// A whole model that writes, beside what its bytes and dispatches allow.
fn written(rate: &Rate) -> Markup {
    let (mean, deviation) = rate.mean();
    html! {
        p {
            b { "A whole token." }
            " BitNet b1.58 2B4T with made-up weights, an embedding in int8 and keys in f16 writes "
            (plain(mean)) " ± " (plain(deviation)) " tokens a second here, norms, attention and choice of the token included. A token reads "
            (unit(rate.bytes_per_token as f64, "B")) " in " (count(rate.dispatches)) " dispatches."
            @if let Some(found) = rate.wall {
                " Its bytes alone would allow " (plain(1.0 / found.memory_seconds))
                " tokens a second, its bytes and the launches of its dispatches " (plain(1.0 / found.seconds()))
                ": it reaches " (share(mean * found.seconds())) " of that. "
                @match found.binds() {
                    Binds::Memory => "The memory binds it.",
                    Binds::Launches => "The launches bind it.",
                    Binds::Both => "Memory and launches bind it nearly alike.",
                    Binds::Arithmetic => "Its arithmetic takes longer than both: by the measured rates it allows ",
                }
                @if let (Binds::Arithmetic, Some(seconds)) = (found.binds(), found.arithmetic_seconds) {
                    (plain(1.0 / seconds)) "."
                }
            }
        }
    }
}

fn energy(energy: &Energy, model: &EnergyModel) -> Markup {
    let conclude = html! {
        @if let Some(left) = model.ratio_with_memory {
            "Of the factor of " (plain(model.ratio_published)) " that arithmetic alone promises, " (plain(left))
            " is left once all bytes are counted: at batch 1 the energy goes where the bytes go."
        }
    };
    let shows = html! {
        "Each bar is what one weight costs in one matrix-vector product by published figures: first the arithmetic as it was \
         published, each sum as narrow as its operands; then with sums in INT32; then with its share of all bytes that move. \
         Each group has a scale of its own."
    };
    let memory = html! {
        (model.memory.as_deref().unwrap_or("no memory"))
        @if let Some(other) = &model.memory_of { " of " (other) ", since this table has none" }
    };
    let row = |model: &EnergyModel| {
        vec![
            html! { (model.title) },
            plain(model.ratio_published),
            plain(model.ratio_multiply),
            or(model.ratio_int32, plain),
            or(model.ratio_with_memory, plain),
            html! { (model.source) " " i { "Quoted via " (model.quoted_via) "." } },
        ]
    };
    #[rustfmt::skip]
    let head = [
        "table", "FP16 × and + over INT8 +", "FP16 × over INT8 +", "FP16 × and + over INT32 +", "with memory", "source",
    ];
    html! {
        (figure(&energy_svg(model), "Energy for each weight by format", shows, conclude))
        (tables::energy(energy, model).html(html! {
            "Per weight, by " (model.title) ": the operations of the product as published, each sum as narrow as its \
             operands, and as needed; and all its bytes (weights, activations and outputs) from each memory. The total is of \
             INT32 sums and " (memory) ". A product is " (count(energy.shape[0])) " × " (count(energy.shape[1])) "."
        }))
        (tables::Table::new(&head, energy.models.iter().map(row)).html(html! {
            "How many times as much f16 costs as two bits, by every table."
        }))
        p {
            "Measured energy: " (prose(&energy.measured)) "."
            @if let Some(watts) = energy.idle_watts {
                " The idle machine took " (unit(watts, "W")) ", which is subtracted."
            }
        }
        (gaps(&energy.gaps))
    }
}
