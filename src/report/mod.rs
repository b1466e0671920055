//! What people look at: the model's table, the confusion matrix, the curve, the pictures. Numbers come in
//! ready; nothing here computes on the device, trains, or touches a file.

mod bench;
mod chart;
mod curve;
mod picture;
mod point;
mod profile;
mod table;
mod trace;
mod walk;
pub mod wall;
mod watch;

pub use bench::BenchReport;
pub use curve::{compare_svg, curve_svg};
pub use picture::{Weights, confusion_png, contact_sheet_png, weights_png};
pub use point::{Matrix, Point, Subject};
pub use profile::ProfileReport;
pub use table::{LayerCost, columns, confusion_table, folded, model_table, thousands};
pub use trace::{Trace, TraceRow};
pub use walk::{Stage, Units, Walk};
pub use watch::{LEAST, Live};

/// The keys of an object.
fn object(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
