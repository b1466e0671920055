//! Output for people: the table of a model, the confusion matrix, curves and pictures. This module receives finished
//! numbers. It does not use the device, does not train, and touches no file.

mod bench;
mod chart;
mod curve;
mod generate;
mod picture;
mod point;
mod profile;
mod scale;
mod sentence;
mod table;
mod trace;
mod walk;
pub mod wall;
mod watch;

pub use bench::BenchReport;
pub use curve::{compare_svg, curve_svg};
pub use generate::{Form, GenerateReport};
pub use picture::{Weights, confusion_png, contact_sheet_png, weights_png};
pub use point::{Matrix, Point, Subject};
pub use profile::ProfileReport;
pub use scale::{Origin, ScaleReport};
pub use sentence::{Sentence, attention_png};
pub use table::{LayerCost, columns, confusion_table, fitted, folded, model_table, thousands};
pub use trace::{Trace, TraceRow};
pub use walk::{Stage, Units, Walk};
pub use wall::short;
pub use watch::{LEAST, Live};

/// The entries of a JSON object.
fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
