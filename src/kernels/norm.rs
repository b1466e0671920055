//! RMSNorm and its gradients: on floats, and on the integers of the exact path. Shaders: `shaders/train` and
//! `shaders/lm`.

use super::{Int8Tensor, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Overrides, PART, Tensor, params, value};
use crate::ternary;

// --- rmsnorm --------------------------------------------------------------------------------------

params! { struct NormParams { batch: u32, cols: u32, eps: f32 } }

pub static RMSNORM: Kernel =
    Kernel::new::<NormParams>("rmsnorm", text!("train/rmsnorm", "snippets/row_sum", "snippets/entry"))
        .rowwise();

/// `y[batch, cols] <- gain[cols] x[batch, cols] factor[batch]`,
/// `factor[b] <- 1 / sqrt(mean_c x[b, c]^2 + eps)`.
pub fn rmsnorm(gpu: &Gpu, x: &Tensor, gain: &Tensor, eps: f32, y: &Tensor, factor: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm", x);
    expect("rmsnorm", x, F32, &[batch, cols]);
    expect("rmsnorm", gain, F32, &[cols]);
    expect("rmsnorm", y, F32, &[batch, cols]);
    expect("rmsnorm", factor, F32, &[batch]);
    let params = NormParams { batch: batch as u32, cols: cols as u32, eps };
    let cost = Cost { bytes: 2 * x.bytes() + gain.bytes() + factor.bytes(), ops: 4 * (batch * cols) as u64 };
    gpu.op(&RMSNORM, params, &[x, gain, y, factor], Grid::Groups(batch), cost)
}

// --- rmsnorm_dx -----------------------------------------------------------------------------------

params! { struct GradientParams { batch: u32, cols: u32 } }

pub static RMSNORM_DX: Kernel = Kernel::new::<GradientParams>(
    "rmsnorm_dx",
    text!("train/rmsnorm_dx", "snippets/row_sum", "snippets/entry"),
)
.rowwise();

/// The gradient of the input: `dx[batch, cols] <- factor (gain dy - n mean(gain dy n))` with `n = x factor`.
/// `factor[batch]` is an output of [`rmsnorm`](super::rmsnorm).
pub fn rmsnorm_dx(gpu: &Gpu, x: &Tensor, gain: &Tensor, factor: &Tensor, dy: &Tensor, dx: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_dx", x);
    for tensor in [x, dy, dx] {
        expect("rmsnorm_dx", tensor, F32, &[batch, cols]);
    }
    expect("rmsnorm_dx", gain, F32, &[cols]);
    expect("rmsnorm_dx", factor, F32, &[batch]);
    let params = GradientParams { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 3 * x.bytes() + gain.bytes() + factor.bytes(), ops: 8 * (batch * cols) as u64 };
    gpu.op(&RMSNORM_DX, params, &[x, gain, factor, dy, dx], Grid::Groups(batch), cost)
}

// --- rmsnorm_dgain --------------------------------------------------------------------------------

pub static RMSNORM_DGAIN: Kernel =
    Kernel::new::<GradientParams>("rmsnorm_dgain", text!("train/rmsnorm_dgain")).columnwise();

/// The gradient of the gain: `dgain[cols] <- sum_b dy[b, cols] x[b, cols] factor[b]`. `factor[batch]` is an output of
/// [`rmsnorm`](super::rmsnorm).
pub fn rmsnorm_dgain(gpu: &Gpu, x: &Tensor, factor: &Tensor, dy: &Tensor, dgain: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_dgain", x);
    expect("rmsnorm_dgain", x, F32, &[batch, cols]);
    expect("rmsnorm_dgain", factor, F32, &[batch]);
    expect("rmsnorm_dgain", dy, F32, &[batch, cols]);
    expect("rmsnorm_dgain", dgain, F32, &[cols]);
    let params = GradientParams { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 2 * x.bytes() + factor.bytes() + dgain.bytes(), ops: 3 * (batch * cols) as u64 };
    gpu.op(&RMSNORM_DGAIN, params, &[x, factor, dy, dgain], Grid::Plane(cols, 1), cost)
}

