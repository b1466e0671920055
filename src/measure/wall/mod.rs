//! The memory wall of one adapter: its ceilings, the products of real models in comparison with them, number formats,
//! energy, and conclusions. [`Session`] measures it. [`Wall`] is the result.

mod counter;
mod energy;
mod formats;
mod models;
mod session;
mod staircase;

use serde::{Deserialize, Serialize};

pub use energy::{ENERGY_TABLES, Energy, EnergyModel, EnergyRow, Joules, NOT_MEASURED, energy};
pub use formats::{NumberFormat, formats};
pub use models::{ModelShapes, Products, Summary, TokenCost};
pub use session::{ENERGY_SHAPE, Part, Session};
pub use staircase::{Fall, Stair, staircase};

use super::ceilings::Ceilings;
use super::decode::Rate;
use super::measured::Measured;

/// Something that was left out, and the reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// The missing result.
    pub what: String,
    /// The reason, in one clause.
    pub reason: String,
}

/// All results for one adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wall {
    /// The command's name, `wall`.
    pub command: String,
    /// The adapter's name.
    pub adapter: String,
    /// The name of its backend.
    pub backend: String,
    /// The type of the adapter: `DiscreteGpu`, `Cpu` and so on.
    pub device_type: String,
    /// Whether shaders run on the CPU.
    pub software: bool,
    /// Whether the measurement was a quick one.
    pub quick: bool,
    /// Seconds for each point.
    pub budget_seconds: f64,
    /// Seconds of the whole measurement.
    pub seconds: f64,
    /// The time when it began, as text.
    pub began: String,
    /// Whether the user ended it before everything was measured.
    pub interrupted: bool,
    /// Notes about the measurement for the reader, one sentence each.
    pub notes: Vec<String>,
    /// The ceilings.
    pub ceilings: Ceilings,
    /// Seconds since they were measured, if they were kept from an earlier time.
    #[serde(default)]
    pub ceilings_kept_seconds: Option<f64>,
    /// The speed of reading by working set.
    pub staircase: Vec<Stair>,
    /// Rows and columns of the roofline's points. They are measured at every batch.
    pub roofline_shape: [usize; 2],
    /// A small matrix. Launching its product may take longer than the work.
    pub small_shape: [usize; 2],
    /// Every measured product.
    pub points: Vec<Measured>,
    /// Every model in every format.
    pub models: Vec<TokenCost>,
    /// BitNet b1.58 2B4T with made-up weights, as it writes here. It is missing in files of older versions.
    #[serde(default)]
    pub text: Option<Rate>,
    /// Results that are missing.
    pub gaps: Vec<Gap>,
    /// Number formats.
    pub formats: Vec<NumberFormat>,
    /// Energy.
    pub energy: Energy,
    /// Conclusions from all figures.
    pub summary: Summary,
    /// Version of the file's schema.
    pub schema: u32,
    /// Version of Sterna.
    pub sterna_version: String,
}

impl Wall {
    /// The products of the roofline: one shape at every batch, and a small one.
    pub fn roofline(&self) -> Vec<&Measured> {
        let shapes = [self.roofline_shape, self.small_shape];
        self.points.iter().filter(|point| shapes.contains(&[point.rows, point.cols])).collect()
    }
}
