//! The memory wall for people: tables, plots, and one page that needs nothing but itself. Every figure comes from
//! [`Wall`](crate::measure::wall::Wall); nothing is computed here but its rounding.

mod compare;
mod html;
mod page;
mod plot;
mod questions;
pub mod tables;

pub use compare::compare_page;
pub use html::{reasons, short};
pub use page::wall_page;
pub use questions::questions_text;
