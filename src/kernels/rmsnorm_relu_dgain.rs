//! Gain gradient of RMSNorm after ReLU, from the exact path's integers. Shader: `shaders/rmsnorm_relu_dgain.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32 }

pub static KERNEL: Kernel =
    Kernel::new::<Params>("rmsnorm_relu_dgain", include_str!("../../shaders/rmsnorm_relu_dgain.wgsl"))
        .columnwise();

/// `dgain[cols] <- sum_b dy[b, cols] max(x[b, cols], 0) norm[b]`; `norm[batch]` is [`rms_factor`](super::rms_factor)'s.
pub fn rmsnorm_relu_dgain(gpu: &Gpu, x: &Tensor, norm: &Tensor, dy: &Tensor, dgain: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_relu_dgain", x);
    expect("rmsnorm_relu_dgain", x, I32, &[batch, cols]);
    expect("rmsnorm_relu_dgain", norm, F32, &[batch]);
    expect("rmsnorm_relu_dgain", dy, F32, &[batch, cols]);
    expect("rmsnorm_relu_dgain", dgain, F32, &[cols]);
    let params = Params { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 2 * x.bytes() + norm.bytes() + dgain.bytes(), ops: 4 * (batch * cols) as u64 };
    gpu.op(&KERNEL, params, &[x, norm, dy, dgain], Grid::Plane(cols, 1), cost)
}
