//! Every kernel's host side: a file per operation, and one table for the products of one row. Functions assert shapes,
//! bind, and state the [`Cost`](crate::gpu::Cost); they enqueue nothing. Knows no network.
//!
//! Two small groups of tensors recur in the signatures: a ternary matrix ([`PackedTensor`]) and a
//! batch of int8 activations ([`Int8Tensor`]).

use crate::gpu::{Dtype, Error, Gpu, Grid, Kernel, Overrides, Tensor, value};
use crate::ternary::{self, Packed};

/// The text of these files of `shaders`, one after the other.
macro_rules! text {
    ($($file:expr),+ $(,)?) => {
        concat!($(include_str!(concat!("../../shaders/", $file, ".wgsl"))),+)
    };
}

mod abs_sums;
mod absmean;
mod adamw;
mod augment_batch;
mod dequantize_weights;
mod descale_rows;
mod gather_batch;
mod gemv;
mod matmul_base3;
mod matmul_f16;
mod matmul_f32;
mod matmul_f32_dw;
mod matmul_f32_dx;
mod matmul_i8;
mod matmul_ternary;
mod matmul_ternary_dw;
mod matmul_ternary_dx;
mod probe_add_i32;
mod probe_cache;
mod probe_copy;
mod probe_dot4;
mod probe_fma_f16;
mod probe_fma_f32;
mod probe_launch;
mod probe_read;
mod probe_triad;
mod probe_write;
mod quantize_activations;
mod quantize_weights;
mod relu;
mod relu_dx;
mod rmsnorm;
mod rmsnorm_dgain;
mod rmsnorm_dx;
mod rmsnorm_quantize;
mod rmsnorm_relu_backward;
mod rmsnorm_relu_dgain;
mod scale_rows;
mod scale_softmax_xent;
mod select;
mod sgd;
mod softmax_xent;

pub use abs_sums::abs_sums;
pub use absmean::{Place, Stack, absmean};
pub use adamw::{AdamW, Moments, Trainable, adamw};
pub use augment_batch::augment_batch;
pub use dequantize_weights::dequantize_weights;
pub use descale_rows::descale_rows;
pub use gather_batch::gather_batch;
pub use gemv::{
    Base3Tensor, BitplaneTensor, MOST_COLS_I8, f16_vectors, f16_words, gemv_base3, gemv_base3_variant,
    gemv_bitplane, gemv_bitplane_variant, gemv_f16, gemv_f16_variant, gemv_f32, gemv_f32_variant, gemv_i8,
    gemv_i8_variant, gemv_ternary, gemv_ternary_addsub, gemv_ternary_addsub_variant, gemv_ternary_variant,
};
pub use matmul_base3::{matmul_base3, matmul_base3_variant};
pub use matmul_f16::{matmul_f16, matmul_f16_variant};
pub use matmul_f32::{matmul_f32, matmul_f32_variant};
pub use matmul_f32_dw::{matmul_f32_dw, matmul_f32_dw_variant};
pub use matmul_f32_dx::{matmul_f32_dx, matmul_f32_dx_variant};
pub use matmul_i8::{matmul_i8, matmul_i8_variant};
pub use matmul_ternary::{MOST_COLS, matmul_ternary, matmul_ternary_variant};
pub use matmul_ternary_dw::{matmul_ternary_dw, matmul_ternary_dw_variant};
pub use matmul_ternary_dx::{matmul_ternary_dx, matmul_ternary_dx_variant};
pub use probe_add_i32::probe_add_i32;
pub use probe_cache::probe_cache;
pub use probe_copy::probe_copy;
pub use probe_dot4::probe_dot4;
pub use probe_fma_f16::probe_fma_f16;
pub use probe_fma_f32::probe_fma_f32;
pub use probe_launch::probe_launch;
pub use probe_read::{PROBE_WORDS, probe_read};
pub use probe_triad::probe_triad;
pub use probe_write::probe_write;
pub use quantize_activations::quantize_activations;
pub use quantize_weights::{quantize, quantize_weights};
pub use relu::relu;
pub use relu_dx::relu_dx;
pub use rmsnorm::rmsnorm;
pub use rmsnorm_dgain::rmsnorm_dgain;
pub use rmsnorm_dx::rmsnorm_dx;
pub use rmsnorm_quantize::{Factors, rmsnorm_quantize};
pub use rmsnorm_relu_backward::rmsnorm_relu_backward;
pub use rmsnorm_relu_dgain::rmsnorm_relu_dgain;
pub use scale_rows::scale_rows;
pub use scale_softmax_xent::scale_softmax_xent;
pub use select::{chosen, class, default};
use select::{columns, preferred, preferred_for};
pub use sgd::{Sgd, sgd};
pub use softmax_xent::{Totals, softmax_xent};