// --- rmsnorm_quantize -----------------------------------------------------------------------------

params! { struct QuantizeParams { batch: u32, cols: u32, words: u32, stride: u32, eps: f32 } }

const ANY_RMSNORM_QUANTIZE: Kernel = Kernel::new::<QuantizeParams>(
    "rmsnorm_quantize",
    text!(
        "train/rmsnorm_quantize",
        "snippets/row_relu",
        "snippets/gains",
        "snippets/pinned",
        "snippets/norm_factor",
        "snippets/quantize_row",
        "snippets/int8",
        "snippets/entry"
    ),
);

/// One variant for any rows, and one for rows that start at multiples of four elements.
pub static RMSNORM_QUANTIZE: &[&Kernel] =
    &[&ANY_RMSNORM_QUANTIZE.rowwise(), &ANY_RMSNORM_QUANTIZE.whole_rowwise()];

/// The positive factors of each row of a layer. All are `f32 [batch]` and parts of one tensor.
#[derive(Clone, Debug)]
pub struct Factors {
    /// The factor of RMSNorm: its output is `gain max(x, 0) norm`.
    pub norm: Tensor,
    /// The real value of one int8 step.
    pub step: Tensor,
    /// The real value of one unit of the layer's accumulators. It is the `r` of the next layer.
    pub y_scale: Tensor,
    all: Tensor,
}

impl Factors {
    /// Factors for `batch` rows, all zero.
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

/// RMSNorm of `max(x, 0)` for integers `x[batch, cols]`, quantised. It writes `q`, `scale` and `sum` of `gain max(x,
/// 0)` for each row, and the factors `norm[b] = r / sqrt(r^2 mean_c max(x[b, c], 0)^2 + eps)`, `step = norm / scale`
/// and `y_scale = beta step`. `r[batch]` is the real value of one unit of `x`.
#[allow(clippy::too_many_arguments)] // the arguments of a norm and of a quantiser
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
    out.expect("rmsnorm_quantize", batch, cols);
    expect("rmsnorm_quantize", &factors.all, F32, &[3, stride]);
    let [b, c, w, s] = [batch, cols, words, stride].map(|n| n as u32);
    let params = QuantizeParams { batch: b, cols: c, words: w, stride: s, eps };
    let cost = Cost {
        bytes: x.bytes() + gain.bytes() + out.q.bytes() + 24 * batch as u64 + 4,
        ops: 9 * (batch * cols) as u64,
    };
    let tensors = [x, r, gain, beta, &out.q, &out.scale, &out.sum, &factors.all];
    let kernel = for_columns(RMSNORM_QUANTIZE, cols);
    gpu.op(kernel, params, &tensors, Grid::Groups(batch), cost)
}

// --- rmsnorm_quantize_f32 -------------------------------------------------------------------------

params! { struct QuantizeFloatsParams { batch: u32, cols: u32, words: u32, eps: f32 } }

const ANY_RMSNORM_QUANTIZE_F32: Kernel = Kernel::new::<QuantizeFloatsParams>(
    "rmsnorm_quantize_f32",
    text!(
        "lm/rmsnorm_quantize_f32",
        "snippets/row_f32",
        "snippets/gains",
        "snippets/pinned",
        "snippets/norm_factor",
        "snippets/quantize_row",
        "snippets/int8",
        "snippets/entry"
    ),
);

/// One variant for any rows, and one for rows that start at multiples of four elements.
pub static RMSNORM_QUANTIZE_F32: &[&Kernel] =
    &[&ANY_RMSNORM_QUANTIZE_F32, &ANY_RMSNORM_QUANTIZE_F32.with(WHOLE[0], WHOLE[1])];

