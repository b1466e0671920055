//! Draws a batch from the data set, which is on the device. Shaders: `shaders/train`, `shaders/lm`.

use super::{expect, matrix};
use crate::augment::Distortion;
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params, value};

/// Asserts the shapes of these tensors. Returns the rows of a batch, the values of a row, and the rows of the data
/// set.
fn drawn(kernel: &str, [clock, order, images, labels, x, y]: [&Tensor; 6]) -> [usize; 3] {
    let [batch, pixels] = matrix(kernel, x);
    let count = labels.len();
    expect(kernel, clock, U32, &[2]);
    expect(kernel, order, U32, &[count]);
    expect(kernel, images, U32, &[(count * pixels).div_ceil(4)]);
    expect(kernel, labels, U32, &[count]);
    expect(kernel, x, I32, &[batch, pixels]);
    expect(kernel, y, U32, &[batch]);
    assert!(batch <= count, "{kernel}: a batch of {batch} from {count} images");
    [batch, pixels, count]
}

// --- gather_batch ---------------------------------------------------------------------------------

params! { struct GatherParams { batch: u32, pixels: u32, count: u32 } }

pub static GATHER_BATCH: Kernel =
    Kernel::new::<GatherParams>("gather_batch", text!("train/gather_batch", "snippets/entry"))
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
    let [batch, pixels, count] = drawn("gather_batch", [clock, order, images, labels, x, y]);
    let params = GatherParams { batch: batch as u32, pixels: pixels as u32, count: count as u32 };
    let cost = Cost { bytes: (batch * (5 * pixels + 12)) as u64, ops: 0 };
    gpu.op(
        &GATHER_BATCH,
        params,
        &[clock, order, images, labels, x, y],
        Grid::Each(batch * pixels.next_multiple_of(4)),
        cost,
    )
}

// --- augment_batch --------------------------------------------------------------------------------

params! { struct AugmentParams { batch: u32, height: u32, width: u32, count: u32, seed_low: u32, seed_high: u32, rotation: i32, scale: i32, shear: i32, shift: i32, grain: i32 } }

pub static AUGMENT_BATCH: Kernel = Kernel::new::<AugmentParams>(
    "augment_batch",
    text!("train/augment_batch", "snippets/random", "snippets/entry"),
)
.with(&[("WG", 64.0), ("SPAN", 4.0)], &[("WG", 8.0), ("SPAN", 32.0)])
.doing(Arithmetic::AddI32);

/// `x[b, v, u] = bilinear(images[order[position + b]], A_b (u, v))`, `y[b] = labels[order[position + b]]`, with
/// `clock = {step, position}` and `x[batch, height * width]` as integers 0 to 255. The transform `A_b` is drawn
/// within the ranges of `by` for (seed, step, b).
///
/// `images` is the data set's bytes as uploaded by [`Gpu::upload_bytes`]. `size` is the height and width of one
/// image.
#[allow(clippy::too_many_arguments)] // the arguments of gather_batch, and those of the transforms
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
    let [batch, pixels, count] = drawn("augment_batch", [clock, order, images, labels, x, y]);
    assert_eq!(pixels, height * width, "augment_batch: {pixels} pixels in {height} x {width}");
    assert!(pixels <= super::MOST_COLS, "augment_batch: {pixels} pixels exceed {}", super::MOST_COLS);
    let Distortion { rotation, scale, shear, shift, grain } = *by;
    let params = AugmentParams {
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
    let span = value(AUGMENT_BATCH.overrides(gpu.tuning()), "SPAN").expect("both sets have it");
    let spans = batch * height * width.div_ceil(span);
    gpu.op(&AUGMENT_BATCH, params, &[clock, order, images, labels, x, y], Grid::Each(spans), cost)
}

// --- text_batch -----------------------------------------------------------------------------------

params! { struct TextParams { items: u32, context: u32, count: u32, starts: u32, seed_low: u32, seed_high: u32 } }

pub static TEXT_BATCH: Kernel =
    Kernel::new::<TextParams>("text_batch", text!("lm/text_batch", "snippets/random", "snippets/entry"))
        .doing(Arithmetic::AddI32);

/// `x[i, j] = ids[s_i + j]`, `y[i, j] = ids[s_i + j + 1]`: sequences of a text, and for each token the next token. The
/// shapes are `clock = {step, item}`, `ids[count]`, `x[items, context]` and `y[items * context]`.
///
/// With a seed, the start `s_i` is drawn for (seed, step, i) from the `count - context` starts that have all these
/// tokens. Without a seed, the sequences follow each other: `s_i = (item + i) * context`. After the end of the text,
/// `x` is the last id, and `y` is `u32::MAX`, the label of a row that does not count.
pub fn text_batch(gpu: &Gpu, clock: &Tensor, ids: &Tensor, seed: Option<u64>, x: &Tensor, y: &Tensor) -> Op {
    let [items, context] = matrix("text_batch", x);
    let count = ids.len();
    expect("text_batch", clock, U32, &[2]);
    expect("text_batch", ids, U32, &[count]);
    expect("text_batch", x, I32, &[items, context]);
    expect("text_batch", y, U32, &[items * context]);
    assert!(count > context, "text_batch: {count} ids are no sequence of {context} and the id after it");
    let seed_bits = seed.unwrap_or(0);
    let params = TextParams {
        items: items as u32,
        context: context as u32,
        count: count as u32,
        starts: seed.map_or(0, |_| count - context) as u32,
        seed_low: seed_bits as u32,
        seed_high: (seed_bits >> 32) as u32,
    };
    let cost = Cost { bytes: 16 * (items * context) as u64, ops: 40 * (items * context) as u64 };
    gpu.op(&TEXT_BATCH, params, &[clock, ids, x, y], Grid::Each(items * context), cost)
}
