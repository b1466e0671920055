//! The CPU twin of every kernel, plain and slow: the pages that teach the whole engine. Never imports `gpu` or
//! `kernels`; tests put both sides together.
//!
//! The rooms stand in the order of a step: a batch, floats that become codes, products, norms, gates, embedding and
//! attention of a language model, the loss, the optimizer; then whole networks. Forward and backward of one operation
//! stand in one room. Matrices are row-major slices; every length is given or follows from one that is.

mod attention;
mod batch;
mod embedding;
mod gate;
mod loss;
mod mlp;
mod norm;
mod optimizer;
mod product;
mod quantize;
pub mod transformer;

pub use attention::*;
pub use batch::*;
pub use embedding::*;
pub use gate::*;
pub use loss::*;
pub use mlp::*;
pub use norm::*;
pub use optimizer::*;
pub use product::*;
pub use quantize::*;
