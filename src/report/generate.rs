//! The output of `sterna bench generate`: a table for a terminal, for Markdown, as CSV, and JSON. This module measures
//! nothing.

use serde_json::{Map, Value, json};

use super::{fitted, object};
use crate::measure::decode::Rate;

/// The form of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns for a terminal.
    Table,
    /// A table in Markdown, as llama-bench prints it.
    Markdown,
    /// Comma-separated values with a heading.
    Csv,
}

/// The results of `sterna bench generate`.
pub struct GenerateReport<'a> {
    /// The name of the model or of the shape.
    pub model: &'a str,
    /// Bytes of the model on the device.
    pub bytes: u64,
    /// Number of parameters.
    pub parameters: usize,
    /// The adapter.
    pub adapter: &'a str,
    /// The measured tests.
    pub rates: &'a [Rate],
}

impl GenerateReport<'_> {
    /// The table.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Table => self.table(),
            Form::Markdown => self.markdown(),
            Form::Csv => self.csv(),
        }
    }

    fn table(&self) -> String {
        let head = ["test", "tokens/s", "MB/token", "dispatches", "bound", "of it", "binds"];
        let mut lines = vec![head.map(String::from).to_vec()];
        for rate in self.rates {
            let [speed, bytes, dispatches, bound, share, binds] = cells(rate);
            lines.push(vec![rate.test.name(), speed, bytes, dispatches, bound, share, binds]);
        }
        let host = |rate: &Rate| {
            let name = rate.test.name();
            let micros = 1e6 * rate.host_seconds_per_token;
            match rate.read_backs {
                0 => format!("{name}: the host encodes a token in {micros:.0} µs"),
                1 => format!("{name}: 1 read-back, the host encodes a token in {micros:.0} µs"),
                n => format!("{name}: {n} read-backs, the host encodes a token in {micros:.0} µs"),
            }
        };
        let hosts: Vec<String> = self.rates.iter().map(host).collect();
        format!("{}\n{}", fitted(&lines), hosts.join("\n"))
    }

    fn markdown(&self) -> String {
        let mut text = String::from(
            "| model | size | params | adapter | test | t/s | MB/token | dispatches | bound t/s | of it | binds |\n\
             | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
        );
        let size = format!("{:.2} MiB", self.bytes as f64 / f64::from(1 << 20));
        let parameters = format!("{:.2} M", 1e-6 * self.parameters as f64);
        for rate in self.rates {
            let (model, adapter, cells) = (self.model, self.adapter, cells(rate));
            let test = rate.test.name();
            text += &format!(
                "| {model} | {size} | {parameters} | {adapter} | {test} | {} |\n",
                cells.join(" | ")
            );
        }
        text.trim_end().into()
    }

    fn csv(&self) -> String {
        let mut text = String::from(
            "model,bytes,parameters,adapter,test,tokens_per_second,standard_deviation,bytes_per_token,dispatches,\
             bound_tokens_per_second,share_of_bound,binds\n",
        );
        // A name may have commas and quotation marks.
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let or = |value: Option<String>| value.unwrap_or_default();
        for rate in self.rates {
            let (mean, deviation) = rate.mean();
            text += &format!(
                "{},{},{},{},{},{mean:.4},{deviation:.4},{},{},{},{},{}\n",
                quoted(self.model),
                self.bytes,
                self.parameters,
                quoted(self.adapter),
                rate.test.name(),
                rate.bytes_per_token,
                rate.dispatches,
                or(rate.wall.map(|wall| format!("{:.4}", 1.0 / wall.seconds()))),
                or(rate.reached().map(|share| format!("{share:.4}"))),
                or(rate.wall.map(|wall| wall.binds().word().into())),
            );
        }
        text.trim_end().into()
    }

    /// Every figure as JSON.
    pub fn json(&self) -> Map<String, Value> {
        let row = |rate: &Rate| {
            let (mean, deviation) = rate.mean();
            let mut row = object(json!(rate));
            row.extend(object(json!({
                "name": rate.test.name(), "tokens_per_second": mean, "standard_deviation": deviation,
                "bound_tokens_per_second": rate.wall.map(|wall| 1.0 / wall.seconds()),
                "share_of_bound": rate.reached(), "binds": rate.wall.map(|wall| wall.binds()),
            })));
            Value::Object(row)
        };
        object(json!({
            "bench": "generate", "model": self.model, "model_bytes": self.bytes, "parameters": self.parameters,
            "rows": self.rates.iter().map(row).collect::<Vec<_>>(),
        }))
    }
}

/// Speed, megabytes of a token, dispatches, the speed of the bound, the share of it, and what binds.
fn cells(rate: &Rate) -> [String; 6] {
    let (mean, deviation) = rate.mean();
    let or = |value: Option<String>| value.unwrap_or("-".into());
    [
        format!("{mean:.2} ± {deviation:.2}"),
        format!("{:.1}", 1e-6 * rate.bytes_per_token as f64),
        rate.dispatches.to_string(),
        or(rate.wall.map(|wall| format!("{:.1}", 1.0 / wall.seconds()))),
        or(rate.reached().map(|share| format!("{:.0} %", 100.0 * share))),
        or(rate.wall.map(|wall| wall.binds().word().into())),
    ]
}
