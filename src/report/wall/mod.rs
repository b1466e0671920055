//! The memory wall for people: tables for a terminal, plots, and one page that needs nothing but itself. Every figure
//! comes from [`crate::wall::Wall`]; nothing is computed here but its rounding.

mod figure;
mod page;
mod plot;
mod text;

pub use page::{compare_page, wall_page};
pub use text::{
    bound_word, ceilings_table, energy_table, formats_table, models_table, points_table, staircase_table,
};
