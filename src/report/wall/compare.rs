//! Several adapters on one page.

use maud::{Markup, html};

use super::html::{document, figure, gap, or, plain, section, share, unit};
use super::plot::{rooflines_svg, staircase_svg};
use super::tables::Table;
use crate::measure::ceilings::{CEILINGS, Ceilings, Probe, STEADY};
use crate::measure::wall::Wall;

/// Several adapters on one page.
pub fn compare_page(walls: &[Wall]) -> String {
    let names = names(walls);
    let head = |first: &[&'static str]| -> Vec<String> {
        first.iter().map(|name| name.to_string()).chain(names.iter().cloned()).collect()
    };
    let ceiling = |name: &str| {
        let value = |wall: &Wall| match wall.ceilings.probe(name) {
            Some(Probe::Measured(found)) => {
                html! { (unit(found.value, &found.unit)) (varies(Some(found.spread))) }
            }
            Some(Probe::Missing { missing }) => html! { (gap()) " (" (missing) ")" },
            None => gap(),
        };
        [html! { (Ceilings::words(name)) }].into_iter().chain(walls.iter().map(value)).collect()
    };
    let mut models: Vec<(&str, &str)> = Vec::new();
    for model in walls.iter().flat_map(|wall| &wall.models) {
        if !models.contains(&(&model.name, &model.format)) {
            models.push((&model.name, &model.format));
        }
    }
    let model = |&(name, format): &(&str, &str)| {
        let cell = |wall: &Wall| {
            let model = wall.models.iter().find(|model| model.name == name && model.format == format);
            let seconds = |seconds| or(seconds, |seconds| unit(seconds, "s"));
            or(model, |model| {
                html! {
                    (seconds(model.measured_seconds)) (varies(model.spread)) " (at least "
                    (seconds(model.predicted_seconds)) "), " (or(model.tokens_per_second, plain)) " tokens/s"
                }
            })
        };
        [html! { (name) }, html! { (format) }].into_iter().chain(walls.iter().map(cell)).collect()
    };
    let stairs: Vec<_> = names.iter().cloned().zip(walls.iter().map(|wall| &wall.staircase[..])).collect();
    let roofs = walls.iter().map(|wall| (&wall.ceilings, wall.roofline()));
    let roofs: Vec<_> = names.iter().cloned().zip(roofs).collect();
    let table = |head: Vec<String>, rows: Vec<Vec<Markup>>, caption| {
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        Table::new(&head, rows).html(caption)
    };
    document(
        "Memory walls compared",
        html! {
            ul.meta {
                @for (wall, name) in walls.iter().zip(&names) {
                    li {
                        b { (name) } " (" (wall.backend) "), " (wall.began) ", sterna " (wall.sterna_version)
                        @if wall.software { " – a software renderer: this “device” is a CPU" }
                        @if wall.interrupted { " – interrupted" }
                    }
                }
            }
            (section("each", "Ceilings", table(head(&["ceiling"]), CEILINGS.map(ceiling).into(), html! {})))
            (section("staircase", "Staircases", figure(&staircase_svg(&stairs), "Read bandwidth by working set",
                html! {
                    "Read bandwidth by working set, a line for each adapter; a stroke is the middle half of a point's samples."
                },
                html! {
                    "Where a line falls its cache ends; what is left to the right is what the weights of a model are read with."
                },
            )))
            (section("roofline", "Rooflines", figure(&rooflines_svg(&roofs), "The rooflines",
                html! {
                    "The roof of each adapter, solid for its memory and dashed for its arithmetic, with the products measured \
                     on it."
                },
                html! {
                    "The adapter whose slope lies higher wins at batch 1, the one whose flats lie higher wins at large batches."
                },
            )))
            (section("models", "The walls", table(
                head(&["model", "weights"]),
                models.iter().map(model).collect(),
                html! {
                    "Time per token as measured, and the least that the ceilings allow; how far the middle half of the samples \
                     spreads, where that is more than a twentieth."
                },
            )))
        },
    )
}

/// The spread, if it is large.
fn varies(spread: Option<f64>) -> Markup {
    html! { @if let Some(spread) = spread.filter(|&spread| spread > STEADY) { ", varies by " (share(spread)) } }
}

/// Names that distinguish the adapters.
fn names(walls: &[Wall]) -> Vec<String> {
    let same = |wall: &Wall| walls.iter().filter(|other| other.adapter == wall.adapter).count() > 1;
    let name = |(i, wall): (usize, &Wall)| match same(wall) {
        true => format!("{}. {}, {}", i + 1, wall.adapter, wall.backend),
        false => wall.adapter.clone(),
    };
    walls.iter().enumerate().map(name).collect()
}
