//! # Sterna
//!
//! Ternary (BitNet b1.58) neural networks on any GPU: WGSL compute shaders, a Rust host on wgpu.
//! One program trains, measures and runs networks whose weights are in {-1, 0, 1}.
//!
//! ## Six nouns
//!
//! | noun | is |
//! |---|---|
//! | [`Packed`] | a ternary matrix on the CPU: words, rows, cols, scale. *The* format, defined once |
//! | [`Gpu`] | adapter, device, queue and pipeline cache; from [`Gpu::new`] or the caller's own device |
//! | [`Tensor`] | a buffer, its element type and its shape; contiguous, row-major |
//! | [`Kernel`](gpu::Kernel) | a `const`: name, WGSL text, parameter fields. One per shader file |
//! | [`Op`] | one bound dispatch with its [`Cost`](gpu::Cost). Bound once, dispatched many times |
//! | [`Plan`](gpu::Plan) | lists of ops as plain data: written down, bound again elsewhere |
//!
//! A training step, a test and a benchmark are all a list of [`Op`]s: [`Gpu::record`] encodes it,
//! [`Gpu::run`] submits it, [`Gpu::time`] measures it, [`Gpu::download`] reads a result back.
//!
//! ## Floors
//!
//! Imports point down only; a test holds them.
//!
//! ```text
//! 4  cli, main           one file per subcommand
//! 3  train  measure  digest  report    steps, epochs, schedules; how fast this adapter is; every integer in one
//!                        line; tables and pictures, of what was measured too
//!    generate            text by a language model: cache, window, the choice of the next token
//!    amd                 what AMD's compiler makes of a kernel, without a card
//! 2  model, kernels/*    networks as lists of Ops: mlp, transformer; parameters by role; one small host file per shader
//!    shader              what a shader's header says, and what drivers are given of it
//! 1  gpu/*  reference    wgpu, named nowhere else | the CPU twin of every kernel (never of each other)
//! 0  ternary  parameter  the format; names, shapes and roles
//!    store/*             networks in files: one file per format
//!    mnist  random  augment  digit    the digits, counter-based draws; pictures as digits
//!    rotary              angles of positions
//!    text/*              texts as ids of a vocabulary
//!    content             what a file is, by how it begins
//! ```
//!
//! ## Shape words
//!
//! `rows` outputs of a matrix, `cols` its inputs, `words = ceil(cols / 16)` packed words of a row,
//! `batch` rows of activations. Everything is row-major. One *op* is one addition or one
//! multiplication. A row of activations `x` is `[cols]`, a weight matrix `[rows, cols]`, and
//! `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`.
//!
//! ## Numbers
//!
//! Weights, per tensor: `beta = max(mean |W|, 1e-5)`, `T = clamp(round(W / beta), -1, 1)`.
//! Activations, per row: `s = 127 / max(max |x|, 1e-5)`, `q = clamp(round(x s), -128, 127)`.
//! Forward: `y = (sum_k T_k q_k) beta / s`, the sum in i32. Backward, straight through both
//! quantisers: `dX = dY (beta T)`, `dW = dY^T (q / s)`, applied to the float shadow weights by AdamW.
//! (BitNet b1.58, arXiv 2402.17764; BitNet, arXiv 2310.11453.)
//!
//! The integer path is exact on every device: `T` comes from the comparison `|W| > beta / 2`, `beta`
//! from a tree sum of fixed shape, `s` from an integer division of mantissas, and `q` from
//! `gain * x` with `x` an *integer* (a pixel, or the ReLU of the accumulators of the layer before).
//! The positive factors of a row (1/255, beta, 1 / s, RMSNorm's) cannot change `q`; they travel
//! beside the integers as one float per row ([`kernels::Factors`]) and meet the values only
//! where a float is needed: logits and gradients.
//!
//! ## One operation, one twin
//!
//! A shader `x.wgsl`, [`kernels`]`::x` and [`mod@reference`]`::x` carry one name, and one test body runs
//! them against each other. Shaders bind `Params` at 0, then inputs in the order of the equation,
//! then outputs; the WGSL alone declares the layout. Variants compute the same and share twin and test. A product
//! is put together from an operation (what is bound), a skeleton (how lanes and tiles walk) and an operand (what a weight
//! is). Its suffix names the skeleton: `_subgroup` adds up in subgroups of any size, `_large` has larger tiles, `_small` is
//! for a batch of a few rows, and for software rasterisers lanes of `_broadcast` load for each other and those of `_wide`
//! do not. `_nodot` is for GPUs without integer dot products.

#![warn(missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
pub mod amd;
pub mod augment;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(feature = "files", feature = "mnist", feature = "pictures", feature = "text"))]
pub mod content;
#[cfg(feature = "files")]
pub mod digest;
#[cfg(feature = "pictures")]
pub mod digit;
#[cfg(not(target_arch = "wasm32"))]
pub mod generate;
pub mod gpu;
pub mod kernels;
#[cfg(not(target_arch = "wasm32"))]
pub mod measure;
pub mod mnist;
pub mod model;
pub mod parameter;
pub mod random;
pub mod reference;
#[cfg(feature = "cli")]
pub mod report;
pub mod rotary;
#[cfg(feature = "cli")]
pub mod shader;
#[cfg(feature = "files")]
pub mod store;
pub mod ternary;
pub mod text;
#[cfg(not(target_arch = "wasm32"))]
pub mod train;

pub use gpu::{Gpu, Op, Tensor};
pub use ternary::Packed;
