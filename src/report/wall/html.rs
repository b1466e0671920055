//! The pieces that pages are made of: figures, tables, plots with their two sentences.
//!
//! Every measured or computed figure stands in a `data` element whose value is the number of `wall.json`; a test
//! holds that.

use std::fmt::Write;

use super::figure::{binary, digits, percent, short, si};
use crate::wall::Gap;

const STYLE: &str = include_str!("page.css");

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A figure that is in the JSON, as people read it.
pub fn data(value: f64, shown: &str) -> String {
    format!("<data value=\"{value}\">{}</data>", escape(shown))
}

pub fn plain(value: f64) -> String {
    data(value, &digits(value))
}

/// Without zeros at its end, and whole numbers whole.
pub fn trimmed(value: f64) -> String {
    data(value, &short(value))
}

pub fn count(value: usize) -> String {
    data(value as f64, &value.to_string())
}

pub fn unit(value: f64, name: &str) -> String {
    data(value, &si(value, name))
}

pub fn share(value: f64) -> String {
    data(value, &percent(value))
}

pub fn set(bytes: u64) -> String {
    data(bytes as f64, &binary(bytes))
}

/// In the place of a figure that there is not.
pub const GAP: &str = "<span class=none>–</span>";

pub fn or<T>(value: Option<T>, told: impl Fn(T) -> String) -> String {
    value.map_or(GAP.into(), told)
}

/// A table; cells are HTML.
pub fn table(caption: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut html = format!("<table><caption>{caption}</caption><thead><tr>");
    for cell in head {
        let _ = write!(html, "<th>{cell}</th>");
    }
    html += "</tr></thead><tbody>";
    for row in rows {
        html += "<tr>";
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html += "</tr>\n";
    }
    html + "</tbody></table>\n"
}

/// A plot with its two sentences.
pub fn figure(svg: &str, class: &str, shows: &str, conclude: &str) -> String {
    // An XML declaration would end the page's own.
    let svg = svg.find("<svg").map_or(svg, |at| &svg[at..]);
    format!(
        "<figure class={class}>{svg}<figcaption><b>What it shows.</b> {shows} <b>What to conclude here.</b> \
         {conclude}</figcaption></figure>\n"
    )
}

pub fn gaps(gaps: &[Gap]) -> String {
    if gaps.is_empty() {
        return String::new();
    }
    // Many gaps have one reason.
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for gap in gaps {
        match reasons.iter_mut().find(|(reason, _)| *reason == gap.reason) {
            Some((_, whats)) => whats.push(&gap.what),
            None => reasons.push((&gap.reason, vec![&gap.what])),
        }
    }
    let mut html = String::from("<p class=gaps><b>Left out.</b></p><ul class=gaps>");
    for (reason, whats) in reasons {
        let _ = write!(html, "<li>{}: {}</li>", escape(&whats.join(", ")), escape(reason));
    }
    html + "</ul>\n"
}

/// The document around a body.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        escape(title)
    )
}
