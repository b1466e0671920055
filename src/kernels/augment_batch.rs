//! Draws a batch from the data set and varies each image afresh. Shader: `shaders/train/augment_batch.wgsl`.

use super::{expect, matrix};
use crate::augment::Distortion;
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params, value};

params! {
    batch: u32, height: u32, width: u32, count: u32, seed_low: u32, seed_high: u32,
    rotation: i32, scale: i32, shear: i32, shift: i32, grain: i32,
}

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "augment_batch",
    concat!(
        include_str!("../../shaders/train/augment_batch.wgsl"),
        include_str!("../../shaders/snippets/random.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
)
.with(&[("WG", 64.0), ("SPAN", 4.0)], &[("WG", 8.0), ("SPAN", 32.0)])
.doing(Arithmetic::AddI32);

/// `x[b, v, u] = bilinear(images[order[position + b]], A_b (u, v))`, `y[b] = labels[order[position + b]]`,
/// with `clock = {step, position}`, `x[batch, height * width]` as integers 0 to 255, and `A_b` drawn from
/// `by` for (seed, step, b).
///
/// `images` is the data set's bytes as uploaded by [`Gpu::upload_bytes`], `size` height and width of one.
#[allow(clippy::too_many_arguments)] // what gather_batch takes, and how to vary it
pub fn augment_batch(
    gpu: &Gpu,
    by: &Distortion,
    seed: u64,
    clock: &Tensor,
    order: &Tensor,
    images: &Tensor,
    labels: &Tensor,
    [height, width]: [usize; 2],
    x: &Tensor,
    y: &Tensor,
) -> Op {
    let [batch, pixels] = matrix("augment_batch", x);
    let count = labels.len();
    assert_eq!(pixels, height * width, "augment_batch: {pixels} pixels in {height} x {width}");
    assert!(pixels <= super::MOST_COLS, "augment_batch: {pixels} pixels exceed {}", super::MOST_COLS);
    expect("augment_batch", clock, U32, &[2]);
    expect("augment_batch", order, U32, &[count]);
    expect("augment_batch", images, U32, &[(count * pixels).div_ceil(4)]);
    expect("augment_batch", labels, U32, &[count]);
    expect("augment_batch", x, I32, &[batch, pixels]);
    expect("augment_batch", y, U32, &[batch]);
    assert!(batch <= count, "augment_batch: a batch of {batch} from {count} images");
    let Distortion { rotation, scale, shear, shift, grain } = *by;
    let params = Params {
        batch: batch as u32,
        height: height as u32,
        width: width as u32,
        count: count as u32,
        seed_low: seed as u32,
        seed_high: (seed >> 32) as u32,
        rotation,
        scale,
        shear,
        shift,
        grain,
    };
    let cost = Cost { bytes: (batch * (8 * pixels + 12)) as u64, ops: 20 * (batch * pixels) as u64 };
    let span = value(KERNEL.overrides(gpu.tuning()), "SPAN").expect("both sets have it");
    let spans = batch * height * width.div_ceil(span);
    gpu.op(&KERNEL, params, &[clock, order, images, labels, x, y], Grid::Each(spans), cost)
}
