//! One output for each input. Shaders: `shaders/train` and `shaders/lm`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

// --- scale_rows -----------------------------------------------------------------------------------

params! { struct RowsParams { count: u32, rows: u32 } }

pub static SCALE_ROWS: Kernel =
    Kernel::new::<RowsParams>("scale_rows", text!("train/scale_rows", "snippets/entry"));

/// `y[batch, rows] <- scale[batch] acc[batch, rows]`.
pub fn scale_rows(gpu: &Gpu, acc: &Tensor, scale: &Tensor, y: &Tensor) -> Op {
    let [batch, rows] = matrix("scale_rows", acc);
    expect("scale_rows", acc, I32, &[batch, rows]);
    expect("scale_rows", scale, F32, &[batch]);
    expect("scale_rows", y, F32, &[batch, rows]);
    let params = RowsParams { count: acc.len() as u32, rows: rows as u32 };
    let cost = Cost { bytes: acc.bytes() + scale.bytes() + y.bytes(), ops: acc.len() as u64 };
    gpu.op(&SCALE_ROWS, params, &[acc, scale, y], Grid::Each(acc.len()), cost)
}

// --- descale_rows ---------------------------------------------------------------------------------

pub static DESCALE_ROWS: Kernel =
    Kernel::new::<RowsParams>("descale_rows", text!("train/descale_rows", "snippets/entry"));

/// `y[batch, rows] <- acc[batch, rows] beta / scale[batch]`.
pub fn descale_rows(gpu: &Gpu, acc: &Tensor, scale: &Tensor, beta: &Tensor, y: &Tensor) -> Op {
    let [batch, rows] = matrix("descale_rows", acc);
    expect("descale_rows", acc, I32, &[batch, rows]);
    expect("descale_rows", scale, F32, &[batch]);
    expect("descale_rows", beta, F32, &[1]);
    expect("descale_rows", y, F32, &[batch, rows]);
    let params = RowsParams { count: acc.len() as u32, rows: rows as u32 };
    let cost = Cost { bytes: acc.bytes() + scale.bytes() + 4 + y.bytes(), ops: 2 * acc.len() as u64 };
    gpu.op(&DESCALE_ROWS, params, &[acc, scale, beta, y], Grid::Each(acc.len()), cost)
}

// --- residual -------------------------------------------------------------------------------------

params! { struct ResidualParams { vectors: u32, cols: u32 } }

pub static RESIDUAL: Kernel =
    Kernel::new::<ResidualParams>("residual", text!("lm/residual", "snippets/entry"));

/// `y[batch, cols] <- h[batch, cols] + beta step[batch] acc[batch, cols]`: what a ternary product of codes worth `step`
/// adds to the residual stream. `cols` is a multiple of four.
pub fn residual(gpu: &Gpu, h: &Tensor, acc: &Tensor, step: &Tensor, beta: &Tensor, y: &Tensor) -> Op {
    let [batch, cols] = matrix("residual", h);
    for tensor in [h, y] {
        expect("residual", tensor, F32, &[batch, cols]);
    }
    expect("residual", acc, I32, &[batch, cols]);
    expect("residual", step, F32, &[batch]);
    expect("residual", beta, F32, &[1]);
    assert!(cols.is_multiple_of(4), "residual: rows of {cols} are not whole vectors of four");
    let vectors = h.len() / 4;
    let params = ResidualParams { vectors: vectors as u32, cols: cols as u32 / 4 };
    let cost = Cost { bytes: 3 * h.bytes() + step.bytes() + 4, ops: 3 * h.len() as u64 };
    gpu.op(&RESIDUAL, params, &[h, acc, step, beta, y], Grid::Each(vectors), cost)
}

// --- residual_f32 ---------------------------------------------------------------------------------

pub static RESIDUAL_F32: Kernel =
    Kernel::new::<CountParams>("residual_f32", text!("lm/residual_f32", "snippets/entry"));

/// `y <- h + x`, of any shape.
pub fn residual_f32(gpu: &Gpu, h: &Tensor, x: &Tensor, y: &Tensor) -> Op {
    for tensor in [h, x, y] {
        expect("residual_f32", tensor, F32, h.shape());
    }
    let cost = Cost { bytes: 3 * h.bytes(), ops: h.len() as u64 };
    gpu.op(&RESIDUAL_F32, CountParams { count: h.len() as u32 }, &[h, x, y], Grid::Each(h.len()), cost)
}

// --- relu -----------------------------------------------------------------------------------------

params! { struct CountParams { count: u32 } }

pub static RELU: Kernel = Kernel::new::<CountParams>("relu", text!("train/relu", "snippets/entry"));

/// `y <- max(x, 0)`, of any shape.
pub fn relu(gpu: &Gpu, x: &Tensor, y: &Tensor) -> Op {
    expect("relu", x, F32, y.shape());
    expect("relu", y, F32, x.shape());
    let cost = Cost { bytes: 2 * x.bytes(), ops: x.len() as u64 };
    gpu.op(&RELU, CountParams { count: x.len() as u32 }, &[x, y], Grid::Each(x.len()), cost)
}

// --- relu_dx --------------------------------------------------------------------------------------

pub static RELU_DX: Kernel = Kernel::new::<CountParams>("relu_dx", text!("train/relu_dx", "snippets/entry"));

/// `dx <- dy where x > 0, else 0`, of any shape.
pub fn relu_dx(gpu: &Gpu, x: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    for tensor in [x, dy, dx] {
        expect("relu_dx", tensor, F32, x.shape());
    }
    let cost = Cost { bytes: 3 * x.bytes(), ops: x.len() as u64 };
    gpu.op(&RELU_DX, CountParams { count: x.len() as u32 }, &[x, dy, dx], Grid::Each(x.len()), cost)
}