/// Every operation with its variants, the portable base first; in the order of a training step.
pub static OPERATIONS: &[&[&Kernel]] = &[
    &[&gather_batch::KERNEL],
    &[&augment_batch::KERNEL],
    &[&abs_sums::KERNEL],
    &[&absmean::KERNEL],
    quantize_weights::VARIANTS,
    &[&dequantize_weights::KERNEL],
    quantize_activations::VARIANTS,
    rmsnorm_quantize::VARIANTS,
    matmul_ternary::VARIANTS,
    gemv::GEMV_TERNARY,
    gemv::GEMV_TERNARY_ADDSUB,
    matmul_base3::VARIANTS,
    gemv::GEMV_BASE3,
    gemv::GEMV_BITPLANE,
    matmul_i8::VARIANTS,
    gemv::GEMV_I8,
    &[&scale_rows::KERNEL],
    &[&descale_rows::KERNEL],
    &[&relu::KERNEL],
    &[&rmsnorm::KERNEL],
    matmul_f32::VARIANTS,
    matmul_f16::VARIANTS,
    gemv::GEMV_F32,
    gemv::GEMV_F16,
    &[&softmax_xent::KERNEL],
    &[&scale_softmax_xent::KERNEL],
    matmul_ternary_dx::VARIANTS,
    matmul_ternary_dw::VARIANTS,
    rmsnorm_relu_backward::VARIANTS,
    rmsnorm_relu_dgain::VARIANTS,
    &[&relu_dx::KERNEL],
    matmul_f32_dx::VARIANTS,
    matmul_f32_dw::VARIANTS,
    &[&rmsnorm_dx::KERNEL],
    &[&rmsnorm_dgain::KERNEL],
    &[&adamw::KERNEL],
    &[&sgd::KERNEL],
];

/// Shaders that measure the adapter and compute nothing that a network needs: they have no twin.
pub static PROBES: &[&[&Kernel]] = &[
    probe_read::VARIANTS,
    probe_write::VARIANTS,
    probe_copy::VARIANTS,
    probe_triad::VARIANTS,
    probe_cache::VARIANTS,
    probe_fma_f32::VARIANTS,
    probe_fma_f16::VARIANTS,
    probe_add_i32::VARIANTS,
    probe_dot4::VARIANTS,
    &[&probe_launch::KERNEL],
];

/// The variants of one operation or probe, the base first.
///
/// # Panics
/// If there is no such operation.
pub fn variants(operation: &str) -> &'static [&'static Kernel] {
    let found = OPERATIONS.iter().chain(PROBES).find(|variants| variants[0].name == operation);
    found.unwrap_or_else(|| panic!("no operation is called {operation}"))
}

/// The grid of a matrix times a batch: outputs in a plane, or blocks of COLUMNS batch rows, those of the same rows of
/// the matrix next to each other.
fn batch_grid(gpu: &Gpu, kernel: &Kernel, batch: usize, rows: usize) -> Grid {
    let Some(columns) = columns(gpu, kernel) else {
        return Grid::Plane(rows, batch);
    };
    let rows_per_group = match kernel.tile {
        [each, 1] => {
            each as usize * value(kernel.overrides(gpu.tuning()), "WG").expect("every variant sets it")
        }
        [_, shared] => shared as usize,
    };
    Grid::Groups(rows.div_ceil(rows_per_group) * batch.div_ceil(columns))
}

/// Blocks of batch rows for small batches, in a GPU's workgroups and in a CPU's.
const SMALL: [Overrides; 4] = [
    &[("WG", 64.0), ("COLUMNS", 2.0)],
    &[("WG", 64.0), ("COLUMNS", 4.0)],
    &[("WG", 64.0), ("COLUMNS", 8.0)],
    &[("WG", 64.0), ("COLUMNS", 16.0)],
];
const SMALL_CPU: [Overrides; 3] =
    [&[("WG", 8.0), ("COLUMNS", 2.0)], &[("WG", 8.0), ("COLUMNS", 4.0)], &[("WG", 8.0), ("COLUMNS", 8.0)]];

/// Workgroups of products in blocks: square ones for a GPU, large or small, and one vector of a CPU.
const BLOCK_16: Overrides = &[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 16.0)];
const BLOCK_8: Overrides = &[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 32.0)];
const BLOCK_CPU: Overrides = &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 8.0)];

/// The same for gradients: slices of half the depth leave room in workgroup memory for twice as many of them.
const GRADIENT_8: Overrides = &[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 16.0)];

/// Workgroups whose lanes take four columns each; on a GPU eight slices of the batch share them.
const SLICED: [Overrides; 2] = [&[("WG", 64.0), ("SLICES", 8.0)], &[("WG", 8.0), ("SLICES", 1.0)]];
const SLICED_WHOLE: [Overrides; 2] =
    [&[("WG", 64.0), ("SLICES", 8.0), ("WHOLE", 1.0)], &[("WG", 8.0), ("SLICES", 1.0), ("WHOLE", 1.0)]];

/// Of the variants for any rows and for such as start at whole vectors of four, the one for these columns.
fn for_columns(variants: &[&'static Kernel], cols: usize) -> &'static Kernel {
    variants[usize::from(cols.is_multiple_of(4))]
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
