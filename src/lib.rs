//! # Sterna
//!
//! Ternary (BitNet b1.58) neural networks on any GPU: WGSL compute shaders with a Rust host on wgpu. Sterna trains,
//! measures and runs networks whose weights are in {-1, 0, 1}.
//!
//! ## Where to begin
//!
//! A program quantises a matrix, uploads it, binds kernels to tensors, runs them and reads the result back:
//!
//! ```no_run
//! use sterna::Packed;
//! use sterna::gpu::{Choice, Dtype, Gpu};
//! use sterna::kernels::{Int8Tensor, PackedTensor, matmul_ternary, quantize_activations};
//!
//! # fn main() -> Result<(), sterna::gpu::Error> {
//! let (batch, rows, cols) = (1, 2, 3);
//! let weights = Packed::quantize(&[0.3, -0.2, 0.0, 0.7, -0.9, 0.1], rows, cols);
//!
//! let gpu = Gpu::new(&Choice::default())?;
//! let w = PackedTensor::upload(&gpu, "w", &weights)?;
//! let x = gpu.upload("x", &[batch, cols], &[1.0f32, -2.0, 0.5])?;
//! let q = Int8Tensor::zeros(&gpu, "q", batch, cols)?;
//! let acc = gpu.zeros("acc", Dtype::I32, &[batch, rows])?;
//!
//! let ops = [quantize_activations(&gpu, &x, &q), matmul_ternary(&gpu, &q, &w, &acc)];
//! gpu.run(&ops)?;
//! let sums: Vec<i32> = gpu.download(&acc)?;
//! # Ok(())
//! # }
//! ```
//!
//! | aim | module |
//! |---|---|
//! | multiply with ternary matrices in a program of your own | [`gpu`], [`kernels`], [`model::Linear`] |
//! | run a network from a file | [`model`], and `store` for the files |
//! | train a network | [`train`], with a network from [`model`] |
//! | find the fastest kernels of an adapter | [`measure::tuning`] |
//! | read the mathematics | [`mod@reference`], and the headers in `shaders/` |
//!
//! ## Six nouns
//!
//! | noun | meaning |
//! |---|---|
//! | [`Packed`] | a ternary matrix on the CPU: words, rows, cols, scale. It alone defines the format |
//! | [`Gpu`] | adapter, device, queue and pipeline cache, from [`Gpu::new`] or from the caller's own device |
//! | [`Tensor`] | a buffer with an element type and a shape, contiguous and row-major |
//! | [`Kernel`](gpu::Kernel) | a constant for one shader file: name, WGSL text, parameter fields |
//! | [`Op`] | one bound dispatch with its [`Cost`](gpu::Cost). It is bound once and dispatched many times |
//! | [`Plan`](gpu::Plan) | lists of ops as plain data, to be stored and to be bound again elsewhere |
//!
//! A training step, a test and a benchmark are lists of [`Op`]s. [`Gpu::record`] encodes a list, [`Gpu::run`] submits
//! it, [`Gpu::time`] measures it, and [`Gpu::download`] reads a result back.
//!
//! ## Floors
//!
//! A module imports only modules of lower floors. A test checks this.
//!
//! ```text
//! 4  cli, main           one file per subcommand
//! 3  train  measure  digest  report    steps, epochs, schedules; how fast this adapter is; every integer in one
//!                        line; tables and pictures, of what was measured too
//!    generate            text by a language model: cache, window, the choice of the next token
//!    page                a network and its plan as one HTML file
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
//!    reason              why the system did not read or write it
//! ```
//!
//! ## Shape words
//!
//! `rows` is the number of outputs of a matrix, and `cols` the number of its inputs. `words = ceil(cols / 16)` is the
//! number of packed words in a row. `batch` is the number of rows of activations. Everything is row-major. A row of
//! activations `x` is `[cols]`, a weight matrix is `[rows, cols]`, and a product is
//! `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`. One *op* in a rate is one addition or one multiplication.
//!
//! ## Numbers
//!
//! - Weights, for each tensor: `beta = max(mean |W|, 1e-5)`, `T = clamp(round(W / beta), -1, 1)`.
//! - Activations, for each row: `s = 127 / max(max |x|, 1e-5)`, `q = clamp(round(x s), -128, 127)`.
//! - Forward: `y = (sum_k T_k q_k) beta / s`, with the sum in i32.
//! - Backward, straight through both quantisers: `dX = dY (beta T)`, `dW = dY^T (q / s)`. The optimizer applies `dW` to
//!   the float shadow weights `W`.
//!
//! (BitNet b1.58, arXiv 2402.17764; BitNet, arXiv 2310.11453.)
//!
//! The integers are exact on every device. `T` results from the comparison `|W| > beta / 2`, `beta` from a tree sum of
//! fixed shape, and `s` from an integer division of mantissas. `q` results from `gain * x`, where `x` is an integer: a
//! pixel, or the ReLU of an accumulator of the previous layer. The positive factors of a row (1/255, beta, 1 / s, and
//! that of RMSNorm) cannot change `q`. They are stored beside the integers as one float per row ([`kernels::Factors`]).
//! They multiply the values only where a float is needed: in logits and gradients.
//!
//! ## One operation, one twin
//!
//! A shader `x.wgsl`, the host function [`kernels`]`::x` and the twin [`mod@reference`]`::x` have the same name. One
//! test compares them. A shader binds `Params` at 0, then its inputs in the order of the equation, then its outputs.
//! Only the WGSL declares the layout. All variants of an operation compute the same result and share twin and test.
//!
//! The shader of a product consists of an operation (the bindings), a skeleton (the walk of lanes and tiles) and an
//! operand (the form of a weight). The suffix of its name is the skeleton:
//!
//! | suffix | skeleton |
//! |---|---|
//! | none | the portable base |
//! | `_subgroup` | adds up in subgroups of any size |
//! | `_large` | larger tiles |
//! | `_small` | a batch of a few rows |
//! | `_nodot` | GPUs without integer dot products |
//! | `_broadcast` | software rasterisers: the lanes load for each other |
//! | `_wide` | software rasterisers: one lane computes several rows |

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
#[cfg(feature = "cli")]
pub mod page;
pub mod parameter;
pub mod random;
pub mod reason;
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
