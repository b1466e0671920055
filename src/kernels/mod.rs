//! Every kernel's host side: one file per shader, same stem. Functions assert shapes, bind, and state
//! the [`Cost`](crate::gpu::Cost); they enqueue nothing. Knows no network.
//!
//! Two small groups of tensors recur in the signatures: a ternary matrix ([`PackedTensor`]) and a
//! batch of int8 activations ([`Int8Tensor`]).

use crate::gpu::{Dtype, Error, Gpu, Grid, Kernel, Tensor, Tuning};
use crate::ternary::{self, Packed};

mod absmean;
mod adamw;
mod advance;
mod augment_batch;
mod dequantize_weights;
mod descale_rows;
mod gather_batch;
mod gemv_base3;
mod gemv_f32;
mod gemv_i8;
mod gemv_ternary;
mod gemv_ternary_addsub;
mod matmul_f32;
mod matmul_f32_dw;
mod matmul_f32_dx;
mod matmul_ternary;
mod matmul_ternary_dw;
mod matmul_ternary_dx;
mod probe_read;
mod quantize_activations;
mod quantize_relu;
mod quantize_weights;
mod relu;
mod relu_dx;
mod rms_factor;
mod rmsnorm;
mod rmsnorm_dgain;
mod rmsnorm_dx;
mod rmsnorm_relu_dgain;
mod rmsnorm_relu_dx;
mod scale_rows;
mod sgd;
mod softmax_xent;

pub use absmean::absmean;
pub use adamw::{AdamW, Moments, adamw};
pub use advance::advance;
pub use augment_batch::augment_batch;
pub use dequantize_weights::dequantize_weights;
pub use descale_rows::descale_rows;
pub use gather_batch::gather_batch;
pub use gemv_base3::{Base3Tensor, gemv_base3};
pub use gemv_f32::{gemv_f32, gemv_f32_variant};
pub use gemv_i8::{MOST_COLS_I8, gemv_i8, gemv_i8_variant};
pub use gemv_ternary::{gemv_ternary, gemv_ternary_variant};
pub use gemv_ternary_addsub::gemv_ternary_addsub;
pub use matmul_f32::{matmul_f32, matmul_f32_variant};
pub use matmul_f32_dw::{matmul_f32_dw, matmul_f32_dw_variant};
pub use matmul_f32_dx::{matmul_f32_dx, matmul_f32_dx_variant};
pub use matmul_ternary::{MOST_COLS, matmul_ternary, matmul_ternary_variant};
pub use matmul_ternary_dw::{matmul_ternary_dw, matmul_ternary_dw_variant};
pub use matmul_ternary_dx::{matmul_ternary_dx, matmul_ternary_dx_variant};
pub use probe_read::{PROBE_WORDS, probe_read};
pub use quantize_activations::quantize_activations;
pub use quantize_relu::quantize_relu;
pub use quantize_weights::quantize_weights;
pub use relu::relu;
pub use relu_dx::relu_dx;
pub use rms_factor::{Factors, rms_factor};
pub use rmsnorm::rmsnorm;
pub use rmsnorm_dgain::rmsnorm_dgain;
pub use rmsnorm_dx::rmsnorm_dx;
pub use rmsnorm_relu_dgain::rmsnorm_relu_dgain;
pub use rmsnorm_relu_dx::rmsnorm_relu_dx;
pub use scale_rows::scale_rows;
pub use sgd::{Sgd, sgd};
pub use softmax_xent::{Totals, softmax_xent};

/// Every operation with its variants, the portable base first; in the order of a training step.
pub static OPERATIONS: &[&[&Kernel]] = &[
    &[&gather_batch::KERNEL],
    &[&augment_batch::KERNEL],
    &[&absmean::KERNEL],
    &[&quantize_weights::KERNEL],
    &[&dequantize_weights::KERNEL],
    &[&quantize_activations::KERNEL],
    &[&quantize_relu::KERNEL],
    &[&rms_factor::KERNEL],
    matmul_ternary::VARIANTS,
    gemv_ternary::VARIANTS,
    &[&gemv_ternary_addsub::KERNEL],
    &[&gemv_base3::KERNEL],
    gemv_i8::VARIANTS,
    &[&scale_rows::KERNEL],
    &[&descale_rows::KERNEL],
    &[&relu::KERNEL],
    &[&rmsnorm::KERNEL],
    matmul_f32::VARIANTS,
    gemv_f32::VARIANTS,
    &[&softmax_xent::KERNEL],
    matmul_ternary_dx::VARIANTS,
    matmul_ternary_dw::VARIANTS,
    &[&rmsnorm_relu_dx::KERNEL],
    &[&rmsnorm_relu_dgain::KERNEL],
    &[&relu_dx::KERNEL],
    matmul_f32_dx::VARIANTS,
    matmul_f32_dw::VARIANTS,
    &[&rmsnorm_dx::KERNEL],
    &[&rmsnorm_dgain::KERNEL],
    &[&adamw::KERNEL],
    &[&sgd::KERNEL],
    &[&advance::KERNEL],
];

