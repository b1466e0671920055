//! Gain gradient of RMSNorm, on floats. Shader: `shaders/train/rmsnorm_dgain.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32 }

pub static KERNEL: Kernel =
    Kernel::new::<Params>("rmsnorm_dgain", include_str!("../../shaders/train/rmsnorm_dgain.wgsl"))
        .columnwise();

/// `dgain[cols] <- sum_b dy[b, cols] x[b, cols] factor[b]`; `factor[batch]` is [`rmsnorm`](super::rmsnorm)'s.
pub fn rmsnorm_dgain(gpu: &Gpu, x: &Tensor, factor: &Tensor, dy: &Tensor, dgain: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_dgain", x);
    expect("rmsnorm_dgain", x, F32, &[batch, cols]);
    expect("rmsnorm_dgain", factor, F32, &[batch]);
    expect("rmsnorm_dgain", dy, F32, &[batch, cols]);
    expect("rmsnorm_dgain", dgain, F32, &[cols]);
    let params = Params { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 2 * x.bytes() + factor.bytes() + dgain.bytes(), ops: 3 * (batch * cols) as u64 };
    gpu.op(&KERNEL, params, &[x, factor, dy, dgain], Grid::Plane(cols, 1), cost)
}
