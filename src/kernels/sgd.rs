//! The plainest optimizer, to compare with. Shader: `shaders/sgd.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32, momentum: f32, decay: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "sgd",
    concat!(include_str!("../../shaders/sgd.wgsl"), include_str!("../../shaders/grid.wgsl")),
)
.tiled([4, 1]);

/// Constants of stochastic gradient descent; the learning rate lives in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Share of the last update that is made again.
    pub momentum: f32,
    /// Decoupled weight decay, times the learning rate per step.
    pub decay: f32,
}

/// One step of `w` by gradient `g` with momentum `m`: `m <- momentum m + g`, `w <- w - lr (m + decay w)`; the
/// learning rate of step `clock[0]` comes from `schedule[steps, 4]`, as [`adamw`](super::adamw)'s.
pub fn sgd(
    gpu: &Gpu,
    constants: Sgd,
    clock: &Tensor,
    schedule: &Tensor,
    g: &Tensor,
    w: &Tensor,
    m: &Tensor,
) -> Op {
    expect("sgd", clock, U32, &[2]);
    expect("sgd", schedule, F32, &[schedule.len() / 4, 4]);
    for tensor in [g, w, m] {
        expect("sgd", tensor, F32, w.shape());
    }
    let Sgd { momentum, decay } = constants;
    let params = Params { count: w.len() as u32, momentum, decay };
    let cost = Cost { bytes: 5 * w.bytes(), ops: 6 * w.len() as u64 };
    gpu.op(&KERNEL, params, &[clock, schedule, g, w, m], Grid::Each(w.len()), cost)
}
