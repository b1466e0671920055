//! Integers through ReLU and RMSNorm to int8: the exact path. Shader: `shaders/train/rmsnorm_quantize.wgsl`.

use super::{Int8Tensor, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, PART, Tensor, params};
use crate::ternary;

params! { batch: u32, cols: u32, words: u32, stride: u32, eps: f32 }

const BASE: Kernel = Kernel::new::<Params>(
    "rmsnorm_quantize",
    concat!(
        include_str!("../../shaders/train/rmsnorm_quantize.wgsl"),
        include_str!("../../shaders/snippets/quantize_row.wgsl"),
        include_str!("../../shaders/snippets/int8.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// For any rows, and for such as start at whole vectors of four.
pub static VARIANTS: &[&Kernel] = &[&BASE.rowwise(), &BASE.whole_rowwise()];

/// The positive factors of each row of a layer, all `f32 [batch]`, parts of one tensor.
#[derive(Clone, Debug)]
pub struct Factors {
    /// RMSNorm's output is `gain max(x, 0) norm`.
    pub norm: Tensor,
    /// Real value of one int8 step.
    pub step: Tensor,
    /// Real value of one unit of the layer's accumulators: the `r` of the next layer.
    pub y_scale: Tensor,
    all: Tensor,
}

impl Factors {
    /// Room for `batch` rows.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn zeros(gpu: &Gpu, label: &str, batch: usize) -> Result<Factors, Error> {
        let stride = batch.next_multiple_of(PART);
        let all = gpu.zeros(&format!("{label}.factors"), F32, &[3, stride])?;
        let part = |i: usize, name: &str| all.part(&format!("{label}.{name}"), i * stride, &[batch]);
        Ok(Factors { norm: part(0, "norm"), step: part(1, "step"), y_scale: part(2, "y_scale"), all })
    }
}

/// `q`, `scale` and `sum` of `gain max(x, 0)`, quantised by row, for integers `x[batch, cols]`, and beside them
/// `norm[b] = r / sqrt(r^2 mean_c max(x[b, c], 0)^2 + eps)`, `step = norm / scale`, `y_scale = beta step`; one
/// unit of `x` is worth `r[batch]`.
#[allow(clippy::too_many_arguments)] // a norm and a quantiser
pub fn rmsnorm_quantize(
    gpu: &Gpu,
    x: &Tensor,
    r: &Tensor,
    gain: &Tensor,
    beta: &Tensor,
    eps: f32,
    out: &Int8Tensor,
    factors: &Factors,
) -> Op {
    let [batch, cols] = matrix("rmsnorm_quantize", x);
    let words = ternary::words(cols);
    let stride = batch.next_multiple_of(PART);
    expect("rmsnorm_quantize", x, I32, &[batch, cols]);
    expect("rmsnorm_quantize", r, F32, &[batch]);
    expect("rmsnorm_quantize", gain, F32, &[cols]);
    expect("rmsnorm_quantize", beta, F32, &[1]);
    expect("rmsnorm_quantize", &out.q, U32, &[batch, 4 * words]);
    expect("rmsnorm_quantize", &out.scale, F32, &[batch]);
    expect("rmsnorm_quantize", &out.sum, I32, &[batch]);
    expect("rmsnorm_quantize", &factors.all, F32, &[3, stride]);
    let [b, c, w, s] = [batch, cols, words, stride].map(|n| n as u32);
    let params = Params { batch: b, cols: c, words: w, stride: s, eps };
    let cost = Cost {
        bytes: x.bytes() + gain.bytes() + out.q.bytes() + 24 * batch as u64 + 4,
        ops: 9 * (batch * cols) as u64,
    };
    let tensors = [x, r, gain, beta, &out.q, &out.scale, &out.sum, &factors.all];
    let kernel = for_columns(VARIANTS, cols);
    gpu.op(kernel, params, &tensors, Grid::Groups(batch), cost)
}