/// Shaders that measure the adapter and compute nothing that a network needs: they have no twin.
pub static PROBES: &[&[&Kernel]] = &[probe_read::VARIANTS];

/// The variants of one operation, the base first.
///
/// # Panics
/// If there is no such operation.
pub fn variants(operation: &str) -> &'static [&'static Kernel] {
    let found = OPERATIONS.iter().find(|variants| variants[0].name == operation);
    found.unwrap_or_else(|| panic!("no operation is called {operation}"))
}

/// The variant of an operation that this device would run.
///
/// # Panics
/// If there is no such operation.
pub fn chosen(gpu: &Gpu, operation: &str) -> &'static Kernel {
    preferred(gpu, variants(operation))
}

/// The last variant that runs here on a software rasteriser, where they are listed by growing
/// register tile; the base on a GPU.
fn preferred(gpu: &Gpu, variants: &[&'static Kernel]) -> &'static Kernel {
    let mut fitting = variants.iter().filter(|kernel| gpu.supports(kernel));
    let chosen = match gpu.tuning() {
        Tuning::Gpu => fitting.next(),
        Tuning::Software => fitting.next_back(),
    };
    chosen.expect("the base needs nothing")
}

/// The grid of a matrix times one row of activations: `TILE_Y` rows per workgroup where its lanes share
/// them, else `TILE_X` rows per invocation.
fn row_grid(kernel: &Kernel, rows: usize) -> Grid {
    match kernel.tile[1] as usize {
        1 => Grid::Each(rows),
        shared => Grid::Groups(rows.div_ceil(shared)),
    }
}

/// A ternary matrix on the device.
#[derive(Clone, Debug)]
pub struct PackedTensor {
    /// `u32 [rows, words]`, see [`crate::ternary`].
    pub words: Tensor,
    /// `f32 [1]`: what one trit is worth.
    pub beta: Tensor,
    /// Inputs of the matrix; the words alone do not tell.
    pub cols: usize,
}

impl PackedTensor {
    /// A matrix of zeros to quantise into.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn zeros(gpu: &Gpu, label: &str, rows: usize, cols: usize) -> Result<PackedTensor, Error> {
        let words = gpu.zeros(&format!("{label}.packed"), Dtype::U32, &[rows, ternary::words(cols)])?;
        Ok(PackedTensor { words, beta: gpu.zeros(&format!("{label}.beta"), Dtype::F32, &[1])?, cols })
    }

    /// Copies a matrix to the device.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn upload(gpu: &Gpu, label: &str, packed: &Packed) -> Result<PackedTensor, Error> {
        let shape = [packed.rows, ternary::words(packed.cols)];
        let words = gpu.upload(&format!("{label}.packed"), &shape, &packed.words)?;
        let beta = gpu.upload(&format!("{label}.beta"), &[1], &[packed.scale])?;
        Ok(PackedTensor { words, beta, cols: packed.cols })
    }

    /// Outputs of the matrix.
    pub fn rows(&self) -> usize {
        self.words.shape()[0]
    }

    /// Reads the matrix back.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download(&self, gpu: &Gpu) -> Result<Packed, Error> {
        let scale = gpu.download::<f32>(&self.beta)?[0];
        Ok(Packed { rows: self.rows(), cols: self.cols, scale, words: gpu.download(&self.words)? })
    }
}

/// A batch of int8 activations on the device.
#[derive(Clone, Debug)]
pub struct Int8Tensor {
    /// `u32 [batch, 4 * words]`: four values a word, zero past the last column.
    pub q: Tensor,
    /// `f32 [batch]`: `127 / max`.
    pub scale: Tensor,
    /// `i32 [batch]`: sum of `q` over the row.
    pub sum: Tensor,
}

impl Int8Tensor {
    /// Room for `[batch, cols]` values.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn zeros(gpu: &Gpu, label: &str, batch: usize, cols: usize) -> Result<Int8Tensor, Error> {
        Ok(Int8Tensor {
            q: gpu.zeros(&format!("{label}.q"), Dtype::U32, &[batch, 4 * ternary::words(cols)])?,
            scale: gpu.zeros(&format!("{label}.scale"), Dtype::F32, &[batch])?,
            sum: gpu.zeros(&format!("{label}.sum"), Dtype::I32, &[batch])?,
        })
    }
}

/// Asserts a tensor's shape and type, naming kernel, tensor and both shapes.
fn expect(kernel: &str, tensor: &Tensor, dtype: Dtype, shape: &[usize]) {
    assert!(
        tensor.dtype() == dtype && tensor.shape() == shape,
        "{kernel}: {} is {:?} {:?}, expected {dtype:?} {shape:?}",
        tensor.label(),
        tensor.dtype(),
        tensor.shape(),
    );
}

/// The two lengths of a matrix.
fn matrix(kernel: &str, tensor: &Tensor) -> [usize; 2] {
    let shape = tensor.shape();
    shape
        .try_into()
        .unwrap_or_else(|_| panic!("{kernel}: {} is {shape:?}, expected a matrix", tensor.label()))
}
