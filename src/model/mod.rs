//! Networks as lists of ops: parameters by role, what the house asks of a network, and the networks themselves. Knows no
//! data set and no schedule.

mod linear;
mod mlp;
mod network;
#[cfg(feature = "files")]
mod open;
mod params;
mod transformer;

pub use linear::Linear;
pub use mlp::{Activations, Layer, Mlp, Shape};
pub use network::{BATCH, Forward, Network, Pass, Precision, Product, Scoring, each_batch, logits};
#[cfg(feature = "files")]
pub use open::{AnyShape, Opened};
pub use params::{Param, Params, Stacked, Update};
pub use transformer::{Cache, Extension, TRANSFORMER, Transformer, TransformerShape};
