//! The float factors of a row that travel beside its integers. Shader: `shaders/rms_factor.wgsl`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};

params! { batch: u32, cols: u32, eps: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "rms_factor",
    concat!(
        include_str!("../../shaders/rms_factor.wgsl"),
        include_str!("../../shaders/row_sum.wgsl"),
        include_str!("../../shaders/grid.wgsl"),
    ),
)
.rowwise();

/// The positive factors of each row of a layer, all `f32 [batch]`.
#[derive(Clone, Debug)]
pub struct Factors {
    /// RMSNorm's output is `gain max(x, 0) norm`.
    pub norm: Tensor,
    /// Real value of one int8 step.
    pub step: Tensor,
    /// Real value of one unit of the layer's accumulators: the `r` of the next layer.
    pub y_scale: Tensor,
}

impl Factors {
    /// Room for `batch` rows.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn zeros(gpu: &Gpu, label: &str, batch: usize) -> Result<Factors, Error> {
        let tensor = |name: &str| gpu.zeros(&format!("{label}.{name}"), F32, &[batch]);
        Ok(Factors { norm: tensor("norm")?, step: tensor("step")?, y_scale: tensor("y_scale")? })
    }
}

/// `norm[b] = r / sqrt(r^2 mean_c max(x[b, c], 0)^2 + eps)`, `step = norm / scale`,
/// `y_scale = beta step`, for integers `x[batch, cols]` whose unit is worth `r[batch]`.
pub fn rms_factor(
    gpu: &Gpu,
    x: &Tensor,
    r: &Tensor,
    scale: &Tensor,
    beta: &Tensor,
    eps: f32,
    out: &Factors,
) -> Op {
    let [batch, cols] = matrix("rms_factor", x);
    expect("rms_factor", x, I32, &[batch, cols]);
    expect("rms_factor", beta, F32, &[1]);
    for tensor in [r, scale, &out.norm, &out.step, &out.y_scale] {
        expect("rms_factor", tensor, F32, &[batch]);
    }
    let params = Params { batch: batch as u32, cols: cols as u32, eps };
    let cost = Cost { bytes: x.bytes() + 20 * batch as u64 + 4, ops: 3 * (batch * cols) as u64 };
    let tensors = [x, r, scale, beta, &out.norm, &out.step, &out.y_scale];
    gpu.op(&KERNEL, params, &tensors, Grid::Groups(batch), cost)
}