/// Rows of whole vectors, by workgroups of one vector of a CPU: in short rows, sums over the workgroup cost most.
pub(super) const WHOLE: [Overrides; 2] = [&[("WG", 64.0), ("WHOLE", 1.0)], &[("WG", 8.0), ("WHOLE", 1.0)]];

/// `norm[batch] <- 1 / sqrt(mean_c x[b, c]^2 + eps)`, and RMSNorm's output `gain x norm` quantised by row. `q` and
/// `sum` are those of `gain x` with `scale = 127 / max(max |gain x|, 1e-5 / norm)`. `step[batch] <- norm / scale` is
/// the real value of one code.
pub fn rmsnorm_quantize_f32(
    gpu: &Gpu,
    x: &Tensor,
    gain: &Tensor,
    eps: f32,
    out: &Int8Tensor,
    norm: &Tensor,
    step: &Tensor,
) -> Op {
    let [batch, cols] = matrix("rmsnorm_quantize_f32", x);
    let words = ternary::words(cols);
    expect("rmsnorm_quantize_f32", x, F32, &[batch, cols]);
    expect("rmsnorm_quantize_f32", gain, F32, &[cols]);
    out.expect("rmsnorm_quantize_f32", batch, cols);
    for tensor in [norm, step] {
        expect("rmsnorm_quantize_f32", tensor, F32, &[batch]);
    }
    let [b, c, w] = [batch, cols, words].map(|n| n as u32);
    let params = QuantizeFloatsParams { batch: b, cols: c, words: w, eps };
    let cost = Cost {
        bytes: x.bytes() + gain.bytes() + out.q.bytes() + 16 * batch as u64,
        ops: 7 * (batch * cols) as u64,
    };
    let tensors = [x, gain, &out.q, &out.scale, &out.sum, norm, step];
    let kernel = for_columns(RMSNORM_QUANTIZE_F32, cols);
    gpu.op(kernel, params, &tensors, Grid::Groups(batch), cost)
}

// --- residual_quantize ----------------------------------------------------------------------------

/// The overrides of a kernel for a single row, whose workgroup has nothing beside it on a GPU.
pub(super) const ALONE: [Overrides; 2] = [&[("WG", 256.0)], &[("WG", 16.0)]];

pub static RESIDUAL_QUANTIZE: Kernel = Kernel::new::<QuantizeFloatsParams>(
    "residual_quantize",
    text!(
        "lm/residual_quantize",
        "snippets/gains",
        "snippets/pinned",
        "snippets/norm_factor",
        "snippets/quantize_row",
        "snippets/int8",
        "snippets/entry"
    ),
)
.with(ALONE[0], ALONE[1]);

/// `h[batch, cols] += beta step_in[batch] acc[batch, cols]`, then [`rmsnorm_quantize_f32`] of `h`: codes, their sums and
/// the real value of one of them. The scales of `out` do not change. The columns are a multiple of 4.
#[allow(clippy::too_many_arguments)] // the arguments of a residual, a norm and a quantiser
pub fn residual_quantize(
    gpu: &Gpu,
    acc: &Tensor,
    step_in: &Tensor,
    beta: &Tensor,
    gain: &Tensor,
    eps: f32,
    h: &Tensor,
    out: &Int8Tensor,
    step: &Tensor,
) -> Op {
    let name = "residual_quantize";
    let [batch, cols] = matrix(name, h);
    assert!(cols.is_multiple_of(4), "{name}: rows of {cols} are not whole vectors of four");
    expect(name, acc, I32, &[batch, cols]);
    expect(name, beta, F32, &[1]);
    expect(name, gain, F32, &[cols]);
    expect(name, h, F32, &[batch, cols]);
    out.expect(name, batch, cols);
    for tensor in [step_in, step] {
        expect(name, tensor, F32, &[batch]);
    }
    let [b, c, w] = [batch, cols, ternary::words(cols)].map(|n| n as u32);
    let params = QuantizeFloatsParams { batch: b, cols: c, words: w, eps };
    let cost = Cost {
        bytes: 3 * h.bytes() + gain.bytes() + out.q.bytes() + 12 * batch as u64 + 4,
        ops: 10 * (batch * cols) as u64,
    };
    let tensors = [acc, step_in, beta, gain, h, &out.q, &out.sum, step];
    gpu.op(&RESIDUAL_QUANTIZE, params, &tensors, Grid::Groups(batch), cost)
}

