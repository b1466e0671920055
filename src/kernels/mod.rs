//! The host side of every kernel, one file for each kind of operation. The functions assert shapes, bind tensors, and
//! state the [`Cost`](crate::gpu::Cost). They submit nothing. This module knows no network.
//!
//! Two small groups of tensors occur in many signatures: a ternary matrix ([`PackedTensor`]) and a batch of int8
//! activations ([`Int8Tensor`]).
//!
//! A name tells the operation and the format of the weights. `matmul_x` is a product with a batch of activations, and
//! `gemv_x` is a product with one row. `x_dx`, `x_dw` and `x_dgain` are gradients of the input, of the weights and of
//! the gain. Each product chooses a variant for the device and the shape. `x_variant` takes the variant as an argument.

use crate::gpu::{Dtype, Error, Gpu, Grid, Kernel, Tensor, value};
use crate::ternary::{self, Packed};

/// The texts of these files of `shaders`, one after the other.
macro_rules! text {
    ($($file:expr),+ $(,)?) => {
        concat!($(include_str!(concat!("../../shaders/", $file, ".wgsl"))),+)
    };
}

/// The gradients of a row through RMSNorm: one variant for any rows, and one for rows that start at multiples of four
/// elements. `$file` are the shader and the snippets that read its rows.
macro_rules! backward {
    ([$put:literal] $($file:literal),+) => {
        text!(
            $($file,)+
            "snippets/gains",
            "snippets/gradients",
            "snippets/norm_dx",
            "snippets/dgain_columns",
            "snippets/rows_and_columns",
            "snippets/row_sum",
            $put,
            "snippets/entry",
        )
    };
    ($params:ty, $name:literal, [$($file:literal),+]) => {{
        const ANY: Kernel = Kernel::new::<$params>($name, backward!(["snippets/put_ones"] $($file),+));
        const WHOLE: Kernel = Kernel::new::<$params>($name, backward!(["snippets/put_four"] $($file),+));
        &[
            &ANY.with(super::norm::SLICED[0], super::norm::SLICED[1]),
            &WHOLE.with(super::norm::SLICED_WHOLE[0], super::norm::SLICED_WHOLE[1]),
        ]
    }};
}

mod attention;
mod batch;
mod elementwise;
mod embedding;
mod fixed_point;
mod gate;
mod gemv;
mod gradients;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod probes;
mod quantize;
mod sampling;
mod select;

pub use attention::{
    Heads, KeyForm, PIECE_KEYS, Sequences, attention, attention_dkv, attention_dkv_variant, attention_dq,
    attention_dq_variant, attention_join, attention_step, attention_variant, pieces, rope, rope_backward,
    rope_backward_ternary, rope_ternary,
};
pub use batch::{augment_batch, gather_batch, text_batch};
pub use elementwise::{descale_rows, relu, relu_dx, residual, residual_f32, scale_rows};
pub use embedding::{
    embed_gather, embed_gather_f16, embed_gather_from, embed_gather_int8, embed_grad, head_f16,
    head_f16_variant, head_f32, head_f32_variant, head_int8, head_int8_variant, int8_words,
};
pub use fixed_point::{MOST_TERMS, gradient_exponents, gradient_from_fixed, gradient_to_fixed};
pub use gate::{
    GateFactors, relu2_gate, relu2_gate_backward, relu2_gate_dx, relu2_gate_quantize, silu_gate, silu_gate_dx,
};
pub use gemv::{
    Base3Tensor, BitplaneTensor, MOST_COLS_I8, f16_vectors, f16_words, gemv_base3, gemv_base3_variant,
    gemv_bitplane, gemv_bitplane_variant, gemv_f16, gemv_f16_variant, gemv_f32, gemv_f32_variant, gemv_i8,
    gemv_i8_variant, gemv_ternary, gemv_ternary_addsub, gemv_ternary_addsub_variant, gemv_ternary_variant,
};
pub use gradients::{
    matmul_f32_dw, matmul_f32_dw_variant, matmul_f32_dx, matmul_f32_dx_variant, matmul_ternary_dw,
    matmul_ternary_dw_variant, matmul_ternary_dx, matmul_ternary_dx_variant,
};
pub use loss::{IGNORE, Totals, scale_softmax_xent, softmax_xent, xent_rows, xent_totals};
pub use matmul::{
    MOST_COLS, matmul_base3, matmul_base3_variant, matmul_f16, matmul_f16_variant, matmul_f32,
    matmul_f32_variant, matmul_i8, matmul_i8_variant, matmul_ternary, matmul_ternary_variant,
};
pub use norm::{
    Factors, residual_quantize, rmsnorm, rmsnorm_backward, rmsnorm_dgain, rmsnorm_dx, rmsnorm_quantize,
    rmsnorm_quantize_f32, rmsnorm_relu_backward, rmsnorm_relu_dgain,
};
pub use optimizer::{AdamW, Moments, Sgd, Trainable, adamw, clip_factor, sgd, square_sums};
pub use probes::{
    PROBE_WORDS, probe_add_i32, probe_cache, probe_copy, probe_dot4, probe_fma_f16, probe_fma_f32,
    probe_launch, probe_read, probe_triad, probe_write,
};
pub use quantize::{
    Place, Stack, abs_sums, absmean, dequantize_weights, quantize, quantize_activations, quantize_weights,
};
pub use sampling::{BLOCK_LOGITS, sample_blocks, sample_least, sample_token};
pub use select::{chosen, class, default};
use select::{columns, preferred};

