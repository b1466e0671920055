//! The optimizer, on the shadow weights. Shader: `shaders/adamw.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32, beta1: f32, beta2: f32, eps: f32, decay: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "adamw",
    concat!(include_str!("../../shaders/adamw.wgsl"), include_str!("../../shaders/grid.wgsl")),
)
.tiled([8, 1]);

/// AdamW's constants; the learning rate lives in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, times the learning rate per step.
    pub decay: f32,
}

impl AdamW {
    /// One row `{lr, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), 0}` of the schedule per step `t = 1, 2, ...`.
    pub fn schedule(&self, rates: impl IntoIterator<Item = f64>) -> Vec<f32> {
        let correction = |beta: f32, t: i32| 1.0 - f64::from(beta).powi(t);
        let row = |(step, rate): (usize, f64)| {
            let t = step as i32 + 1;
            [rate, 1.0 / correction(self.beta1, t), 1.0 / correction(self.beta2, t).sqrt(), 0.0]
        };
        rates.into_iter().enumerate().flat_map(row).map(|x| x as f32).collect()
    }
}

/// First and second moment of one parameter, of its shape.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Running mean of the gradient.
    pub m: Tensor,
    /// Running mean of its square.
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

/// One AdamW step of `w` by gradient `g`; the learning rate and the bias corrections of step
/// `clock[0]` come from `schedule[steps, 4]`, see [`AdamW::schedule`].
pub fn adamw(
    gpu: &Gpu,
    constants: AdamW,
    clock: &Tensor,
    schedule: &Tensor,
    g: &Tensor,
    w: &Tensor,
    moments: &Moments,
) -> Op {
    expect("adamw", clock, U32, &[2]);
    expect("adamw", schedule, F32, &[schedule.len() / 4, 4]);
    for tensor in [g, w, &moments.m, &moments.v] {
        expect("adamw", tensor, F32, w.shape());
    }
    let AdamW { beta1, beta2, eps, decay } = constants;
    let params = Params { count: w.len() as u32, beta1, beta2, eps, decay };
    let cost = Cost { bytes: 7 * w.bytes(), ops: 15 * w.len() as u64 };
    let tensors = [clock, schedule, g, w, &moments.m, &moments.v];
    gpu.op(&KERNEL, params, &tensors, Grid::Each(w.len()), cost)
}
