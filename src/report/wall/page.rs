//! The page of one adapter: one HTML file with its plots inside, without script, font or picture from elsewhere.

use std::fmt::Write;

use super::figure::measure;
use super::html::*;
use super::plot::{energy_svg, models_svg, roofline_svg, staircase_svg};
use super::questions::questions;
use super::text::{bound_word, ceiling_words};
use crate::wall::{Energy, EnergyModel, Model, Point, Probe, Wall};

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
    let row = |(name, probe): (&'static str, &Probe)| match probe {
        Probe::Measured(found) => vec![
            ceiling_words(name).into(),
            data(found.value, &measure(found.value, &found.unit)),
            data(found.best, &measure(found.best, &found.unit)),
            format!("{}{}", share(found.spread), if found.steady { "" } else { " <b>varies</b>" }),
            count(found.long_seconds.len()),
            escape(&found.overrides),
        ],
        Probe::Missing { missing } => {
            let gap = || "–".to_string();
            vec![
                ceiling_words(name).into(),
                gap(),
                gap(),
                gap(),
                gap(),
                format!("missing: {}", escape(missing)),
            ]
        }
    };
    let rows = wall.ceilings.each().into_iter().map(row);
    let head = ["", "median", "best", "spread", "samples", "fastest variant"];
    let note = "Nothing on this adapter moves, computes or starts faster. Bytes are logical: a copy counts what it reads \
                and what it writes, a triad two reads and a write; a multiply-add is two operations, a packed dot product \
                with its addition eight. A ceiling whose middle half spreads over more than a twentieth says that it \
                varies.";
    format!(
        "<section id=ceilings><h2>Ceilings of this adapter</h2>\n<p>{note}</p>\n{}</section>\n",
        table("", &head, rows)
    )
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
        "Each point is how fast one working set is read again and again; to the left it fits a cache, to the right only \
         the memory.",
        &conclude,
    );
    let row = |step: &crate::wall::Step| match &step.probe {
        Probe::Measured(found) => {
            vec![set(step.set_bytes), unit(found.value, "B/s"), share(found.spread), String::new()]
        }
        Probe::Missing { missing } => vec![set(step.set_bytes), "–".into(), "–".into(), escape(missing)],
    };
    html += "<details><summary>The figures</summary>";
    html += &table("", &["working set", "read", "spread", ""], wall.staircase.iter().map(row));
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
            Some(format!(
                "{} is bound by {} and reaches {} of what the ceilings allow",
                escape(&point.format),
                bound_word(point.bound_by?),
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
         lets it; points without a number are of a small matrix, {} × {}.",
        count(rows),
        count(cols),
        count(wall.small_shape[0]),
        count(wall.small_shape[1])
    );
    html += &figure(&roofline_svg(&wall.ceilings, &points, wall.roofline_shape), "axes", &shows, &conclude);
    let row = |point: &Point| {
        vec![
            escape(&point.format),
            format!("{}×{}", count(point.rows), count(point.cols)),
            count(point.batch),
            unit(point.median_seconds, "s"),
            plain(point.intensity),
            unit(point.ops_per_second, "op/s"),
            unit(point.bytes_per_second, "B/s"),
            or(point.bound_by, |bound| bound_word(bound).into()),
            or(point.reached, share),
            count(point.sample_seconds.len()),
        ]
    };
    let head =
        ["weights", "shape", "batch", "time", "op/B", "op/s", "B/s", "bound by", "of the roof", "samples"];
    html += &table(
        "The points. What binds one is the ceiling that would take it longest.",
        &head,
        points.iter().map(row),
    );
    html += &gaps(&wall.gaps);
    html + "</section>\n"
}

fn models_table(models: &[Model]) -> String {
    let row = |model: &Model| {
        let time = |seconds: Option<f64>| or(seconds, |seconds| unit(seconds, "s"));
        vec![
            escape(&model.name),
            escape(&model.format),
            unit(model.bytes as f64, "B"),
            time(model.load_seconds),
            time(model.compute_seconds),
            time(model.predicted_seconds),
            time(model.measured_seconds),
            or(model.tokens_per_second, plain),
            or(model.speedup_over_f16, plain),
            or(model.speedup_over_f32, plain),
        ]
    };
    let head = [
        "model",
        "weights",
        "bytes",
        "load",
        "compute",
        "predicted",
        "measured",
        "tokens/s",
        "× f16",
        "× f32",
    ];
    table("One token's matrix work, all layers and the output head.", &head, models.iter().map(row))
}

