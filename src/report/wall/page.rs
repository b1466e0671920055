//! The page of one adapter: one HTML file with its plots inside, without script, font or picture from elsewhere.

use std::fmt::Write;

use super::html::*;
use super::plot::{energy_svg, models_svg, roofline_svg, staircase_svg};
use super::questions::questions;
use super::tables::{self, PAGE, bound_word};
use crate::wall::{Bound, Energy, EnergyModel, Point, Wall};

/// One adapter's page; `energy_model` is the table whose figures are drawn, by name.
pub fn wall_page(wall: &Wall, energy_model: &str) -> String {
    let title = format!("The memory wall of {}", wall.adapter);
    let chosen = wall.energy.models.iter().find(|model| model.name == energy_model);
    let chosen = chosen.or(wall.energy.models.first());
    let mut body = format!("<h1>{}</h1>\n", escape(&title));
    body += &first(wall);
    body += &sum(wall);
    body += &ceilings(wall);
    body += &staircase(wall);
    body += &roofline(wall);
    body += &models(wall);
    body += &formats(wall);
    body += &energy(&wall.energy, chosen);
    body += &questions(wall, chosen);
    body += &method(wall);
    document(&title, &body)
}

/// What must be known before anything else.
fn first(wall: &Wall) -> String {
    let mut html = String::new();
    if wall.software {
        html += "<p class=warn><b>This “device” is a CPU.</b> The driver is a software renderer: it runs shaders on the \
                 cores of the processor. Nothing below says anything about a GPU. What can be learnt here is the method, \
                 and that the integers are right; what cannot is where the wall of a graphics card is, how much faster \
                 few bits are there, or what they save in energy.</p>\n";
    }
    if wall.interrupted {
        html += "<p class=warn><b>Interrupted.</b> The measurement was asked to end early: what is missing says so.</p>\n";
    }
    let _ = writeln!(
        html,
        "<p class=meta>{} ({}, {}) · {} · {} measured, about {} a point · sterna {}</p>",
        escape(&wall.adapter),
        escape(&wall.backend),
        escape(&wall.device_type),
        escape(&wall.began),
        unit(wall.seconds, "s"),
        unit(wall.budget_seconds, "s"),
        escape(&wall.sterna_version),
    );
    html
}

/// The sum that everyone quotes, and the same with this adapter's own figures.
fn sum(wall: &Wall) -> String {
    let summary = &wall.summary;
    let mut html = format!(
        "<section id=sum><h2>The sum that everyone quotes</h2>\n<p>A 7B model in FP16 is {}. At {} loading it once takes \
         {}, and every token needs all of it: however fast the arithmetic, at batch 1 nobody writes faster than \
         that.",
        unit(summary.example_bytes, "B"),
        unit(summary.example_bytes_per_second, "B/s"),
        unit(summary.example_seconds, "s"),
    );
    let read = wall.ceilings.read.value();
    let of = |format: &str| wall.models.iter().find(|m| m.name == "LLaMA 7B" && m.format == format);
    if let (Some(read), Some(f16), Some(trits)) = (read, of("f16"), of("2-bit")) {
        let _ = write!(
            html,
            " <b>Here</b> memory is read at {}: the matrices of LLaMA 7B are {} in f16 and take {} to load; in two bits \
             they are {} and take {}.",
            unit(read, "B/s"),
            unit(f16.bytes as f64, "B"),
            or(f16.load_seconds, |seconds| unit(seconds, "s")),
            unit(trits.bytes as f64, "B"),
            or(trits.load_seconds, |seconds| unit(seconds, "s")),
        );
    }
    html + "</p></section>\n"
}

fn ceilings(wall: &Wall) -> String {
    let note = "Nothing on this adapter moves, computes or starts faster. Bytes are logical: a copy counts what it reads \
                and what it writes, a triad two reads and a write; a multiply-add is two operations, a packed dot product \
                with its addition eight. A ceiling whose middle half spreads over more than a twentieth says that it \
                varies.";
    format!(
        "<section id=ceilings><h2>Ceilings of this adapter</h2>\n<p>{note}</p>\n{}</section>\n",
        listed(tables::ceilings(&PAGE, &wall.ceilings), "")
    )
}

/// A table, below what it is.
fn listed((head, rows): tables::Table, caption: &str) -> String {
    table(caption, head, rows)
}

