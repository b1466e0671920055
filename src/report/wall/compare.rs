//! Several adapters on one page.

use std::fmt::Write;

use super::figure::symbol;
use super::html::{GAP, document, escape, figure, or, plain, share, table, unit};
use super::page::drawn;
use super::plot::{rooflines_svg, staircase_svg};
use super::tables::ceiling_words;
use crate::wall::{Probe, STEADY, Wall};

/// Several adapters on one page.
pub fn compare_page(walls: &[Wall]) -> String {
    let title = "Memory walls compared";
    let names = names(walls);
    let mut body = format!("<h1>{title}</h1>\n<ul class=meta>");
    for (wall, name) in walls.iter().zip(&names) {
        let software =
            if wall.software { " – a software renderer: this “device” is a CPU" } else { "" };
        let partial = if wall.interrupted { " – interrupted" } else { "" };
        let (began, version) = (escape(&wall.began), escape(&wall.sterna_version));
        let _ = write!(
            body,
            "<li><b>{}</b> ({}), {began}, sterna {version}{software}{partial}</li>",
            escape(name),
            escape(&wall.backend)
        );
    }
    body += "</ul>\n";

    let mut head = vec!["ceiling"];
    let shown: Vec<String> = names.iter().map(|name| escape(name)).collect();
    head.extend(shown.iter().map(String::as_str));
    let each = crate::wall::Ceilings::none("").each().map(|(name, _)| name);
    let row = |name: &&str| {
        let value = |wall: &Wall| match wall.ceilings.probe(name) {
            Some(Probe::Measured(found)) => {
                unit(found.value, symbol(&found.unit)) + &varies(Some(found.spread))
            }
            Some(Probe::Missing { missing }) => format!("{GAP} ({})", escape(missing)),
            None => GAP.into(),
        };
        [ceiling_words(name).to_string()].into_iter().chain(walls.iter().map(value)).collect()
    };
    let _ = writeln!(
        body,
        "<section id=each><h2>Ceilings</h2>{}</section>",
        table("", &head, each.iter().map(row))
    );

    let stairs: Vec<_> =
        names.iter().cloned().zip(walls.iter().map(|wall| wall.staircase.as_slice())).collect();
    let _ = writeln!(
        body,
        "<section id=staircase><h2>Staircases</h2>{}</section>",
        figure(
            &staircase_svg(&stairs),
            "axes",
            "Read bandwidth by working set, a line for each adapter; a stroke is the middle half of a point's samples.",
            "Where a line falls its cache ends; what is left to the right is what the weights of a model are read with."
        )
    );
    let roofs: Vec<_> =
        names.iter().cloned().zip(walls).map(|(name, wall)| (name, &wall.ceilings, drawn(wall))).collect();
    let _ = writeln!(
        body,
        "<section id=roofline><h2>Rooflines</h2>{}</section>",
        figure(
            &rooflines_svg(&roofs),
            "axes",
            "The roof of each adapter, solid for its memory and dashed for its arithmetic, with the products measured on it.",
            "The adapter whose slope lies higher wins at batch 1, the one whose flats lie higher wins at large batches."
        )
    );
    body += "<section id=models><h2>The walls</h2>\n";
    let mut lines: Vec<(String, String)> = Vec::new();
    for model in walls.iter().flat_map(|wall| &wall.models) {
        let key = (model.name.clone(), model.format.clone());
        if !lines.contains(&key) {
            lines.push(key);
        }
    }
    let mut head = vec!["model", "weights"];
    head.extend(shown.iter().map(String::as_str));
    let row = |(name, format): &(String, String)| {
        let cell = |wall: &Wall| {
            let model = wall.models.iter().find(|model| model.name == *name && model.format == *format);
            let Some(model) = model else { return GAP.into() };
            format!(
                "{}{} (at least {}), {} tokens/s",
                or(model.measured_seconds, |seconds| unit(seconds, "s")),
                varies(model.spread),
                or(model.predicted_seconds, |seconds| unit(seconds, "s")),
                or(model.tokens_per_second, plain)
            )
        };
        [escape(name), escape(format)].into_iter().chain(walls.iter().map(cell)).collect()
    };
    body += &table(
        "Time per token as measured, and the least that the ceilings allow; how far the middle half of the samples spreads, \
         where that is more than a twentieth.",
        &head,
        lines.iter().map(row),
    );
    body += "</section>\n";
    document(title, &body)
}

/// How far it spreads, if that is much.
fn varies(spread: Option<f64>) -> String {
    let much = spread.filter(|&spread| spread > STEADY);
    much.map_or(String::new(), |spread| format!(", varies by {}", share(spread)))
}

/// Names that tell the adapters apart.
fn names(walls: &[Wall]) -> Vec<String> {
    let same = |wall: &Wall| walls.iter().filter(|other| other.adapter == wall.adapter).count() > 1;
    let name = |(i, wall): (usize, &Wall)| match same(wall) {
        true => format!("{}. {}, {}", i + 1, wall.adapter, wall.backend),
        false => wall.adapter.clone(),
    };
    walls.iter().enumerate().map(name).collect()
}
