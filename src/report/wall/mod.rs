//! The memory wall for people: tables for a terminal, plots, and one page that needs nothing but itself. Every figure
//! comes from [`crate::wall::Wall`]; nothing is computed here but its rounding.

mod compare;
mod figure;
mod html;
mod page;
mod plot;
mod questions;
mod tables;
mod text;

pub use compare::compare_page;
pub use page::wall_page;
pub use tables::bound_word;
pub use text::{ceilings_table, energy_table, formats_table, models_table, points_table, staircase_table};
