//! The interface of a network: its parameters, and the ops of a batch. Training, scoring, packing and digests use
//! nothing else of a network.

use std::ops::Range;

use super::{Params, Transformer};
use crate::gpu::{Error, Gpu, Op, Tensor};
use crate::kernels::{Int8Tensor, Totals};
use crate::parameter::Role;

/// What the matrices of a network hold when it computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Precision {
    /// Trits, multiplied by int8 activations (BitNet b1.58).
    #[default]
    Ternary,
    /// 32-bit floats, and so are the activations: what the ternary network is compared with.
    F32,
}

impl Precision {
    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Ternary => "ternary",
            Precision::F32 => "f32",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Precision> {
        [Precision::Ternary, Precision::F32].into_iter().find(|known| known.name() == name)
    }

    /// The role of a matrix of such a network.
    pub(super) fn role(self) -> Role {
        match self {
            Precision::Ternary => Role::Ternary,
            Precision::F32 => Role::Float,
        }
    }
}

/// A network on a device.
pub trait Network {
    /// Its parameters.
    fn params(&self) -> &Params;

    /// Number of values in one input item: the pixels of an image, or the ids of a context.
    fn inputs(&self) -> usize;

    /// Rows of logits of one item: 1 of an image, as many as tokens of a sequence.
    fn rows(&self) -> usize {
        1
    }

    /// The network as a transformer, if it is one. Its layers can be bound one by one.
    fn transformer(&self) -> Option<&Transformer> {
        None
    }

    /// Tensors and ops for batches of `items` items. The ops for scoring and learning exist only with `scoring`.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, because the batch is too large for it.
    fn bind(&self, gpu: &Gpu, items: usize, scoring: Option<Scoring>) -> Result<Pass, Error>;
}

/// Where a loss is added, and how it is computed.
#[derive(Clone, Copy, Debug)]
pub struct Scoring<'a> {
    /// Sums of loss and hits, and the clock.
    pub totals: &'a Totals,
    /// Label smoothing: the share of the target that is spread over all classes.
    pub smoothing: f32,
    /// Whether the pass also computes the gradients of the parameters. Without them `Pass::backward` is empty.
    pub learns: bool,
}

/// A network bound to batches of one size.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The input, `i32 [items, inputs]`.
    pub input: Tensor,
    /// The labels, `u32`, one for each row of logits.
    pub labels: Tensor,
    /// The logits, `f32 [rows, classes]`.
    pub logits: Tensor,
    /// The exact integer products in the order of execution. A digest hashes them.
    pub products: Vec<Product>,
    /// The ops from the input to the part of the network where the loss begins. They use the current parameters.
    pub forward: Vec<Op>,
    /// The ops from there to the logits, for a caller without labels.
    pub head: Vec<Op>,
    /// The ops after `forward` that compute logits, loss and the loss's gradient. They also advance the clock.
    pub loss: Vec<Op>,
    /// The ops after `loss` that compute the gradient of every parameter.
    pub backward: Vec<Op>,
}

/// The integers of one ternary product.
#[derive(Clone, Debug)]
pub struct Product {
    /// The rows that its codes are made of: integers that are exact, or floats, which differ a little from device to
    /// device. From floats that are given, codes and accumulators are exact again.
    pub input: Tensor,
    /// The ops of [`Pass::forward`] that lead from `input` to `acc`.
    pub ops: Range<usize>,
    /// The int8 codes that are multiplied, `[rows, cols]`.
    pub codes: Int8Tensor,
    /// Number of codes in a row. The shape of the words does not give it.
    pub cols: usize,
    /// The resulting accumulators, `i32`.
    pub acc: Tensor,
}

/// A network that is bound for inference: from the input to logits and integers.
pub struct Forward {
    /// Tensors and ops of the network.
    pub pass: Pass,
    items: usize,
    ops: Vec<Op>,
}

impl Forward {
    /// Binds the largest batch that the adapter can hold. It starts with `most` items and halves the number.
    ///
    /// # Errors
    /// If the adapter cannot bind a single item.
    pub fn new(gpu: &Gpu, network: &dyn Network, most: usize) -> Result<Forward, Error> {
        let mut items = most.max(1);
        let pass = loop {
            match network.bind(gpu, items, None) {
                Err(Error::TooLarge { .. }) if items > 1 => items /= 2,
                bound => break bound?,
            }
        };
        let ops = [&pass.forward[..], &pass.head].concat();
        Ok(Forward { pass, items, ops })
    }

    /// Writes one batch and runs the network on it.
    ///
    /// # Errors
    /// If the device failed.
    pub fn run<T: Copy + Into<i32>>(&self, gpu: &Gpu, inputs: &[T]) -> Result<(), Error> {
        gpu.write(&self.pass.input, &inputs.iter().map(|&input| input.into()).collect::<Vec<i32>>());
        gpu.run(&self.ops).map(drop)
    }
}

/// Runs all inputs through a network, at most so many rows of logits at a time, and hands on each batch that was run: what is
/// bound, the inputs, and the number of items.
///
/// # Errors
/// If the adapter cannot bind a tensor, or the device failed.
///
/// # Panics
/// If the inputs are not whole items.
pub fn each_batch<T: Copy + Into<i32>>(
    gpu: &Gpu,
    network: &dyn Network,
    inputs: &[T],
    most: usize,
    mut each: impl FnMut(&Forward, &[T], usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let width = network.inputs();
    let items = inputs.len() / width;
    assert_eq!(inputs.len(), items * width, "inputs of a network that takes {width} numbers");
    if items == 0 {
        return Ok(());
    }
    let mut bound = Forward::new(gpu, network, (most / network.rows()).min(items))?;
    for batch in inputs.chunks(bound.items * width) {
        // The last batch may be shorter. It gets its own binding.
        let items = batch.len() / width;
        if items != bound.items {
            bound = Forward::new(gpu, network, items)?;
        }
        bound.run(gpu, batch)?;
        each(&bound, batch, items)?;
    }
    Ok(())
}

/// The logits of all inputs, row after row.
///
/// # Errors
/// As [`each_batch`].
///
/// # Panics
/// As [`each_batch`].
#[cfg(not(target_arch = "wasm32"))]
pub fn logits<T: Copy + Into<i32>>(
    gpu: &Gpu,
    network: &dyn Network,
    inputs: &[T],
) -> Result<Vec<f32>, Error> {
    let mut all = Vec::new();
    each_batch(gpu, network, inputs, BATCH, |bound, _, _| {
        all.extend(gpu.download::<f32>(&bound.pass.logits)?);
        Ok(())
    })?;
    Ok(all)
}

/// Rows of logits in one batch at most, where nobody says otherwise.
pub const BATCH: usize = 1000;
