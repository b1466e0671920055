//! The CPU twin of every kernel, in plain and slow Rust. This module shows the arithmetic of the whole engine. It never
//! imports `gpu` or `kernels`. The tests compare the kernels with it.
//!
//! A file holds one part of a training step, forward and backward. In the order of a step: `batch`, `embedding`,
//! `quantize`, `product`, `norm`, `attention`, `gate`, `loss`, `fixed_point`, `optimizer`. `sampling` chooses the next token of a text. Two files hold whole networks: `mlp` and
//! [`transformer`]. Matrices are row-major slices. Every length is an argument, or follows from another length.

mod attention;
mod batch;
mod embedding;
mod fixed_point;
mod gate;
mod loss;
mod mlp;
mod norm;
mod optimizer;
mod product;
mod quantize;
mod sampling;
pub mod transformer;

pub use attention::*;
pub use batch::*;
pub use embedding::*;
pub use fixed_point::*;
pub use gate::*;
pub use loss::*;
pub use mlp::*;
pub use norm::*;
pub use optimizer::*;
pub use product::*;
pub use quantize::*;
pub use sampling::*;
