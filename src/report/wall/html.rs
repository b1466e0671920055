//! Figures as text with three digits and a unit, and the building blocks of pages.
//!
//! Each measured or computed figure of a page is in a `data` element, whose value is the number in `wall.json`. A
//! test checks this.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::measure::wall::Gap;

/// Three significant digits, without an exponent for values from 0.001 to ten million.
pub fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let power = rounded.abs().log10().floor() as i32;
    match power {
        -3..=2 => format!("{rounded:.*}", (2 - power).max(0) as usize),
        3..=6 => format!("{rounded:.0}"),
        _ => format!("{rounded:e}"),
    }
}

/// Four significant digits without trailing zeros. Whole numbers up to a million are written in full.
pub fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e6 {
        return format!("{value:.0}");
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if (1e-4..1e6).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// A value with an SI prefix and one to three digits before the point: `10.2 GB/s`.
pub fn si(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 9] = [
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "µ"),
        (1e-9, "n"),
    ];
    // A value that rounds up to 1000 takes the next prefix.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let of = PREFIXES.iter().find(|(scale, _)| rounded.abs() >= 0.999_999 * scale);
    match of {
        Some((scale, prefix)) => format!("{} {prefix}{unit}", digits(rounded / scale)),
        None => format!("{} {unit}", digits(value)),
    }
}

/// Bytes in powers of 1024, as for working sets.
pub fn binary(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// `12.3 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", digits(100.0 * share))
}

/// A figure of the JSON, and its text.
fn data(value: f64, shown: &str) -> Markup {
    html! { data value=(value) { (shown) } }
}

/// A number without a unit.
pub fn plain(value: f64) -> Markup {
    data(value, &digits(value))
}

/// A number without trailing zeros.
pub fn trimmed(value: f64) -> Markup {
    data(value, &short(value))
}

/// A whole number.
pub fn count(value: usize) -> Markup {
    data(value as f64, &value.to_string())
}

/// A number with this unit. A unit such as `byte/s` is shortened.
pub fn unit(value: f64, unit: &str) -> Markup {
    data(value, &si(value, if unit == "byte/s" { "B/s" } else { unit }))
}

/// A share in percent.
pub fn share(value: f64) -> Markup {
    data(value, &percent(value))
}

/// Bytes of a working set.
pub fn set(bytes: u64) -> Markup {
    data(bytes as f64, &binary(bytes))
}

/// The sign for a missing figure.
pub fn gap() -> Markup {
    html! { span.none { "–" } }
}

/// A figure, or the sign for a missing one.
pub fn or<T>(value: Option<T>, told: impl Fn(T) -> Markup) -> Markup {
    value.map_or_else(gap, told)
}

/// A section of a page with its heading.
pub fn section(id: &str, heading: &str, body: Markup) -> Markup {
    html! { section id=(id) { h2 { (heading) } (body) } "\n" }
}

/// A plot with a title for screen readers and two sentences.
pub fn figure(svg: &str, title: &str, shows: Markup, conclude: Markup) -> Markup {
    // An XML declaration is not allowed inside a page.
    let svg = svg.find("<svg").map_or(svg, |at| &svg[at..]);
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    html! {
        figure {
            div.wide tabindex="0" {
                (PreEscaped(head)) (PreEscaped(" role=\"img\">")) title { (title) } (PreEscaped(rest))
            }
            figcaption {
                b { "What it shows." } " " (shows) " " b { "What to conclude here." } " " (conclude)
            }
        }
    }
}

/// A text in which the parts between backticks become code.
pub fn prose(text: &str) -> Markup {
    html! { @for (i, piece) in text.split('`').enumerate() { @if i % 2 == 1 { code { (piece) } } @else { (piece) } } }
}

/// The missing results, grouped by reason, because many of them have the same one.
pub fn reasons(gaps: &[Gap]) -> Vec<(&str, String)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for gap in gaps {
        match reasons.iter_mut().find(|(reason, _)| *reason == gap.reason) {
            Some((_, whats)) => whats.push(&gap.what),
            None => reasons.push((&gap.reason, vec![&gap.what])),
        }
    }
    let told = |whats: Vec<&str>| match whats[..] {
        [first, .., last] if whats.len() > 8 => format!("all from {first} to {last}"),
        _ => whats.join(", "),
    };
    reasons.into_iter().map(|(reason, whats)| (reason, told(whats))).collect()
}

/// A list of the missing results.
pub fn gaps(gaps: &[Gap]) -> Markup {
    html! {
        @if !gaps.is_empty() {
            p.gaps { b { "Left out." } }
            ul.gaps { @for (reason, whats) in reasons(gaps) { li { (whats) ": " (prose(reason)) } } }
        }
    }
}

/// The document with this body.
pub fn document(title: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body { h1 { (title) } (body) }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        let values = [14e9, 2e12, 7e-3, 999.6, 0.0, 1e-6, 123.0, 1.0, 2.5e-10];
        let want =
            ["14.0 GB", "2.00 TB", "7.00 mB", "1.00 kB", "0 B", "1.00 µB", "123 B", "1.00 B", "2.50e-10 B"];
        assert_eq!(values.map(|value| si(value, "B")), want.map(|text| text.replace("2.50e", "2.5e")));
        assert_eq!(
            [71.428, 0.0303, 533.33, 16.67, 65_504.0, 3.4e38, 0.125].map(digits),
            ["71.4", "0.0303", "533", "16.7", "65500", "3.4e38", "0.125"]
        );
        let shortened = [65_504.0, 1.584_96, 0.25, 3.402_8e38, 32.0, 0.0].map(short);
        assert_eq!(shortened, ["65504", "1.585", "0.25", "3.403e38", "32", "0"]);
        assert_eq!([16 << 10, 32 << 20, 1 << 30].map(binary), ["16 KiB", "32 MiB", "1 GiB"]);
        assert_eq!(percent(0.1234), "12.3 %");
    }

    #[test]
    fn many_gaps_of_one_reason_are_told_in_one_line() {
        let gap = |i: usize, reason: &str| Gap { what: format!("part {i}"), reason: reason.into() };
        let mut all: Vec<Gap> = (0..100).map(|i| gap(i, "interrupted")).collect();
        all.extend([gap(100, "too large"), gap(101, "too large")]);
        let want = [("interrupted", "all from part 0 to part 99"), ("too large", "part 100, part 101")];
        assert_eq!(reasons(&all), want.map(|(reason, whats)| (reason, whats.to_string())));
        assert_eq!(prose("run `a b` <now>").into_string(), "run <code>a b</code> &lt;now&gt;");
    }
}
