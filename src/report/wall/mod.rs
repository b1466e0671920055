//! The memory wall for people: tables, plots, and one page that needs no other file. Every figure comes from
//! [`Wall`](crate::measure::wall::Wall). This module only rounds the figures.

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
