//! Gradients of the products of a batch. They are put together as the products of [`super::matmul`] are:
//! `shaders/products`, and `shaders/software` for rasterisers. This file is their table.

use super::{Int8Tensor, PackedTensor, expect, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, params};
use crate::ternary;

params! { batch: u32, rows: u32, cols: u32, words: u32 }

/// On a GPU slices of half the products' depth: twice as many workgroups find room in workgroup memory.
const GPU: Overrides = &[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 16.0)];
const CPU: Overrides = &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 8.0)];

/// Both variants of an operation: blocks of outputs by an operand's files, and a register tile for rasterisers.
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

/// The op of a kernel, with the tensors in the order of its bindings. The output is last, a matrix.
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

/// `dx[batch, cols] <- dy[batch, rows] W[rows, cols]`, in f32: the input's gradient.
pub fn matmul_f32_dx(gpu: &Gpu, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    matmul_f32_dx_variant(gpu, preferred(gpu, MATMUL_F32_DX), w, dy, dx)
}

/// [`matmul_f32_dx`] by a variant of one's choice.
pub fn matmul_f32_dx_variant(gpu: &Gpu, kernel: &'static Kernel, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    let [batch, _] = matrix("matmul_f32_dx", dy);
    let [rows, cols] = matrix("matmul_f32_dx", w);
    expect("matmul_f32_dx", w, F32, &[rows, cols]);
    expect("matmul_f32_dx", dy, F32, &[batch, rows]);
    expect("matmul_f32_dx", dx, F32, &[batch, cols]);
    bind(gpu, kernel, [batch, rows, cols, 0], &[w, dy, dx])
}

/// `dw[rows, cols] <- dy[batch, rows]^T x[batch, cols]`, in f32: the weights' gradient.
pub fn matmul_f32_dw(gpu: &Gpu, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Op {
    matmul_f32_dw_variant(gpu, preferred(gpu, MATMUL_F32_DW), dy, x, dw)
}

/// [`matmul_f32_dw`] by a variant of one's choice.
pub fn matmul_f32_dw_variant(gpu: &Gpu, kernel: &'static Kernel, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Op {
    let [batch, rows] = matrix("matmul_f32_dw", dy);
    let [_, cols] = matrix("matmul_f32_dw", x);
    expect("matmul_f32_dw", dy, F32, &[batch, rows]);
    expect("matmul_f32_dw", x, F32, &[batch, cols]);
    expect("matmul_f32_dw", dw, F32, &[rows, cols]);
    bind(gpu, kernel, [batch, rows, cols, 0], &[dy, x, dw])
}

/// `dx[batch, cols] <- beta sum_r dy[batch, r] T[r, cols]`: the input's gradient.
pub fn matmul_ternary_dx(gpu: &Gpu, w: &PackedTensor, dy: &Tensor, dx: &Tensor) -> Op {
    matmul_ternary_dx_variant(gpu, preferred(gpu, MATMUL_TERNARY_DX), w, dy, dx)
}

/// [`matmul_ternary_dx`] by a variant of one's choice.
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

/// `dw[rows, cols] <- sum_b dy[b, rows] step[b] q[b, cols]`, the shadow weights' gradient: `step` is the real value of
/// one int8 step of the row, `1 / scale` where nothing else scales it.
pub fn matmul_ternary_dw(gpu: &Gpu, dy: &Tensor, step: &Tensor, x: &Int8Tensor, dw: &Tensor) -> Op {
    matmul_ternary_dw_variant(gpu, preferred(gpu, MATMUL_TERNARY_DW), dy, step, x, dw)
}

/// [`matmul_ternary_dw`] by a variant of one's choice.
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