// --- rmsnorm_backward -----------------------------------------------------------------------------

params! { struct BackwardParams { batch: u32, cols: u32, accumulate: u32 } }

pub static RMSNORM_BACKWARD: &[&Kernel] =
    backward!(BackwardParams, "rmsnorm_backward", ["lm/rmsnorm_backward", "snippets/row_f32"]);

/// `dx[batch, cols] <- norm (gain dy - n mean(gain dy n))` and `dgain[cols] <- sum_b dy n`, with `n = x norm`. If
/// `accumulate` is true, the gradient is added to `dx`. `norm[batch]` is the factor of [`rmsnorm`](super::rmsnorm()) or
/// the norm of [`rmsnorm_quantize_f32`](super::rmsnorm_quantize_f32()).
#[allow(clippy::too_many_arguments)] // two gradients of one function
pub fn rmsnorm_backward(
    gpu: &Gpu,
    x: &Tensor,
    gain: &Tensor,
    norm: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    dgain: &Tensor,
    accumulate: bool,
) -> Op {
    let [batch, cols] = matrix("rmsnorm_backward", x);
    for tensor in [x, dy, dx] {
        expect("rmsnorm_backward", tensor, F32, &[batch, cols]);
    }
    for tensor in [gain, dgain] {
        expect("rmsnorm_backward", tensor, F32, &[cols]);
    }
    expect("rmsnorm_backward", norm, F32, &[batch]);
    let params = BackwardParams { batch: batch as u32, cols: cols as u32, accumulate: accumulate.into() };
    let read_again = if accumulate { dx.bytes() } else { 0 };
    let cost = Cost {
        bytes: 5 * x.bytes() + read_again + 2 * gain.bytes() + 2 * norm.bytes(),
        ops: 11 * (batch * cols) as u64,
    };
    let kernel = for_columns(RMSNORM_BACKWARD, cols);
    let grid = Grid::Groups(batch + column_groups(kernel.overrides(gpu.tuning()), cols));
    gpu.op(kernel, params, &[x, gain, norm, dy, dx, dgain], grid, cost)
}

// --- rmsnorm_relu_backward ------------------------------------------------------------------------

/// Workgroups whose lanes take four columns each. On a GPU eight lanes share these columns, each with a slice of the
/// batch.
pub(super) const SLICED: [Overrides; 2] = [&[("WG", 64.0), ("SLICES", 8.0)], &[("WG", 8.0), ("SLICES", 1.0)]];
pub(super) const SLICED_WHOLE: [Overrides; 2] =
    [&[("WG", 64.0), ("SLICES", 8.0), ("WHOLE", 1.0)], &[("WG", 8.0), ("SLICES", 1.0), ("WHOLE", 1.0)]];

pub static RMSNORM_RELU_BACKWARD: &[&Kernel] =
    backward!(GradientParams, "rmsnorm_relu_backward", ["train/rmsnorm_relu_backward", "snippets/row_relu"]);