/// Every operation with its variants, in the order of a training step. The portable base variant comes first.
pub static OPERATIONS: &[&[&Kernel]] = &[
    &[&batch::GATHER_BATCH],
    &[&batch::AUGMENT_BATCH],
    &[&batch::TEXT_BATCH],
    &[&quantize::ABS_SUMS],
    &[&quantize::ABSMEAN],
    quantize::QUANTIZE_WEIGHTS,
    &[&quantize::DEQUANTIZE_WEIGHTS],
    quantize::QUANTIZE_ACTIVATIONS,
    norm::RMSNORM_QUANTIZE,
    norm::RMSNORM_QUANTIZE_F32,
    &[&norm::RESIDUAL_QUANTIZE],
    gate::RELU2_GATE_QUANTIZE,
    matmul::MATMUL_TERNARY,
    gemv::GEMV_TERNARY,
    gemv::GEMV_TERNARY_ADDSUB,
    matmul::MATMUL_BASE3,
    gemv::GEMV_BASE3,
    gemv::GEMV_BITPLANE,
    matmul::MATMUL_I8,
    gemv::GEMV_I8,
    &[&elementwise::SCALE_ROWS],
    &[&elementwise::DESCALE_ROWS],
    &[&elementwise::RESIDUAL],
    &[&elementwise::RESIDUAL_F32],
    &[&elementwise::RELU],
    &[&gate::RELU2_GATE],
    &[&gate::SILU_GATE],
    &[&norm::RMSNORM],
    matmul::MATMUL_F32,
    matmul::MATMUL_F16,
    gemv::GEMV_F32,
    gemv::GEMV_F16,
    &[&embedding::EMBED_GATHER],
    &[&embedding::EMBED_GATHER_F16],
    &[&embedding::EMBED_GATHER_INT8],
    embedding::HEAD_F32,
    embedding::HEAD_F16,
    embedding::HEAD_INT8,
    attention::ROPE,
    attention::ROPE_TERNARY,
    attention::ATTENTION,
    attention::ATTENTION_STEP,
    &[&attention::ATTENTION_JOIN],
    &[&sampling::SAMPLE_LEAST],
    &[&sampling::SAMPLE_BLOCKS],
    &[&sampling::SAMPLE_TOKEN],
    &[&loss::SOFTMAX_XENT],
    &[&loss::SCALE_SOFTMAX_XENT],
    &[&loss::XENT_ROWS],
    &[&loss::XENT_TOTALS],
    gradients::MATMUL_TERNARY_DX,
    gradients::MATMUL_TERNARY_DW,
    gate::RELU2_GATE_BACKWARD,
    norm::RMSNORM_BACKWARD,
    norm::RMSNORM_RELU_BACKWARD,
    norm::RMSNORM_RELU_DGAIN,
    &[&elementwise::RELU_DX],
    &[&gate::RELU2_GATE_DX],
    &[&gate::SILU_GATE_DX],
    gradients::MATMUL_F32_DX,
    gradients::MATMUL_F32_DW,
    &[&norm::RMSNORM_DX],
    &[&norm::RMSNORM_DGAIN],
    attention::ATTENTION_DQ,
    attention::ATTENTION_DKV,
    &[&attention::ROPE_BACKWARD],
    &[&attention::ROPE_BACKWARD_TERNARY],
    &[&embedding::EMBED_GRAD],
    &[&fixed_point::GRADIENT_EXPONENTS],
    &[&fixed_point::GRADIENT_TO_FIXED],
    &[&fixed_point::GRADIENT_FROM_FIXED],
    &[&optimizer::SQUARE_SUMS],
    &[&optimizer::CLIP_FACTOR],
    &[&optimizer::ADAMW],
    &[&optimizer::SGD],
];

