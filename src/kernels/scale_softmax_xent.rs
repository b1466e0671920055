//! The loss from the last layer's accumulators. Shader: `shaders/train/scale_softmax_xent.wgsl`.

use super::{Totals, expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, classes: u32, smoothing: f32, inverse_batch: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "scale_softmax_xent",
    concat!(
        include_str!("../../shaders/train/scale_softmax_xent.wgsl"),
        include_str!("../../shaders/snippets/xent.wgsl")
    ),
)
.with(&[], &[]);

/// `z[batch, classes] <- scale[batch] acc[batch, classes]`, then [`softmax_xent`](super::softmax_xent()) of `z`.
#[allow(clippy::too_many_arguments)] // softmax_xent's, and what its logits are made of
pub fn scale_softmax_xent(
    gpu: &Gpu,
    acc: &Tensor,
    scale: &Tensor,
    labels: &Tensor,
    smoothing: f32,
    z: &Tensor,
    dz: &Tensor,
    totals: &Totals,
) -> Op {
    let [batch, classes] = matrix("scale_softmax_xent", acc);
    expect("scale_softmax_xent", acc, I32, &[batch, classes]);
    expect("scale_softmax_xent", scale, F32, &[batch]);
    expect("scale_softmax_xent", labels, U32, &[batch]);
    for tensor in [z, dz] {
        expect("scale_softmax_xent", tensor, F32, &[batch, classes]);
    }
    totals.expect("scale_softmax_xent");
    let Totals { loss, hits, clock } = totals;
    let params =
        Params { batch: batch as u32, classes: classes as u32, smoothing, inverse_batch: 1.0 / batch as f32 };
    let cost = Cost { bytes: 3 * z.bytes() + 2 * labels.bytes() + 32, ops: 9 * (batch * classes) as u64 };
    gpu.op(&KERNEL, params, &[acc, scale, labels, z, dz, loss, hits, clock], Grid::Groups(1), cost)
}
