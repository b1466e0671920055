//! The gate of a feed-forward block and its gradients: the squared ReLU, `z = max(gate, 0)^2 up`, or SiLU,
//! `z = gate / (1 + exp(-gate)) up`. Both work on floats. The squared ReLU also works on the integers of the exact
//! path, together with the norm that follows. Gates and ups lie in one matrix: each row has first the gates, then the ups. Shaders: `shaders/lm`.

use super::norm::{WHOLE, column_groups};
use super::{Int8Tensor, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, PART, Tensor, params};
use crate::ternary;

/// Shape of the output of a gate with the input `x[batch, 2 * cols]`.
fn halves(kernel: &str, x: &Tensor) -> [usize; 2] {
    let [batch, width] = matrix(kernel, x);
    assert!(width.is_multiple_of(2), "{kernel}: {} is {width} wide, expected gates and ups", x.label());
    [batch, width / 2]
}

// --- relu2_gate -----------------------------------------------------------------------------------

params! { struct GateParams { count: u32, cols: u32 } }

pub static RELU2_GATE: Kernel =
    Kernel::new::<GateParams>("relu2_gate", text!("lm/relu2_gate", "snippets/entry"));

/// `z[batch, cols] <- max(gate, 0)^2 up`. Gate and up are the halves of the rows of `x[batch, 2 * cols]`.
pub fn relu2_gate(gpu: &Gpu, x: &Tensor, z: &Tensor) -> Op {
    gate(gpu, &RELU2_GATE, 3, x, z)
}

/// The op of a gate with so many operations for each value.
fn gate(gpu: &Gpu, kernel: &'static Kernel, ops: u64, x: &Tensor, z: &Tensor) -> Op {
    let [batch, cols] = halves(kernel.name, x);
    expect(kernel.name, x, F32, &[batch, 2 * cols]);
    expect(kernel.name, z, F32, &[batch, cols]);
    let params = GateParams { count: z.len() as u32, cols: cols as u32 };
    let cost = Cost { bytes: x.bytes() + z.bytes(), ops: ops * z.len() as u64 };
    gpu.op(kernel, params, &[x, z], Grid::Each(z.len()), cost)
}

// --- silu_gate ------------------------------------------------------------------------------------

pub static SILU_GATE: Kernel =
    Kernel::new::<GateParams>("silu_gate", text!("lm/silu_gate", "snippets/sigmoid", "snippets/entry"));

/// `z[batch, cols] <- gate / (1 + exp(-gate)) up`. Gate and up are the halves of the rows of `x[batch, 2 * cols]`.
pub fn silu_gate(gpu: &Gpu, x: &Tensor, z: &Tensor) -> Op {
    gate(gpu, &SILU_GATE, 6, x, z)
}

// --- relu2_gate_dx --------------------------------------------------------------------------------

pub static RELU2_GATE_DX: Kernel =
    Kernel::new::<GateParams>("relu2_gate_dx", text!("lm/relu2_gate_dx", "snippets/entry"));

/// `dx[batch, 2 * cols] <- {2 max(gate, 0) up dz, max(gate, 0)^2 dz}`: the gradients through [`relu2_gate`].
pub fn relu2_gate_dx(gpu: &Gpu, x: &Tensor, dz: &Tensor, dx: &Tensor) -> Op {
    gate_dx(gpu, &RELU2_GATE_DX, 6, x, dz, dx)
}

/// The op of the gradients of a gate with so many operations for each value.
fn gate_dx(gpu: &Gpu, kernel: &'static Kernel, ops: u64, x: &Tensor, dz: &Tensor, dx: &Tensor) -> Op {
    let [batch, cols] = halves(kernel.name, x);
    for tensor in [x, dx] {
        expect(kernel.name, tensor, F32, &[batch, 2 * cols]);
    }
    expect(kernel.name, dz, F32, &[batch, cols]);
    let params = GateParams { count: dz.len() as u32, cols: cols as u32 };
    let cost = Cost { bytes: 2 * x.bytes() + dz.bytes(), ops: ops * dz.len() as u64 };
    gpu.op(kernel, params, &[x, dz, dx], Grid::Each(dz.len()), cost)
}

// --- silu_gate_dx ---------------------------------------------------------------------------------

pub static SILU_GATE_DX: Kernel =
    Kernel::new::<GateParams>("silu_gate_dx", text!("lm/silu_gate_dx", "snippets/sigmoid", "snippets/entry"));

/// `dx[batch, 2 * cols] <- {s (1 + gate (1 - s)) up dz, gate s dz}` with `s = 1 / (1 + exp(-gate))`: the gradients
/// through [`silu_gate`].
pub fn silu_gate_dx(gpu: &Gpu, x: &Tensor, dz: &Tensor, dx: &Tensor) -> Op {
    gate_dx(gpu, &SILU_GATE_DX, 14, x, dz, dx)
}

// --- relu2_gate_quantize --------------------------------------------------------------------------

params! { struct QuantizeParams { batch: u32, cols: u32, words: u32, stride: u32, eps: f32 } }

const ANY_RELU2_GATE_QUANTIZE: Kernel = Kernel::new::<QuantizeParams>(
    "relu2_gate_quantize",
    text!(
        "lm/relu2_gate_quantize",
        "snippets/row_gate",
        "snippets/gains",
        "snippets/pinned",
        "snippets/norm_factor",
        "snippets/quantize_row",
        "snippets/int8",
        "snippets/entry"
    ),
);

/// One variant for any rows, and one for rows that start at multiples of four elements.
pub static RELU2_GATE_QUANTIZE: &[&Kernel] =
    &[&ANY_RELU2_GATE_QUANTIZE, &ANY_RELU2_GATE_QUANTIZE.with(WHOLE[0], WHOLE[1])];

