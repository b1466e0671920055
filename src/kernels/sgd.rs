//! The plainest optimizer, to compare with. Shader: `shaders/train/sgd.wgsl`.

use super::{Trainable, expect};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { count: u32, decayed: u32, momentum: f32, decay: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "sgd",
    concat!(
        include_str!("../../shaders/train/sgd.wgsl"),
        include_str!("../../shaders/snippets/block_sum.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// Constants of stochastic gradient descent; the learning rate lives in the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Share of the last update that is made again.
    pub momentum: f32,
    /// Decoupled weight decay, times the learning rate per step.
    pub decay: f32,
}

/// One step of `on.value` by `on.grad` with momentum: `m <- momentum m + g`, `w <- w - lr (m + decay w)`; the
/// learning rate comes from the schedule as [`adamw`](super::adamw())'s.
pub fn sgd(gpu: &Gpu, constants: Sgd, clock: &Tensor, schedule: &Tensor, on: &Trainable) -> Op {
    expect("sgd", clock, U32, &[2]);
    expect("sgd", schedule, F32, &[schedule.len() / 4, 4]);
    on.expect("sgd");
    let Sgd { momentum, decay } = constants;
    let (count, decayed) = (on.value.len() as u32, on.decayed as u32);
    let params = Params { count, decayed, momentum, decay };
    let cost = Cost { bytes: 5 * on.value.bytes() + on.sums.bytes(), ops: 8 * u64::from(count) };
    let tensors = [clock, schedule, &on.grad, &on.value, &on.moments.m, &on.sums];
    gpu.op(&KERNEL, params, &tensors, Grid::Groups(on.sums.len()), cost)
}
