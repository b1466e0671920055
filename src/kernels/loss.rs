//! Softmax and cross-entropy: the loss, its gradient and the hits. Shaders: `shaders/train` and `shaders/lm`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};
pub use crate::text::IGNORE;

// --- softmax_xent ---------------------------------------------------------------------------------

params! { struct LossParams { batch: u32, classes: u32, smoothing: f32, inverse_batch: f32 } }

pub static SOFTMAX_XENT: Kernel =
    Kernel::new::<LossParams>("softmax_xent", text!("train/softmax_xent", "snippets/xent")).with(&[], &[]);

/// Running sums over the batches of an epoch, and the position in it.
#[derive(Clone, Debug)]
pub struct Totals {
    /// `f32 [1]`: sum of the losses of all rows, not yet divided by their number.
    pub loss: Tensor,
    /// `u32 [1]`: number of rows whose largest logit is that of the label.
    pub hits: Tensor,
    /// `u32 [2]`: `{step, position}`. After the loss of a step, `step` includes this step. It is then the `t` of
    /// AdamW.
    pub clock: Tensor,
}

impl Totals {
    /// Sums and a clock, all zero.
    ///
    /// # Errors
    /// If the adapter cannot bind them.
    pub fn zeros(gpu: &Gpu, label: &str) -> Result<Totals, Error> {
        Ok(Totals {
            loss: gpu.zeros(&format!("{label}.loss"), F32, &[1])?,
            hits: gpu.zeros(&format!("{label}.hits"), U32, &[1])?,
            clock: gpu.zeros(&format!("{label}.clock"), U32, &[2])?,
        })
    }

    pub(super) fn expect(&self, kernel: &str) {
        expect(kernel, &self.loss, F32, &[1]);
        expect(kernel, &self.hits, U32, &[1]);
        expect(kernel, &self.clock, U32, &[2]);
    }

    /// Sets the sums to zero, after all work already submitted. The clock keeps its value.
    pub fn clear(&self, gpu: &Gpu) {
        gpu.write(&self.loss, &[0.0f32]);
        gpu.write(&self.hits, &[0u32]);
    }
}

/// `loss += sum_b xent(softmax(z[b, :]), labels[b])` with label smoothing, `hits += correct rows`, `clock += {1,
/// batch}`, and `dz[batch, classes] <-` the gradient of the batch's *mean* loss.
pub fn softmax_xent(
    gpu: &Gpu,
    z: &Tensor,
    labels: &Tensor,
    smoothing: f32,
    dz: &Tensor,
    totals: &Totals,
) -> Op {
    let [batch, classes] = matrix("softmax_xent", z);
    expect("softmax_xent", z, F32, &[batch, classes]);
    expect("softmax_xent", labels, U32, &[batch]);
    expect("softmax_xent", dz, F32, &[batch, classes]);
    totals.expect("softmax_xent");
    let Totals { loss, hits, clock } = totals;
    let params = LossParams {
        batch: batch as u32,
        classes: classes as u32,
        smoothing,
        inverse_batch: 1.0 / batch as f32,
    };
    let cost = Cost { bytes: 2 * z.bytes() + labels.bytes() + 32, ops: 8 * (batch * classes) as u64 };
    gpu.op(&SOFTMAX_XENT, params, &[z, labels, dz, loss, hits, clock], Grid::Groups(1), cost)
}

// --- scale_softmax_xent ---------------------------------------------------------------------------

pub static SCALE_SOFTMAX_XENT: Kernel =
    Kernel::new::<LossParams>("scale_softmax_xent", text!("train/scale_softmax_xent", "snippets/xent"))
        .with(&[], &[]);

/// `z[batch, classes] <- scale[batch] acc[batch, classes]`, then [`softmax_xent`](super::softmax_xent()) of `z`.
#[allow(clippy::too_many_arguments)] // the arguments of softmax_xent, and those of scale_rows
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
    let params = LossParams {
        batch: batch as u32,
        classes: classes as u32,
        smoothing,
        inverse_batch: 1.0 / batch as f32,
    };
    let cost = Cost { bytes: 3 * z.bytes() + 2 * labels.bytes() + 32, ops: 9 * (batch * classes) as u64 };
    gpu.op(
        &SCALE_SOFTMAX_XENT,
        params,
        &[acc, scale, labels, z, dz, loss, hits, clock],
        Grid::Groups(1),
        cost,
    )
}

// --- xent_rows ------------------------------------------------------------------------------------

params! { struct RowsParams { batch: u32, classes: u32, smoothing: f32, inverse_counted: f32 } }

pub static XENT_ROWS: Kernel =
    Kernel::new::<RowsParams>("xent_rows", text!("lm/xent_rows", "snippets/entry")).rowwise();

/// `losses[batch] <- xent(softmax(z[b, :]), labels[b])` with label smoothing, `hits[batch] <- 1` where the label has
/// the largest logit, else 0, and `dz[batch, classes] <- ` the gradient of the mean over the `counted` rows. These are
/// the rows whose label is not [`IGNORE`]. The other rows give zeros. [`xent_totals`] adds the rows.
#[allow(clippy::too_many_arguments)] // a loss, its gradient and the hits
pub fn xent_rows(
    gpu: &Gpu,
    z: &Tensor,
    labels: &Tensor,
    smoothing: f32,
    counted: usize,
    dz: &Tensor,
    losses: &Tensor,
    hits: &Tensor,
) -> Op {
    let [batch, classes] = matrix("xent_rows", z);
    for tensor in [z, dz] {
        expect("xent_rows", tensor, F32, &[batch, classes]);
    }
    expect("xent_rows", labels, U32, &[batch]);
    expect("xent_rows", losses, F32, &[batch]);
    expect("xent_rows", hits, U32, &[batch]);
    let inverse_counted = 1.0 / counted as f32;
    let params = RowsParams { batch: batch as u32, classes: classes as u32, smoothing, inverse_counted };
    let cost = Cost { bytes: 2 * z.bytes() + 3 * labels.bytes(), ops: 8 * z.len() as u64 };
    gpu.op(&XENT_ROWS, params, &[z, labels, dz, losses, hits], Grid::Groups(batch), cost)
}

// --- xent_totals ----------------------------------------------------------------------------------

params! { struct TotalsParams { batch: u32, items: u32 } }

pub static XENT_TOTALS: Kernel =
    Kernel::new::<TotalsParams>("xent_totals", text!("lm/xent_totals", "snippets/block_sum"));

/// `loss += sum_b losses[b]`, `hits += sum_b hits[b]` over the results of [`xent_rows`], in a fixed order.
/// `clock += {1, items}`.
pub fn xent_totals(gpu: &Gpu, losses: &Tensor, hits: &Tensor, items: usize, totals: &Totals) -> Op {
    let batch = losses.len();
    expect("xent_totals", losses, F32, &[batch]);
    expect("xent_totals", hits, U32, &[batch]);
    totals.expect("xent_totals");
    let params = TotalsParams { batch: batch as u32, items: items as u32 };
    let cost = Cost { bytes: 2 * losses.bytes() + 32, ops: 2 * batch as u64 };
    let tensors = [losses, hits, &totals.loss, &totals.hits, &totals.clock];
    gpu.op(&XENT_TOTALS, params, &tensors, Grid::Groups(1), cost)
}