/// The positive factors of each row of a gated block. All are `f32 [batch]` and parts of one tensor.
#[derive(Clone, Debug)]
pub struct GateFactors {
    /// The factor of RMSNorm: its output is `gain z norm`, with `z` of the integers.
    pub norm: Tensor,
    /// The real value of one int8 step of the output.
    pub step: Tensor,
    /// The real value of one unit of the gates' accumulators.
    pub gate_unit: Tensor,
    /// The real value of one unit of the ups' accumulators.
    pub up_unit: Tensor,
    all: Tensor,
}

impl GateFactors {
    /// Factors for `batch` rows, all zero.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn zeros(gpu: &Gpu, label: &str, batch: usize) -> Result<GateFactors, Error> {
        let stride = batch.next_multiple_of(PART);
        let all = gpu.zeros(&format!("{label}.factors"), F32, &[4, stride])?;
        let part = |i: usize, name: &str| all.part(&format!("{label}.{name}"), i * stride, &[batch]);
        let [norm, step] = [part(0, "norm"), part(1, "step")];
        Ok(GateFactors { norm, step, gate_unit: part(2, "gate_unit"), up_unit: part(3, "up_unit"), all })
    }

    /// Asserts that there is room for `batch` rows, and returns the distance between two kinds of factors in the
    /// tensor.
    fn expect(&self, kernel: &str, batch: usize) -> u32 {
        let stride = batch.next_multiple_of(PART);
        expect(kernel, &self.all, F32, &[4, stride]);
        stride as u32
    }
}

/// Computes `z = max(gate, 0)^2 up` from the integers in the halves of the rows of `acc[batch, 2 * cols]`. It writes
/// `q`, `scale` and `sum` of `gain z`, quantised by row, and the [`GateFactors`].
///
/// `acc` is a product with codes of the real values `step[batch]`. `beta[0]` is the beta of the gates, and `beta[64]`
/// is the beta of the ups. The lower bound of the maximum is that of
/// [`rmsnorm_quantize_f32`](super::rmsnorm_quantize_f32()).
#[allow(clippy::too_many_arguments)] // a gate, a norm and a quantiser
pub fn relu2_gate_quantize(
    gpu: &Gpu,
    acc: &Tensor,
    step: &Tensor,
    beta: &Tensor,
    gain: &Tensor,
    eps: f32,
    out: &Int8Tensor,
    factors: &GateFactors,
) -> Op {
    let [batch, cols] = halves("relu2_gate_quantize", acc);
    expect("relu2_gate_quantize", acc, I32, &[batch, 2 * cols]);
    expect("relu2_gate_quantize", step, F32, &[batch]);
    expect("relu2_gate_quantize", beta, F32, &[PART + 1]);
    expect("relu2_gate_quantize", gain, F32, &[cols]);
    out.expect("relu2_gate_quantize", batch, cols);
    let stride = factors.expect("relu2_gate_quantize", batch);
    let [b, c, w] = [batch, cols, ternary::words(cols)].map(|n| n as u32);
    let params = QuantizeParams { batch: b, cols: c, words: w, stride, eps };
    let cost = Cost {
        bytes: acc.bytes() + gain.bytes() + out.q.bytes() + 28 * batch as u64 + 8,
        ops: 11 * (batch * cols) as u64,
    };
    let tensors = [acc, step, beta, gain, &out.q, &out.scale, &out.sum, &factors.all];
    let kernel = for_columns(RELU2_GATE_QUANTIZE, cols);
    gpu.op(kernel, params, &tensors, Grid::Groups(batch), cost)
}

// --- relu2_gate_backward --------------------------------------------------------------------------

params! { struct BackwardParams { batch: u32, cols: u32, stride: u32 } }

pub static RELU2_GATE_BACKWARD: &[&Kernel] = backward!(
    BackwardParams,
    "relu2_gate_backward",
    ["lm/relu2_gate_backward", "snippets/row_gate", "snippets/pinned"]
);

/// The gradients of RMSNorm and gate in [`relu2_gate_quantize`], from `dy[batch, cols]`, the gradient of RMSNorm's
/// output. It writes `dx[batch, 2 * cols]`, the gradient of the real values of `acc`, `scaled`, the same gradient with
/// each half times its beta, and `dgain[cols]`.
#[allow(clippy::too_many_arguments)] // three gradients of one function
pub fn relu2_gate_backward(
    gpu: &Gpu,
    acc: &Tensor,
    factors: &GateFactors,
    gain: &Tensor,
    beta: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    scaled: &Tensor,
    dgain: &Tensor,
) -> Op {
    let [batch, cols] = halves("relu2_gate_backward", acc);
    expect("relu2_gate_backward", acc, I32, &[batch, 2 * cols]);
    let stride = factors.expect("relu2_gate_backward", batch);
    for tensor in [gain, dgain] {
        expect("relu2_gate_backward", tensor, F32, &[cols]);
    }
    expect("relu2_gate_backward", beta, F32, &[PART + 1]);
    expect("relu2_gate_backward", dy, F32, &[batch, cols]);
    for tensor in [dx, scaled] {
        expect("relu2_gate_backward", tensor, F32, &[batch, 2 * cols]);
    }
    let params = BackwardParams { batch: batch as u32, cols: cols as u32, stride };
    let cost = Cost {
        bytes: 10 * dy.bytes() + 2 * gain.bytes() + 16 * batch as u64 + 8,
        ops: 24 * (batch * cols) as u64,
    };
    let kernel = for_columns(RELU2_GATE_BACKWARD, cols);
    let grid = Grid::Groups(batch + column_groups(kernel.overrides(gpu.tuning()), cols));
    gpu.op(kernel, params, &[acc, &factors.all, gain, beta, dy, dx, scaled, dgain], grid, cost)
}
