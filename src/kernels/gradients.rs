//! Gradients of the products of a batch. Their shaders have the three parts of [`super::matmul`]: operation, skeleton
//! and operand. The files are in `shaders/products`, and in `shaders/software` for software rasterisers. This module is
//! the table of all gradients.

use super::{Int8Tensor, PackedTensor, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, cols: u32, words: u32 }

/// On a GPU the slices have half the depth of the products' slices. Twice as many workgroups then fit into the
/// workgroup memory.
const GPU: Overrides = &[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 16.0)];
const CPU: Overrides = &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 8.0)];

/// The two variants of an operation: blocks of outputs, made from the operand's files, and a register tile for
/// software rasterisers.
macro_rules! variants {
    ($operation:literal, [$($operand:literal),+], $tile:expr, [$($software:literal),+]) => {
        &[
            &Kernel::new::<Params>(
                $operation,
                text!(
                    concat!("products/", $operation),
                    "products/skeletons/outer",
                    "products/skeletons/outer_slices",
                    "products/operands/outer_terms",
                    $($operand),+
                ),
            )
            .tiled([4, 4])
            .with(GPU, CPU),
            &Kernel::new::<Params>(
                concat!($operation, "_broadcast"),
                text!(concat!("products/", $operation), $($software),+),
            )
            .tiled($tile)
            .subgroup(8)
            .for_rasterisers(),
        ]
    };
}

pub static MATMUL_F32_DX: &[&Kernel] = variants!(
    "matmul_f32_dx",
    ["products/operands/outer_f32_dx", "products/operands/unscaled"],
    [8, 16],
    ["software/tile", "software/spread_rows", "software/tile_f32_dx"]
);

pub static MATMUL_F32_DW: &[&Kernel] = variants!(
    "matmul_f32_dw",
    ["products/operands/outer_f32_dw", "products/operands/unscaled"],
    [8, 16],
    ["software/tile", "software/spread_fours", "software/tile_f32_dw"]
);

pub static MATMUL_TERNARY_DX: &[&Kernel] = variants!(
    "matmul_ternary_dx",
    ["products/operands/outer_ternary_dx", "snippets/ternary"],
    [16, 16],
    ["software/tile_fours", "software/tile_ternary_dx", "snippets/ternary"]
);

pub static MATMUL_TERNARY_DW: &[&Kernel] = variants!(
    "matmul_ternary_dw",
    ["products/operands/outer_ternary_dw", "products/operands/unscaled"],
    [16, 16],
    ["software/tile_fours", "software/tile_ternary_dw"]
);

/// The op of a kernel. The tensors come in the order of the bindings. The last one is the output, a matrix.
fn bind(
    gpu: &Gpu,
    kernel: &'static Kernel,
    [batch, rows, cols, words]: [usize; 4],
    tensors: &[&Tensor],
) -> Op {
    let params = Params { batch: batch as u32, rows: rows as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost {
        bytes: tensors.iter().map(|tensor| tensor.bytes()).sum(),
        ops: 2 * (batch * rows * cols) as u64,
    };
    let [height, width] = matrix(kernel.name, tensors[tensors.len() - 1]);
    gpu.op(kernel, params, tensors, Grid::Plane(width, height), cost)
}

/// The gradient of the input: `dx[batch, cols] <- dy[batch, rows] W[rows, cols]`, in f32.
pub fn matmul_f32_dx(gpu: &Gpu, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    matmul_f32_dx_variant(gpu, preferred(gpu, MATMUL_F32_DX), w, dy, dx)
}

/// [`matmul_f32_dx`] with the given variant.
pub fn matmul_f32_dx_variant(gpu: &Gpu, kernel: &'static Kernel, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    let [batch, _] = matrix("matmul_f32_dx", dy);
    let [rows, cols] = matrix("matmul_f32_dx", w);
    expect("matmul_f32_dx", w, F32, &[rows, cols]);
    expect("matmul_f32_dx", dy, F32, &[batch, rows]);
    expect("matmul_f32_dx", dx, F32, &[batch, cols]);
    bind(gpu, kernel, [batch, rows, cols, 0], &[w, dy, dx])
}

/// The gradient of the weights: `dw[rows, cols] <- dy[batch, rows]^T x[batch, cols]`, in f32.
pub fn matmul_f32_dw(gpu: &Gpu, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Op {
    matmul_f32_dw_variant(gpu, preferred(gpu, MATMUL_F32_DW), dy, x, dw)
}

/// [`matmul_f32_dw`] with the given variant.
pub fn matmul_f32_dw_variant(gpu: &Gpu, kernel: &'static Kernel, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Op {
    let [batch, rows] = matrix("matmul_f32_dw", dy);
    let [_, cols] = matrix("matmul_f32_dw", x);
    expect("matmul_f32_dw", dy, F32, &[batch, rows]);
    expect("matmul_f32_dw", x, F32, &[batch, cols]);
    expect("matmul_f32_dw", dw, F32, &[rows, cols]);
    bind(gpu, kernel, [batch, rows, cols, 0], &[dy, x, dw])
}

/// The gradient of the input: `dx[batch, cols] <- beta sum_r dy[batch, r] T[r, cols]`.
pub fn matmul_ternary_dx(gpu: &Gpu, w: &PackedTensor, dy: &Tensor, dx: &Tensor) -> Op {
    matmul_ternary_dx_variant(gpu, preferred(gpu, MATMUL_TERNARY_DX), w, dy, dx)
}

/// [`matmul_ternary_dx`] with the given variant.
pub fn matmul_ternary_dx_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    w: &PackedTensor,
    dy: &Tensor,
    dx: &Tensor,
) -> Op {
    let [batch, rows] = matrix("matmul_ternary_dx", dy);
    let (cols, words) = (w.cols, ternary::words(w.cols));
    expect("matmul_ternary_dx", &w.words, U32, &[rows, words]);
    expect("matmul_ternary_dx", &w.beta, F32, &[1]);
    expect("matmul_ternary_dx", dy, F32, &[batch, rows]);
    expect("matmul_ternary_dx", dx, F32, &[batch, cols]);
    bind(gpu, kernel, [batch, rows, cols, words], &[&w.words, &w.beta, dy, dx])
}

/// The gradient of the shadow weights: `dw[rows, cols] <- sum_b dy[b, rows] step[b] q[b, cols]`. `step[batch]` is the
/// real value of one int8 step of a row: `1 / scale`, if the row has no other factor.
pub fn matmul_ternary_dw(gpu: &Gpu, dy: &Tensor, step: &Tensor, x: &Int8Tensor, dw: &Tensor) -> Op {
    matmul_ternary_dw_variant(gpu, preferred(gpu, MATMUL_TERNARY_DW), dy, step, x, dw)
}

/// [`matmul_ternary_dw`] with the given variant.
pub fn matmul_ternary_dw_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    dy: &Tensor,
    step: &Tensor,
    x: &Int8Tensor,
    dw: &Tensor,
) -> Op {
    let [batch, rows] = matrix("matmul_ternary_dw", dy);
    let [_, cols] = matrix("matmul_ternary_dw", dw);
    let words = ternary::words(cols);
    expect("matmul_ternary_dw", dy, F32, &[batch, rows]);
    expect("matmul_ternary_dw", step, F32, &[batch]);
    expect("matmul_ternary_dw", &x.q, U32, &[batch, 4 * words]);
    expect("matmul_ternary_dw", dw, F32, &[rows, cols]);
    bind(gpu, kernel, [batch, rows, cols, words], &[dy, step, &x.q, dw])
}
