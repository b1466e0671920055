//! The memory wall of one adapter: its ceilings, the products of real models held against them, number formats, energy,
//! and what follows from all that. [`Session`] measures it; [`Wall`] is the result, as numbers with their names.

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
use super::measured::Measured;

/// What was left out, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// What it would have been.
    pub what: String,
    /// One clause.
    pub reason: String,
}

/// All that was found of one adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wall {
    /// `wall`.
    pub command: String,
    /// The adapter's name.
    pub adapter: String,
    /// Its graphics interface.
    pub backend: String,
    /// `DiscreteGpu`, `Cpu` and so on.
    pub device_type: String,
    /// Whether shaders run on the CPU.
    pub software: bool,
    /// Whether the short budgets were used.
    pub quick: bool,
    /// Seconds that each point was given.
    pub budget_seconds: f64,
    /// Seconds that all of it took.
    pub seconds: f64,
    /// When it began.
    pub began: String,
    /// Whether it was asked to end before all was measured.
    pub interrupted: bool,
    /// What a reader must know of how it was measured, a sentence each.
    pub notes: Vec<String>,
    /// The ceilings.
    pub ceilings: Ceilings,
    /// Seconds since they were measured, if they were kept from an earlier time.
    #[serde(default)]
    pub ceilings_kept_seconds: Option<f64>,
    /// Reading by working set.
    pub staircase: Vec<Stair>,
    /// The shape of the roofline's points at every batch, rows and columns.
    pub roofline_shape: [usize; 2],
    /// A small matrix, whose launch may cost more than its work.
    pub small_shape: [usize; 2],
    /// Every measured product.
    pub points: Vec<Measured>,
    /// Every model in every format.
    pub models: Vec<TokenCost>,
    /// What was left out.
    pub gaps: Vec<Gap>,
    /// Number formats.
    pub formats: Vec<NumberFormat>,
    /// Energy.
    pub energy: Energy,
    /// What follows from all figures.
    pub summary: Summary,
    /// Version of the form of the file.
    pub schema: u32,
    /// Version of the program.
    pub sterna_version: String,
}

impl Wall {
    /// The products that the roofline shows: one shape at every batch, and a small one.
    pub fn roofline(&self) -> Vec<&Measured> {
        let shapes = [self.roofline_shape, self.small_shape];
        self.points.iter().filter(|point| shapes.contains(&[point.rows, point.cols])).collect()
    }
}
