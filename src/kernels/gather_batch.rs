//! Draws a batch from the data set that lives on the device. Shader: `shaders/train/gather_batch.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, pixels: u32, count: u32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "gather_batch",
    concat!(
        include_str!("../../shaders/train/gather_batch.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    ),
)
.tiled([4, 1])
.doing(Arithmetic::AddI32);

/// `x[b, c] = images[order[position + b], c]`, `y[b] = labels[order[position + b]]`, with
/// `clock = {step, position}` and `x[batch, pixels]` as integers 0 to 255.
///
/// `images` is the data set's bytes as uploaded by [`Gpu::upload_bytes`].
pub fn gather_batch(
    gpu: &Gpu,
    clock: &Tensor,
    order: &Tensor,
    images: &Tensor,
    labels: &Tensor,
    x: &Tensor,
    y: &Tensor,
) -> Op {
    let [batch, pixels] = matrix("gather_batch", x);
    let count = labels.len();
    expect("gather_batch", clock, U32, &[2]);
    expect("gather_batch", order, U32, &[count]);
    expect("gather_batch", images, U32, &[(count * pixels).div_ceil(4)]);
    expect("gather_batch", labels, U32, &[count]);
    expect("gather_batch", x, I32, &[batch, pixels]);
    expect("gather_batch", y, U32, &[batch]);
    assert!(batch <= count, "gather_batch: a batch of {batch} from {count} images");
    let params = Params { batch: batch as u32, pixels: pixels as u32, count: count as u32 };
    let cost = Cost { bytes: (batch * (5 * pixels + 12)) as u64, ops: 0 };
    gpu.op(
        &KERNEL,
        params,
        &[clock, order, images, labels, x, y],
        Grid::Each(batch * pixels.next_multiple_of(4)),
        cost,
    )
}