/// Shaders that measure the adapter. They compute nothing for a network, so they have no twin.
pub static PROBES: &[&[&Kernel]] = &[
    probes::PROBE_READ,
    probes::PROBE_WRITE,
    probes::PROBE_COPY,
    probes::PROBE_TRIAD,
    probes::PROBE_CACHE,
    probes::PROBE_FMA_F32,
    probes::PROBE_FMA_F16,
    probes::PROBE_ADD_I32,
    probes::PROBE_DOT4,
    &[&probes::PROBE_LAUNCH],
];

/// The variants of one operation or probe. The base variant comes first.
///
/// # Panics
/// If no operation or probe has this name.
pub fn variants(operation: &str) -> &'static [&'static Kernel] {
    let found = OPERATIONS.iter().chain(PROBES).find(|variants| variants[0].name == operation);
    found.unwrap_or_else(|| panic!("no operation is called {operation}"))
}

/// The grid of a matrix times a batch. Outputs lie in a plane, or in blocks of COLUMNS batch rows. Blocks of the same
/// matrix rows are neighbours.
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

/// The variant for this number of columns. `variants` holds one for any row, and one for rows that start at multiples
/// of four elements.
fn for_columns(variants: &[&'static Kernel], cols: usize) -> &'static Kernel {
    variants[usize::from(cols.is_multiple_of(4))]
}

/// The grid of a matrix times one row of activations. If the lanes of a workgroup share rows, each workgroup has
/// `TILE_Y` rows. Otherwise each invocation has `TILE_X` rows.
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
    /// `f32 [1]`: the value of one trit.
    pub beta: Tensor,
    /// Number of inputs of the matrix. The shape of `words` does not give it.
    pub cols: usize,
}

impl PackedTensor {
    /// A matrix of zeros, as the output of a quantiser.
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

    /// Number of outputs of the matrix.
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
    /// `u32 [batch, 4 * words]`: four values per word, zero past the last column.
    pub q: Tensor,
    /// `f32 [batch]`: 127 divided by the largest absolute value of the row.
    pub scale: Tensor,
    /// `i32 [batch]`: the sum of `q` over the row.
    pub sum: Tensor,
}

impl Int8Tensor {
    /// A batch of zeros `[batch, cols]`.
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

    fn expect(&self, kernel: &str, batch: usize, cols: usize) {
        expect(kernel, &self.q, Dtype::U32, &[batch, 4 * ternary::words(cols)]);
        expect(kernel, &self.scale, Dtype::F32, &[batch]);
        expect(kernel, &self.sum, Dtype::I32, &[batch]);
    }
}

/// Asserts the shape and type of a tensor. The message has the kernel, the tensor and both shapes.
fn expect(kernel: &str, tensor: &Tensor, dtype: Dtype, shape: &[usize]) {
    assert!(
        tensor.dtype() == dtype && tensor.shape() == shape,
        "{kernel}: {} is {:?} {:?}, expected {dtype:?} {shape:?}",
        tensor.label(),
        tensor.dtype(),
        tensor.shape(),
    );
}

/// Rows and columns of a matrix.
fn matrix(kernel: &str, tensor: &Tensor) -> [usize; 2] {
    let shape = tensor.shape();
    shape
        .try_into()
        .unwrap_or_else(|_| panic!("{kernel}: {} is {shape:?}, expected a matrix", tensor.label()))
}
