//! The sums that [`absmean`](super::absmean()) starts from. Shader: `shaders/train/abs_sums.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary::BLOCK;

params! { count: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "abs_sums",
    concat!(
        include_str!("../../shaders/train/abs_sums.wgsl"),
        include_str!("../../shaders/snippets/block_sum.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// `sums[k] <- sum |w[i]|` over block `k` of 1024 values. The optimizers leave the same behind of what they moved.
pub fn abs_sums(gpu: &Gpu, w: &Tensor, sums: &Tensor) -> Op {
    assert!(!w.is_empty(), "abs_sums: {} is empty", w.label());
    let blocks = w.len().div_ceil(BLOCK);
    expect("abs_sums", w, F32, w.shape());
    expect("abs_sums", sums, F32, &[blocks]);
    let cost = Cost { bytes: w.bytes() + sums.bytes(), ops: 2 * w.len() as u64 };
    gpu.op(&KERNEL, Params { count: w.len() as u32 }, &[w, sums], Grid::Groups(blocks), cost)
}