fn models(wall: &Wall) -> String {
    let mut html = String::from("<section id=models><h2>The wall itself</h2>\n");
    let of = |format: &str| wall.models.iter().find(|m| m.name == "LLaMA 7B" && m.format == format);
    let conclude = match of("2-bit") {
        Some(trits) if trits.measured_seconds.is_some() => {
            let bound = match (trits.load_seconds, trits.compute_seconds) {
                (Some(load), Some(compute)) if load >= compute => {
                    "loading its weights takes longer than computing with them: it is memory-bound"
                }
                (Some(_), Some(_)) => {
                    "computing with its weights takes longer than loading them: on this adapter two bits leave the memory \
                     wall behind, and meet that of arithmetic"
                }
                _ => "a ceiling is missing",
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
         starting.",
        &conclude,
    );
    html += &models_table(&wall.models);
    let mut reasons: Vec<&str> = wall.models.iter().filter_map(|model| model.missing.as_deref()).collect();
    reasons.dedup();
    if !reasons.is_empty() {
        let _ = write!(html, "<p class=gaps><b>Not measured.</b> {}.</p>", escape(&reasons.join("; ")));
    }
    html + "</section>\n"
}

fn formats(wall: &Wall) -> String {
    let row = |format: &crate::wall::Format| {
        let bytes = |bytes: f64| unit(bytes, "B");
        vec![
            escape(&format.name),
            trimmed(format.bits),
            trimmed(format.max),
            trimmed(format.decimal_digits),
            trimmed(format.bytes_per_parameter),
            trimmed(format.information_bits),
            bytes(format.bytes_mnist),
            bytes(format.bytes_2b),
            bytes(format.bytes_7b),
            bytes(format.bytes_70b),
            trimmed(format.ratio_to_fp16),
        ]
    };
    let head = [
        "",
        "bits",
        "largest",
        "digits",
        "bytes per parameter",
        "log2 of the values",
        "MNIST’s network",
        "2B",
        "7B",
        "70B",
        "of FP16",
    ];
    format!(
        "<section id=formats><h2>Number formats</h2>\n<p>What a parameter takes and what it can say. A trit holds less than \
         two bits; five of them fit a byte.</p>\n{}</section>\n",
        table("", &head, wall.formats.iter().map(row))
    )
}

fn range(ends: Option<[f64; 2]>) -> String {
    or(ends, |[low, high]| if low == high { plain(low) } else { format!("{} – {}", plain(low), plain(high)) })
}

fn energy(energy: &Energy, chosen: Option<&EnergyModel>) -> String {
    let mut html = String::from("<section id=energy><h2>Energy</h2>\n");
    let Some(model) = chosen else { return html + "</section>\n" };
    let conclude = match model.ratio_with_memory {
        Some(left) => format!(
            "Of the factor of {} that arithmetic alone promises, {} is left once the bytes of the weights are counted: at \
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
         needs, with sums in INT32, and bringing it from memory.",
        &conclude,
    );
    let pj = |value: Option<f64>| or(value, plain);
    let row = |row: &crate::wall::EnergyRow| {
        let joules = energy.joules.iter().find(|joules| joules.format == row.format);
        let measured = match joules {
            Some(joules) => unit(joules.joules, "J"),
            None => "not measured on this machine".into(),
        };
        vec![
            escape(&row.format),
            pj(row.published_pj_per_weight),
            pj(row.arithmetic_pj_per_weight),
            range(row.sram_pj_per_weight),
            range(row.hbm_pj_per_weight),
            range(row.dram_pj_per_weight),
            or(row.total_ratio_to_f16, plain),
            measured,
        ]
    };
    let head = [
        "weights",
        "arithmetic as published, pJ",
        "arithmetic with INT32 sums, pJ",
        "SRAM, pJ",
        "HBM, pJ",
        "DRAM, pJ",
        "arithmetic + memory, × f16",
        "measured, J a product",
    ];
    html += &table(
        &format!(
            "Per weight, by {}; a product is {} × {}.",
            escape(&model.title),
            count(energy.shape[0]),
            count(energy.shape[1])
        ),
        &head,
        model.rows.iter().map(row),
    );
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
