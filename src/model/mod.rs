//! Networks as lists of ops: the parameters by role, the interface of a network, and the networks themselves. This
//! module knows no data set and no schedule.
//!
//! A [`Network`] has [`Params`]. [`Network::bind`] gives the ops for batches of one size, and [`logits`] runs them over
//! any number of inputs. [`Mlp`] and [`Transformer`] are networks. [`Linear`] is a single layer for programs with a
//! network of their own. A network that is loaded from a file is frozen: it has no gradients, and it cannot be trained.

mod fixed_point;
mod linear;
#[cfg(feature = "files")]
mod load;
#[cfg(feature = "files")]
mod made_up;
mod mlp;
mod network;
#[cfg(feature = "files")]
mod open;
mod params;
mod transformer;

pub use fixed_point::FixedGradients;
pub use linear::Linear;
#[cfg(feature = "files")]
pub use load::{LoadError, WeightSource};
#[cfg(feature = "files")]
pub use made_up::{MadeUp, SHAPES, named_shape};
pub use mlp::{Activations, Layer, Mlp, Shape};
pub use network::{BATCH, Forward, Network, Pass, Precision, Product, Scoring, each_batch, logits};
#[cfg(feature = "files")]
pub use open::{AnyShape, Opened};
pub use params::{Param, Params, Stacked, Update};
pub use transformer::{
    Cache, Choice, Decoder, Extension, MOST_AT_ONCE, NO_TOKEN, PIECE, Scored, TRANSFORMER, Transformer,
    TransformerShape,
};
