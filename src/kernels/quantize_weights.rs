//! Float shadow weights to packed trits. Shader: `shaders/train/quantize_weights.wgsl`.

use super::{PackedTensor, Stack, abs_sums, absmean, expect, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Tensor, params};
use crate::ternary::BLOCK;

params! { matrices: u32 }

const BASE: Kernel = Kernel::new::<Params>(
    "quantize_weights",
    concat!(
        include_str!("../../shaders/train/quantize_weights.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl")
    ),
);

/// For any rows, and for such as start at whole vectors of four.
pub static VARIANTS: &[&Kernel] =
    &[&BASE, &BASE.with(&[("WG", 64.0), ("WHOLE", 1.0)], &[("WG", 8.0), ("WHOLE", 1.0)])];

/// `T[rows, cols] <- clamp(round(w / beta), -1, 1)`, packed, for every matrix of the stack.
pub fn quantize_weights(gpu: &Gpu, stack: &Stack, w: &Tensor, beta: &Tensor, packed: &Tensor) -> Op {
    let last = stack.places().last().expect("a stack has a matrix");
    let end = last.weight + last.rows * last.cols;
    assert!(w.len() >= end, "quantize_weights: {} weights, expected {end}", w.len());
    expect("quantize_weights", w, F32, w.shape());
    expect("quantize_weights", beta, F32, &[stack.betas()]);
    assert_eq!(packed.len(), stack.words(), "quantize_weights: the words of {}", packed.label());
    expect("quantize_weights", packed, U32, packed.shape());
    let weights: usize = stack.places().iter().map(|place| place.rows * place.cols).sum();
    let params = Params { matrices: stack.places().len() as u32 };
    let cost = Cost {
        bytes: 4 * (weights + params.matrices as usize) as u64 + packed.bytes(),
        ops: 2 * weights as u64,
    };
    let kernel = VARIANTS[usize::from(stack.places().iter().all(|place| place.cols.is_multiple_of(4)))];
    gpu.op(kernel, params, &[stack.table(), w, beta, packed], Grid::Each(stack.words()), cost)
}

/// `packed <- ternary(w)`, one matrix with its beta: what [`Stack`] does for many.
///
/// # Errors
/// If the adapter cannot bind the sums.
pub fn quantize(gpu: &Gpu, w: &Tensor, packed: &PackedTensor) -> Result<[Op; 3], Error> {
    let [rows, cols] = matrix("quantize", w);
    let stack = Stack::new(gpu, w.label(), &[[rows, cols]])?;
    let sums = gpu.zeros(&format!("{}.sums", w.label()), F32, &[w.len().div_ceil(BLOCK)])?;
    Ok([
        abs_sums(gpu, w, &sums),
        absmean(gpu, &stack, &sums, &packed.beta),
        quantize_weights(gpu, &stack, w, &packed.beta, &packed.words),
    ])
}