fn staircase(wall: &Wall) -> String {
    let summary = &wall.summary;
    let mut html = String::from("<section id=staircase><h2>The cache staircase</h2>\n");
    let stairs = [("read bandwidth".to_string(), wall.staircase.as_slice())];
    let conclude = match (
        summary.cache_bytes_per_second,
        summary.cache_set_bytes,
        summary.far_bytes_per_second,
    ) {
        (Some(cache), Some(near), Some(far)) => {
            let ends = format!(
                "{} is read at {}, {} at {}",
                set(near),
                unit(cache, "B/s"),
                or(summary.far_set_bytes, set),
                unit(far, "B/s")
            );
            match summary.wall_set_bytes {
                Some(wall) => format!(
                    "{ends}; from {} on the bandwidth is nearer to the lower of the two: <b>there is the wall</b>, and the \
                     weights of any real model lie behind it.",
                    set(wall)
                ),
                None => format!(
                    "{ends}: no fall worth the name, so either no cache is faster than the memory or the shader's own \
                     instructions are slower than both."
                ),
            }
        }
        _ => "Nothing was measured.".into(),
    };
    html += &figure(
        &staircase_svg(&stairs),
        "axes",
        "Each point is how fast one working set is read again and again, the stroke through it the middle half of its \
         samples; to the left it fits a cache, to the right only the memory.",
        &conclude,
    );
    html += "<details><summary>The figures</summary>";
    html += &listed(tables::staircase(&PAGE, &wall.staircase), "");
    html + "</details></section>\n"
}

/// The points that are drawn: one shape at every batch, and a small one.
pub fn drawn(wall: &Wall) -> Vec<Point> {
    let shapes = [wall.roofline_shape, wall.small_shape];
    wall.points.iter().filter(|point| shapes.contains(&[point.rows, point.cols])).cloned().collect()
}

fn roofline(wall: &Wall) -> String {
    let mut html = String::from("<section id=roofline><h2>The roofline</h2>\n");
    let points = drawn(wall);
    let summary = &wall.summary;
    let [rows, cols] = wall.roofline_shape;
    let mut conclude = match (summary.ridge_f32, summary.ridge_int8) {
        (Some(dense), Some(int8)) => format!(
            "The roof bends at {} operations per byte for f32 and at {} for int8 dot products: what lies to the left waits \
             for memory, what lies to the right for arithmetic",
            plain(dense),
            plain(int8)
        ),
        _ => "Without its ceilings nothing can be concluded".into(),
    };
    let reached = points.iter().filter(|p| p.batch == 1 && [p.rows, p.cols] == [rows, cols]);
    let told: Vec<String> = reached
        .filter_map(|point| {
            let bound = match point.bound_by? {
                Bound::Balanced => "balanced".into(),
                bound => format!("bound by {}", bound_word(bound)),
            };
            Some(format!(
                "{} is {bound} and reaches {} of what the ceilings allow",
                escape(&point.format),
                share(point.reached?)
            ))
        })
        .collect();
    if !told.is_empty() {
        let _ = write!(conclude, "; at batch 1 {}", told.join(", "));
    }
    conclude += ".";
    let shows = format!(
        "Each point is one measured product of a {} × {} matrix, the number beside it the rows of activations (the batch); \
         fewer bits per weight move a point to the right, since each byte feeds more operations, and up as far as the roof \
         lets it; points without a number are of a small matrix, {} × {}. A stroke through a point is the middle half of its samples. Weights in f16 are multiplied and \
         summed in f32, so the f16 roof is not theirs.",
        count(rows),
        count(cols),
        count(wall.small_shape[0]),
        count(wall.small_shape[1])
    );
    html += &figure(&roofline_svg(&wall.ceilings, &points, wall.roofline_shape), "axes", &shows, &conclude);
    html += &listed(
        tables::points(&PAGE, &points),
        "The points. What binds one is the ceiling that would take it longest; balanced are those of which two ceilings \
         would take within a tenth of equally long. The spread is of the middle half of the samples: more than a \
         twentieth varies.",
    );
    html += &gaps(&wall.gaps);
    html + "</section>\n"
}

