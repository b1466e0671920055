//! The loss, its gradient and the hits. Shader: `shaders/train/softmax_xent.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, classes: u32, smoothing: f32, inverse_batch: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "softmax_xent",
    concat!(
        include_str!("../../shaders/train/softmax_xent.wgsl"),
        include_str!("../../shaders/snippets/xent.wgsl")
    ),
)
.with(&[], &[]);

/// Running sums over the batches of an epoch, and where it stands.
#[derive(Clone, Debug)]
pub struct Totals {
    /// `f32 [1]`: summed loss of the rows, not yet divided by their number.
    pub loss: Tensor,
    /// `u32 [1]`: rows whose largest logit is the label's.
    pub hits: Tensor,
    /// `u32 [2]`: `{step, position}`. Between loss and update of a step it counts that step already: AdamW's `t`.
    pub clock: Tensor,
}

impl Totals {
    /// Sums and a clock that start at zero.
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

    /// Sums from zero again, after the work already submitted; the clock goes on.
    pub fn clear(&self, gpu: &Gpu) {
        gpu.write(&self.loss, &[0.0f32]);
        gpu.write(&self.hits, &[0u32]);
    }
}

/// `loss += sum_b xent(softmax(z[b, :]), labels[b])` with label smoothing, `hits += correct rows`, `clock += {1,
/// batch}`, and `dz[batch, classes] <- ` the gradient of the batch's *mean* loss.
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
    let params =
        Params { batch: batch as u32, classes: classes as u32, smoothing, inverse_batch: 1.0 / batch as f32 };
    let cost = Cost { bytes: 2 * z.bytes() + labels.bytes() + 32, ops: 8 * (batch * classes) as u64 };
    gpu.op(&KERNEL, params, &[z, labels, dz, loss, hits, clock], Grid::Groups(1), cost)
}
