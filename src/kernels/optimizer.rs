//! Updates of the parameters. Shaders: `shaders/train`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary::BLOCK;

// --- adamw ----------------------------------------------------------------------------------------

params! { struct AdamwParams { count: u32, decayed: u32, beta1: f32, beta2: f32, eps: f32, decay: f32 } }

pub static ADAMW: Kernel =
    Kernel::new::<AdamwParams>("adamw", text!("train/adamw", "snippets/block_sum", "snippets/grid"));

/// The constants of AdamW. The learning rate is in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay rate of the first moment.
    pub beta1: f32,
    /// Decay rate of the second moment.
    pub beta2: f32,
    /// A constant that is added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay. Each step multiplies it by the learning rate.
    pub decay: f32,
}

impl AdamW {
    /// The schedule: one row `{lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), 0}` for each step `t = 1, 2, ...`.
    pub fn schedule(&self, rates: impl IntoIterator<Item = f64>) -> Vec<f32> {
        let correction = |beta: f32, t: i32| 1.0 - f64::from(beta).powi(t);
        let row = |(step, rate): (usize, f64)| {
            let t = step as i32 + 1;
            [rate, 1.0 / correction(self.beta1, t), 1.0 / correction(self.beta2, t).sqrt(), 0.0]
        };
        rates.into_iter().enumerate().flat_map(row).map(|x| x as f32).collect()
    }
}

/// First and second moment of one parameter. Both have its shape.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Running mean of the gradient.
    pub m: Tensor,
    /// Running mean of the squared gradient.
    pub v: Tensor,
}

impl Moments {
    /// Zero moments for `w`.
    ///
    /// # Errors
    /// If the adapter cannot bind them.
    pub fn zeros(gpu: &Gpu, w: &Tensor) -> Result<Moments, Error> {
        Ok(Moments {
            m: gpu.zeros(&format!("{}.m", w.label()), F32, w.shape())?,
            v: gpu.zeros(&format!("{}.v", w.label()), F32, w.shape())?,
        })
    }
}

/// The parameters that an optimizer updates, as one flat tensor.
#[derive(Clone, Debug)]
pub struct Trainable {
    /// The values, `f32 [count]`.
    pub value: Tensor,
    /// The gradient of the values.
    pub grad: Tensor,
    /// The optimizer's state.
    pub moments: Moments,
    /// The sums that [`abs_sums`](super::abs_sums) computes from the values: `f32 [ceil(count / 1024)]`.
    pub sums: Tensor,
    /// Weight decay applies to the first `decayed` values.
    pub decayed: usize,
}

impl Trainable {
    /// Values that are all zero and all decay.
    ///
    /// # Errors
    /// If the adapter cannot bind them.
    pub fn zeros(gpu: &Gpu, label: &str, count: usize) -> Result<Trainable, Error> {
        let zeros = |what: &str, count: usize| gpu.zeros(&format!("{label}{what}"), F32, &[count]);
        let value = zeros("", count)?;
        let moments = Moments::zeros(gpu, &value)?;
        let (grad, sums) = (zeros(".grad", count)?, zeros(".sums", count.div_ceil(BLOCK))?);
        Ok(Trainable { value, grad, moments, sums, decayed: count })
    }

    pub(super) fn expect(&self, kernel: &str) {
        for tensor in [&self.value, &self.grad, &self.moments.m, &self.moments.v] {
            expect(kernel, tensor, F32, &[self.value.len()]);
        }
        expect(kernel, &self.sums, F32, &[self.value.len().div_ceil(BLOCK)]);
    }
}

/// One AdamW step of `on.value` by `on.grad`. Step `t = clock[0]` counts from 1. Its learning rate and bias
/// corrections are in row `t - 1` of `schedule[steps, 4]`, see [`AdamW::schedule`].
pub fn adamw(gpu: &Gpu, constants: AdamW, clock: &Tensor, schedule: &Tensor, on: &Trainable) -> Op {
    expect("adamw", clock, U32, &[2]);
    expect("adamw", schedule, F32, &[schedule.len() / 4, 4]);
    on.expect("adamw");
    let AdamW { beta1, beta2, eps, decay } = constants;
    let (count, decayed) = (on.value.len() as u32, on.decayed as u32);
    let params = AdamwParams { count, decayed, beta1, beta2, eps, decay };
    let cost = Cost { bytes: 7 * on.value.bytes() + on.sums.bytes(), ops: 17 * u64::from(count) };
    let tensors = [clock, schedule, &on.grad, &on.value, &on.moments.m, &on.moments.v, &on.sums];
    gpu.op(&ADAMW, params, &tensors, Grid::Groups(on.sums.len()), cost)
}

// --- sgd ------------------------------------------------------------------------------------------

params! { struct SgdParams { count: u32, decayed: u32, momentum: f32, decay: f32 } }

pub static SGD: Kernel =
    Kernel::new::<SgdParams>("sgd", text!("train/sgd", "snippets/block_sum", "snippets/grid"));

/// The constants of stochastic gradient descent. The learning rate is in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The momentum: each step multiplies the moment `m` by it.
    pub momentum: f32,
    /// Decoupled weight decay. Each step multiplies it by the learning rate.
    pub decay: f32,
}

/// One step of `on.value` by `on.grad` with momentum: `m <- momentum m + g`, `w <- w - lr (m + decay w)`. The
/// learning rate is in the schedule, as for [`adamw`](super::adamw()).
pub fn sgd(gpu: &Gpu, constants: Sgd, clock: &Tensor, schedule: &Tensor, on: &Trainable) -> Op {
    expect("sgd", clock, U32, &[2]);
    expect("sgd", schedule, F32, &[schedule.len() / 4, 4]);
    on.expect("sgd");
    let Sgd { momentum, decay } = constants;
    let (count, decayed) = (on.value.len() as u32, on.decayed as u32);
    let params = SgdParams { count, decayed, momentum, decay };
    let cost = Cost { bytes: 5 * on.value.bytes() + on.sums.bytes(), ops: 8 * u64::from(count) };
    let tensors = [clock, schedule, &on.grad, &on.value, &on.moments.m, &on.sums];
    gpu.op(&SGD, params, &tensors, Grid::Groups(on.sums.len()), cost)
}
