//! The CPU twin of every kernel, plain and slow: the pages that teach the whole engine. Never imports `gpu` or
//! `kernels`; tests put both sides together.
//!
//! A file holds one part of a training step, forward and backward. In the order of a step: `batch`, `embedding`,
//! `quantize`, `product`, `norm`, `attention`, `gate`, `loss`, `optimizer`. Two files hold whole networks: `mlp` and
//! [`transformer`]. Matrices are row-major slices; every length is given or follows from one that is.

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
