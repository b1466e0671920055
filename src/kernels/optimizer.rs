//! Updates of the parameters, and the limit for the norm of their gradients. Shaders: `shaders/train`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary::BLOCK;

// --- adamw ----------------------------------------------------------------------------------------

params! { struct AdamwParams { count: u32, decayed: u32, beta1: f32, beta2: f32, eps: f32 } }

pub static ADAMW: Kernel = Kernel::new::<AdamwParams>(
    "adamw",
    text!("train/adamw", "snippets/update_blocks", "snippets/block_sum", "snippets/entry"),
);

/// The constants of AdamW. Learning rate and weight decay are in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay rate of the first moment.
    pub beta1: f32,
    /// Decay rate of the second moment.
    pub beta2: f32,
    /// A constant that is added to the root of the second moment.
    pub eps: f32,
}

impl AdamW {
    /// The schedule: one row `{lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), decay}` per step `t = 1, 2, ...`. `steps`
    /// gives the learning rate and the weight decay of each step. The decay is decoupled: each step subtracts
    /// `lr decay` times the weight.
    pub fn schedule(&self, steps: impl IntoIterator<Item = [f64; 2]>) -> Vec<f32> {
        let correction = |beta: f32, t: i32| 1.0 - f64::from(beta).powi(t);
        let row = |(step, [rate, decay]): (usize, [f64; 2])| {
            let t = step as i32 + 1;
            [rate, 1.0 / correction(self.beta1, t), 1.0 / correction(self.beta2, t).sqrt(), decay]
        };
        steps.into_iter().enumerate().flat_map(row).map(|x| x as f32).collect()
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

/// One AdamW step of `on.value` with the gradient `clip[0] on.grad`. The learning rate, the bias corrections and the
/// weight decay of step `t = clock[0]`, counted from 1, are in row `t - 1` of `schedule[steps, 4]`, see
/// [`AdamW::schedule`]. `clip[2]` is the output of [`clip_factor`](super::clip_factor()). Without clipping, `clip[0]`
/// is 1.
pub fn adamw(
    gpu: &Gpu,
    constants: AdamW,
    clock: &Tensor,
    schedule: &Tensor,
    clip: &Tensor,
    on: &Trainable,
) -> Op {
    expect("adamw", clock, U32, &[2]);
    expect("adamw", schedule, F32, &[schedule.len() / 4, 4]);
    expect("adamw", clip, F32, &[2]);
    on.expect("adamw");
    let AdamW { beta1, beta2, eps } = constants;
    let (count, decayed) = (on.value.len() as u32, on.decayed as u32);
    let params = AdamwParams { count, decayed, beta1, beta2, eps };
    let cost = Cost { bytes: 7 * on.value.bytes() + on.sums.bytes(), ops: 18 * u64::from(count) };
    let tensors = [clock, schedule, clip, &on.grad, &on.value, &on.moments.m, &on.moments.v, &on.sums];
    gpu.op(&ADAMW, params, &tensors, Grid::Groups(on.sums.len()), cost)
}

// --- sgd ------------------------------------------------------------------------------------------

params! { struct SgdParams { count: u32, decayed: u32, momentum: f32 } }

pub static SGD: Kernel = Kernel::new::<SgdParams>(
    "sgd",
    text!("train/sgd", "snippets/update_blocks", "snippets/block_sum", "snippets/entry"),
);

/// The constants of stochastic gradient descent. Learning rate and weight decay are in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The momentum: each step multiplies the moment `m` by it.
    pub momentum: f32,
}

/// One step of `on.value` with momentum and `g = clip[0] on.grad`: `m <- momentum m + g`, `w <- w - lr (m + decay w)`.
/// `lr` and `decay` are the first and the last column of the schedule, as in [`adamw`](super::adamw()).
pub fn sgd(
    gpu: &Gpu,
    constants: Sgd,
    clock: &Tensor,
    schedule: &Tensor,
    clip: &Tensor,
    on: &Trainable,
) -> Op {
    expect("sgd", clock, U32, &[2]);
    expect("sgd", schedule, F32, &[schedule.len() / 4, 4]);
    expect("sgd", clip, F32, &[2]);
    on.expect("sgd");
    let (count, decayed) = (on.value.len() as u32, on.decayed as u32);
    let params = SgdParams { count, decayed, momentum: constants.momentum };
    let cost = Cost { bytes: 5 * on.value.bytes() + on.sums.bytes(), ops: 9 * u64::from(count) };
    let tensors = [clock, schedule, clip, &on.grad, &on.value, &on.moments.m, &on.sums];
    gpu.op(&SGD, params, &tensors, Grid::Groups(on.sums.len()), cost)
}

// --- square_sums ----------------------------------------------------------------------------------

params! { struct SquaresParams { count: u32 } }

pub static SQUARE_SUMS: Kernel = Kernel::new::<SquaresParams>(
    "square_sums",
    text!("train/square_sums", "snippets/block_sum", "snippets/entry"),
);

/// `sums[k] <- sum g[i]^2` over block `k` of 1024 values.
pub fn square_sums(gpu: &Gpu, g: &Tensor, sums: &Tensor) -> Op {
    let blocks = g.len().div_ceil(BLOCK);
    expect("square_sums", g, F32, g.shape());
    expect("square_sums", sums, F32, &[blocks]);
    let cost = Cost { bytes: g.bytes() + sums.bytes(), ops: 2 * g.len() as u64 };
    gpu.op(&SQUARE_SUMS, SquaresParams { count: g.len() as u32 }, &[g, sums], Grid::Groups(blocks), cost)
}

// --- clip_factor ----------------------------------------------------------------------------------

params! { struct ClipParams { count: u32, most: f32 } }

pub static CLIP_FACTOR: Kernel =
    Kernel::new::<ClipParams>("clip_factor", text!("train/clip_factor", "snippets/block_sum"));

/// `norm = sqrt(sum_k sums[k])`, `clip[2] <- {min(1, most / (norm + 1e-6)), norm}`. `sums` are the
/// [`square_sums`](super::square_sums()) of the gradients. `clip[0]` is the factor that reduces their norm to at most
/// `most`.
pub fn clip_factor(gpu: &Gpu, sums: &Tensor, most: f32, clip: &Tensor) -> Op {
    expect("clip_factor", sums, F32, &[sums.len()]);
    expect("clip_factor", clip, F32, &[2]);
    let params = ClipParams { count: sums.len() as u32, most };
    let cost = Cost { bytes: sums.bytes() + clip.bytes(), ops: sums.len() as u64 };
    gpu.op(&CLIP_FACTOR, params, &[sums, clip], Grid::Groups(1), cost)
}
