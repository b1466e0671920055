//! The scale of a ternary tensor. Shader: `shaders/absmean.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary::{LEAST, mean_factor};

params! { count: u32, factor: f32, least: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "absmean",
    concat!(include_str!("../../shaders/absmean.wgsl"), include_str!("../../shaders/grid.wgsl")),
)
.with(&[], &[]);

/// Values that one workgroup sums.
const BLOCK: usize = 1024;

/// `beta[1] <- max(mean |w|, 1e-5)`: one op per level of the tree, in order.
///
/// # Errors
/// If the partial sums do not fit the adapter.
pub fn absmean(gpu: &Gpu, w: &Tensor, beta: &Tensor) -> Result<Vec<Op>, Error> {
    expect("absmean", w, F32, w.shape());
    expect("absmean", beta, F32, &[1]);
    assert!(!w.is_empty(), "absmean: {} is empty", w.label());
    let mut ops = Vec::new();
    let mut level = w.clone();
    while level.len() > BLOCK {
        let blocks = level.len().div_ceil(BLOCK);
        let sums = gpu.zeros(&format!("{}.sums", w.label()), F32, &[blocks])?;
        ops.push(sum(gpu, &level, &sums, 1.0, 0.0));
        level = sums;
    }
    ops.push(sum(gpu, &level, beta, mean_factor(w.len()), LEAST));
    Ok(ops)
}

fn sum(gpu: &Gpu, w: &Tensor, out: &Tensor, factor: f32, least: f32) -> Op {
    let params = Params { count: w.len() as u32, factor, least };
    let cost = Cost { bytes: w.bytes() + out.bytes(), ops: 2 * w.len() as u64 };
    gpu.op(&KERNEL, params, &[w, out], Grid::Groups(out.len()), cost)
}
