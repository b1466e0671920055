//! Networks as lists of ops: the parameters by role, the interface of a network, and the networks themselves. This
//! module knows no data set and no schedule.

mod linear;
mod mlp;
mod network;
#[cfg(feature = "files")]
mod open;
mod params;

pub use linear::Linear;
pub use mlp::{Activations, Layer, Mlp, Precision, Shape};
pub use network::{BATCH, Forward, Network, Pass, Product, Scoring, each_batch, logits};
#[cfg(feature = "files")]
pub use open::Opened;
pub use params::{Param, Params, Update};