fn models(wall: &Wall) -> String {
    let mut html = String::from("<section id=models><h2>The wall itself</h2>\n");
    let of = |format: &str| wall.models.iter().find(|m| m.name == "LLaMA 7B" && m.format == format);
    let conclude = match of("2-bit") {
        Some(trits) if trits.measured_seconds.is_some() => {
            let bound = match wall.summary.bound_2bit_7b {
                Some(Bound::Bandwidth) => {
                    "loading its weights takes longer than computing with them: it is memory-bound"
                }
                Some(Bound::Compute) => {
                    "computing with its weights takes longer than loading them: on this adapter two bits leave the memory \
                     wall behind, and meet that of arithmetic"
                }
                Some(Bound::Launch) => "starting its kernels takes longer than what they do",
                Some(Bound::Balanced) => {
                    "what the ceilings allow is balanced, two of them within a tenth of each other: it lies near the \
                     ridge, and which of them binds it this measurement cannot tell"
                }
                None => "a ceiling is missing",
            };
            format!(
                "LLaMA 7B in two bits takes {} a token, {} times as fast as in f32, of which the bytes alone would give \
                 {}; {bound}.",
                or(trits.measured_seconds, |seconds| unit(seconds, "s")),
                or(trits.speedup_over_f32, plain),
                or(wall.summary.speedup_ideal_f32, plain),
            )
        }
        _ => "LLaMA 7B was not measured whole.".into(),
    };
    html += &figure(
        &models_svg(&wall.models),
        "bars",
        "Each bar is the time of all matrix products of one token, measured shape by shape over matrices in rotation and \
         summed; the black tick is what the ceilings allow, matrix by matrix the longest of loading, computing and \
         starting; ± is the middle half of the samples, where that is much.",
        &conclude,
    );
    html += &listed(
        tables::models(&PAGE, &wall.models),
        "One token’s matrix work, all layers and the output head: medians of each shape times its count, the fastest \
         samples in the same way, and the spread of the middle halves; more than a twentieth varies. Samples are those of \
         the shape that has fewest.",
    );
    let mut reasons: Vec<&str> = wall.models.iter().filter_map(|model| model.missing.as_deref()).collect();
    reasons.dedup();
    if !reasons.is_empty() {
        let _ = write!(html, "<p class=gaps><b>Not measured.</b> {}.</p>", escape(&reasons.join("; ")));
    }
    html + "</section>\n"
}

fn formats(wall: &Wall) -> String {
    format!(
        "<section id=formats><h2>Number formats</h2>\n<p>What a parameter takes and what it can say. A trit holds less than \
         two bits; five of them fit a byte.</p>\n{}</section>\n",
        listed(tables::formats(&PAGE, &wall.formats), "")
    )
}

fn energy(energy: &Energy, chosen: Option<&EnergyModel>) -> String {
    let mut html = String::from("<section id=energy><h2>Energy</h2>\n");
    let Some(model) = chosen else { return html + "</section>\n" };
    let conclude = match model.ratio_with_memory {
        Some(left) => format!(
            "Of the factor of {} that arithmetic alone promises, {} is left once all bytes are counted: at \
             batch 1 the energy goes where the bytes go.",
            plain(model.ratio_published),
            plain(left)
        ),
        None => {
            "This table knows no memory, so it cannot tell what is left of its factor once bytes are counted."
                .into()
        }
    };
    html += &figure(
        &energy_svg(model),
        "bars",
        "Each bar is what one weight costs in one matrix-vector product by published figures: the operations it really \
         needs, with sums in INT32, and its share of all bytes that move.",
        &conclude,
    );
    let caption = format!(
        "Per weight, by {}: the operations of the product as published, each sum as narrow as its operands, and as needed; \
         and all its bytes (weights, activations and outputs) from each memory. The total is of INT32 sums and {}. A \
         product is {} × {}.",
        escape(&model.title),
        escape(model.memory.as_deref().unwrap_or("no memory, which this table does not know")),
        count(energy.shape[0]),
        count(energy.shape[1])
    );
    html += &listed(tables::energy(&PAGE, energy, model), &caption);
    let row = |model: &EnergyModel| {
        vec![
            escape(&model.title),
            plain(model.ratio_published),
            plain(model.ratio_multiply),
            or(model.ratio_int32, plain),
            or(model.ratio_with_memory, plain),
            format!("{} <i>Quoted via {}.</i>", escape(&model.source), escape(&model.quoted_via)),
        ]
    };
    let head = [
        "table",
        "(FP16 × and +) / INT8 +",
        "FP16 × / INT8 +",
        "(FP16 × and +) / INT32 +",
        "with memory",
        "source",
    ];
    html += &table(
        "How many times as much f16 costs as two bits, by every table.",
        &head,
        energy.models.iter().map(row),
    );
    let _ = write!(html, "<p>Measured energy: {}.", escape(&energy.measured));
    if let Some(watts) = energy.idle_watts {
        let _ = write!(html, " The idle machine took {}, which is subtracted.", unit(watts, "W"));
    }
    html += "</p>\n";
    html += &gaps(&energy.gaps);
    html + "</section>\n"
}

fn method(wall: &Wall) -> String {
    let mut html = String::from("<section id=method><h2>How it was measured</h2>\n<ul>\n");
    for note in &wall.notes {
        let _ = writeln!(html, "<li>{}</li>", escape(note));
    }
    html += "</ul><p>Every sample is in <code>wall.json</code>, which lies beside this page. \
             <code>sterna wall --compare</code> puts several of them on one page.</p></section>\n";
    html
}