/// The gradients of the real values `r x` and of the gain: `dx[batch, cols] <- norm / r (gain dy - n mean(gain dy n))
/// where x > 0, else 0`, and `dgain[cols] <- sum_b dy n`, with `n = max(x, 0) norm`. `norm[batch]` is an output of
/// [`rmsnorm_quantize`](super::rmsnorm_quantize()), and `r[batch]` is its input.
#[allow(clippy::too_many_arguments)] // the arguments of two gradients
pub fn rmsnorm_relu_backward(
    gpu: &Gpu,
    x: &Tensor,
    gain: &Tensor,
    r: &Tensor,
    norm: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    dgain: &Tensor,
) -> Op {
    let [batch, cols] = matrix("rmsnorm_relu_backward", x);
    expect("rmsnorm_relu_backward", x, I32, &[batch, cols]);
    expect("rmsnorm_relu_backward", r, F32, &[batch]);
    expect("rmsnorm_relu_backward", norm, F32, &[batch]);
    for tensor in [gain, dgain] {
        expect("rmsnorm_relu_backward", tensor, F32, &[cols]);
    }
    for tensor in [dy, dx] {
        expect("rmsnorm_relu_backward", tensor, F32, &[batch, cols]);
    }
    let params = GradientParams { batch: batch as u32, cols: cols as u32 };
    let cost =
        Cost { bytes: 5 * x.bytes() + 2 * gain.bytes() + 3 * r.bytes(), ops: 13 * (batch * cols) as u64 };
    let kernel = for_columns(RMSNORM_RELU_BACKWARD, cols);
    let grid = Grid::Groups(batch + column_groups(kernel.overrides(gpu.tuning()), cols));
    gpu.op(kernel, params, &[x, gain, r, norm, dy, dx, dgain], grid, cost)
}

// --- rmsnorm_relu_dgain ---------------------------------------------------------------------------

const ANY_RMSNORM_RELU_DGAIN: Kernel = Kernel::new::<GradientParams>(
    "rmsnorm_relu_dgain",
    text!(
        "train/rmsnorm_relu_dgain",
        "snippets/row_relu",
        "snippets/gradients",
        "snippets/dgain_columns",
        "snippets/entry"
    ),
);

/// One variant for any rows, and one for rows that start at multiples of four elements.
pub static RMSNORM_RELU_DGAIN: &[&Kernel] = &[
    &ANY_RMSNORM_RELU_DGAIN.with(SLICED[0], SLICED[1]),
    &ANY_RMSNORM_RELU_DGAIN.with(SLICED_WHOLE[0], SLICED_WHOLE[1]),
];

/// Number of workgroups for `cols` columns, with four columns per lane and `SLICES` lanes per column.
pub(super) fn column_groups(overrides: Overrides, cols: usize) -> usize {
    let [lanes, slices] =
        ["WG", "SLICES"].map(|name| value(overrides, name).expect("the kernel declares both"));
    cols.div_ceil(4 * lanes / slices)
}

/// The gradient of the gain: `dgain[cols] <- sum_b dy[b, cols] max(x[b, cols], 0) norm[b]`. `norm[batch]` is an
/// output of [`rmsnorm_quantize`](super::rmsnorm_quantize()).
pub fn rmsnorm_relu_dgain(gpu: &Gpu, x: &Tensor, norm: &Tensor, dy: &Tensor, dgain: &Tensor) -> Op {
    let [batch, cols] = matrix("rmsnorm_relu_dgain", x);
    expect("rmsnorm_relu_dgain", x, I32, &[batch, cols]);
    expect("rmsnorm_relu_dgain", norm, F32, &[batch]);
    expect("rmsnorm_relu_dgain", dy, F32, &[batch, cols]);
    expect("rmsnorm_relu_dgain", dgain, F32, &[cols]);
    let params = GradientParams { batch: batch as u32, cols: cols as u32 };
    let cost = Cost { bytes: 2 * x.bytes() + norm.bytes() + dgain.bytes(), ops: 4 * (batch * cols) as u64 };
    let kernel = for_columns(RMSNORM_RELU_DGAIN, cols);
    let grid = Grid::Groups(column_groups(kernel.overrides(gpu.tuning()), cols));
    gpu.op(kernel, params, &[x, norm, dy, dgain], grid, cost)
}
