//! The gradients of the micro-batches of a step as fixed-point integers. The sum of integers does not depend on their
//! order, so it does not depend on which device computed which micro-batch. This module knows no exchange.

use super::Params;
use crate::gpu::{Dtype::*, Error, Gpu, Op, PART, Tensor};
use crate::kernels;

/// The gradients of all parameters, as floats for each micro-batch of this device and as one sum of integers.
///
/// The gradient of a micro-batch is kept as floats, because the exponents of a step are known only when all of its
/// micro-batches have been computed.
#[derive(Clone, Debug)]
pub struct FixedGradients {
    /// The largest exponent of each parameter, `i32 [parameters]`. See [`kernels::gradient_exponents`].
    pub exponents: Tensor,
    /// The number of values that were out of range, `u32 [1]`. See [`kernels::gradient_to_fixed`].
    pub saturated: Tensor,
    groups: Vec<Group>,
}

/// The gradients that lie in one flat tensor.
#[derive(Clone, Debug)]
struct Group {
    /// The parameter of each 64 values.
    owners: Tensor,
    /// The gradient that a backward pass writes and that the optimizer reads.
    gradient: Tensor,
    /// The gradient of each micro-batch of this device. A single one stays where it is.
    kept: Vec<Tensor>,
    /// The sum over micro-batches.
    sums: Tensor,
}

impl FixedGradients {
    /// Tensors for a device that computes `terms` micro-batches in a step.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If the parameters are frozen.
    pub fn new(gpu: &Gpu, params: &Params, terms: usize) -> Result<FixedGradients, Error> {
        let group = |gradient: &Tensor| {
            let label = |what: &str| format!("{}.{what}", gradient.label());
            let owners = owners(params, gradient);
            let kept = match terms {
                0 | 1 => vec![gradient.clone(); terms],
                _ => (0..terms)
                    .map(|i| gpu.zeros(&label(&format!("micro {i}")), F32, &[gradient.len()]))
                    .collect::<Result<_, Error>>()?,
            };
            Ok(Group {
                owners: gpu.upload(&label("owners"), &[owners.len()], &owners)?,
                gradient: gradient.clone(),
                kept,
                sums: gpu.zeros(&label("sums"), I32, &[gradient.len()])?,
            })
        };
        Ok(FixedGradients {
            exponents: gpu.zeros("gradients.exponents", I32, &[params.iter().count()])?,
            saturated: gpu.zeros("gradients.saturated", U32, &[1])?,
            groups: params.gradients().map(group).collect::<Result<_, Error>>()?,
        })
    }

    /// Sets exponents, sums and the count of saturated values to zero, before a step.
    pub fn clear(&self, gpu: &Gpu) {
        let sums = self.groups.iter().map(|group| &group.sums);
        [&self.exponents, &self.saturated].into_iter().chain(sums).for_each(|tensor| gpu.clear(tensor));
    }

    /// The ops after the backward pass of a micro-batch that find the exponents of its gradient. `share` is its number of
    /// items divided by that of the step.
    pub fn largest(&self, gpu: &Gpu, share: f32) -> Vec<Op> {
        let op = |group: &Group| {
            kernels::gradient_exponents(gpu, &group.owners, &group.gradient, share, &self.exponents)
        };
        marked(self.groups.iter().map(op))
    }

    /// The copies that keep the gradient of this device's micro-batch `i`: pairs of source and target.
    pub fn kept(&self, i: usize) -> impl Iterator<Item = (&Tensor, &Tensor)> {
        let several = self.groups.iter().filter(|group| group.kept.len() > 1);
        several.map(move |group| (&group.gradient, &group.kept[i]))
    }

    /// The ops that add the kept gradient of this device's micro-batch `i` to the sums.
    pub fn add(&self, gpu: &Gpu, i: usize, share: f32) -> Vec<Op> {
        let Self { exponents, saturated, groups } = self;
        let op = |Group { owners, kept, sums, .. }: &Group| {
            kernels::gradient_to_fixed(gpu, owners, exponents, &kept[i], share, sums, saturated)
        };
        marked(groups.iter().map(op))
    }

    /// The ops that turn the sums into the gradient that the optimizer reads.
    pub fn floats(&self, gpu: &Gpu) -> Vec<Op> {
        let op = |Group { owners, gradient, sums, .. }: &Group| {
            kernels::gradient_from_fixed(gpu, owners, &self.exponents, sums, gradient)
        };
        marked(self.groups.iter().map(op))
    }

    /// The sums, one tensor for each group of parameters.
    pub fn sums(&self) -> impl Iterator<Item = &Tensor> {
        self.groups.iter().map(|group| &group.sums)
    }
}

fn marked(ops: impl Iterator<Item = Op>) -> Vec<Op> {
    let mut ops: Vec<Op> = ops.collect();
    Op::mark(&mut ops, "exchange");
    ops
}

/// The number of the parameter that each [`PART`] values of a flat gradient belong to. The padding behind a parameter
/// counts as a part of it.
fn owners(params: &Params, gradient: &Tensor) -> Vec<u32> {
    let mut owners = vec![u32::MAX; gradient.len().div_ceil(PART)];
    for (number, param) in params.iter().enumerate() {
        let part = param.grad();
        if part.buffer() == gradient.buffer() {
            let first = (part.offset() - gradient.offset()) as usize / 4;
            owners[first / PART..(first + part.len()).div_ceil(PART)].fill(number as u32);
        }
    }
    let mut last = 0;
    for owner in &mut owners {
        last = if *owner == u32::MAX { last } else { *owner };
        *owner = last;
    }
    owners
}
