//! Muon: the direction of each matrix is orthogonalised before the step (K. Jordan, 2024; arXiv 2502.16982).
//!
//! With the momentum `m` of the gradient `G` of a matrix `W[rows, cols]`:
//!
//! ```text
//! m <- momentum m + G,   X = G + momentum m,   X <- X / (||X||_F + 1e-7)
//! repeated:              A = X X^T,            X <- a X + (b A + c A A) X
//! W <- W - lr sqrt(max(1, rows / cols)) X
//! ```
//!
//! The iteration is Newton-Schulz. It moves every singular value of `X` near 1. If `rows > cols`, it uses
//! `A = X^T X`, which is smaller, and multiplies from the right: `X <- a X + X (b A + c A A)`.

use crate::gpu::{Dtype::*, Error, Gpu, Op, PART, Tensor};
use crate::kernels::{self, Moments, Muon, Trainable};
use crate::ternary::BLOCK;

/// The coefficients `a`, `b` and `c` of an iteration.
const NEWTON_SCHULZ: [f32; 3] = [3.4445, -4.775, 2.0315];

/// The place of a matrix in the flat tensors of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    /// Index of its first value.
    pub first: usize,
    /// Number of values up to the next parameter.
    pub room: usize,
    /// Number of outputs.
    pub rows: usize,
    /// Number of inputs.
    pub cols: usize,
}

impl Matrix {
    /// The length of the smaller side, which is the side of `A`.
    fn side(&self) -> usize {
        self.rows.min(self.cols)
    }
}

/// One step for the parameters of a group: Muon for its matrices, which are neighbours, and AdamW for all others.
///
/// # Errors
/// If the adapter cannot bind a tensor.
pub(super) fn step(
    gpu: &Gpu,
    by: Muon,
    on: &Trainable,
    matrices: &[Matrix],
    clip: &Tensor,
    clock: &Tensor,
    schedule: &Tensor,
) -> Result<Vec<Op>, Error> {
    let first = matrices.first().map_or(0, |matrix| matrix.first);
    let end = matrices.last().map_or(0, |matrix| matrix.first + matrix.room);
    let mut ops = Vec::new();
    for [first, end] in [[0, first], [end, on.value.len()]] {
        if first < end {
            ops.push(kernels::adamw(gpu, by.adamw, clock, schedule, clip, &part(gpu, on, first, end)?));
        }
    }
    if matrices.is_empty() {
        return Ok(ops);
    }
    let neighbours = matrices.windows(2).all(|pair| pair[0].first + pair[0].room == pair[1].first);
    assert!(neighbours, "Muon: the matrices of {} are neighbours", on.value.label());
    let within = |of: &Tensor| of.part(of.label(), first, &[end - first]);
    let zeros = |name: &str, count: usize| gpu.zeros(&format!("{}.{name}", on.value.label()), F32, &[count]);
    let room = |matrix: &Matrix| (matrix.side() * matrix.side()).next_multiple_of(PART);
    let squares = matrices.iter().map(room).sum();
    let (mut x, mut next) = (zeros("x", end - first)?, zeros("next", end - first)?);
    let (a, aa) = (zeros("a", squares)?, zeros("aa", squares)?);
    ops.push(kernels::nesterov(gpu, by.momentum, clip, &within(&on.grad), &within(&on.moments.m), &x));
    for matrix in matrices {
        let count = matrix.rows * matrix.cols;
        let x = x.part("x", matrix.first - first, &[count]);
        let (sums, norm) = (zeros("squares", count.div_ceil(BLOCK))?, zeros("norm", 2)?);
        ops.push(kernels::square_sums(gpu, &x, &sums));
        ops.push(kernels::clip_factor(gpu, &sums, 1.0, &norm));
        ops.push(kernels::normalize(gpu, &norm, &x));
    }
    let [of_x, of_a, of_aa] = NEWTON_SCHULZ;
    for _ in 0..by.iterations {
        let (mut place, mut products) = (0, Vec::new());
        for matrix in matrices {
            let &Matrix { rows, cols, .. } = matrix;
            let side = [matrix.side(); 2];
            let (a, aa) = (a.part("a", place, &side), aa.part("aa", place, &side));
            let [x, next] =
                [("x", &x), ("next", &next)].map(|(n, of)| of.part(n, matrix.first - first, &[rows, cols]));
            place += room(matrix);
            // `A` is symmetric, so a product with `A^T` is the product with `A`.
            let [gram, product] = match rows > cols {
                true => [kernels::matmul_f32_dw(gpu, &x, &x, &a), kernels::matmul_f32(gpu, &x, &aa, &next)],
                false => [kernels::matmul_f32(gpu, &x, &x, &a), kernels::matmul_f32_dx(gpu, &x, &aa, &next)],
            };
            ops.extend([gram, kernels::matmul_f32(gpu, &a, &a, &aa)]);
            products.push(product);
        }
        ops.push(kernels::axpby(gpu, of_a, &a, of_aa, &aa));
        ops.extend(products);
        ops.push(kernels::axpby(gpu, of_x, &x, 1.0, &next));
        std::mem::swap(&mut x, &mut next);
    }
    for matrix in matrices {
        let &Matrix { rows, cols, .. } = matrix;
        // The schedule has the learning rates of AdamW.
        let scale = ((rows as f64 / cols as f64).max(1.0).sqrt() / by.ratio) as f32;
        let x = x.part("x", matrix.first - first, &[rows * cols]);
        let w = on.value.part("w", matrix.first, &[rows * cols]);
        ops.push(kernels::muon(gpu, scale, clock, schedule, &x, &w));
    }
    ops.push(kernels::abs_sums(gpu, &on.value, &on.sums));
    Ok(ops)
}

/// The values from `first` to `end`, with sums of their own.
fn part(gpu: &Gpu, of: &Trainable, first: usize, end: usize) -> Result<Trainable, Error> {
    let part = |of: &Tensor| of.part(of.label(), first, &[end - first]);
    Ok(Trainable {
        value: part(&of.value),
        grad: part(&of.grad),
        moments: Moments { m: part(&of.moments.m), v: part(&of.moments.v) },
        sums: gpu.zeros(&format!("{}.rest", of.sums.label()), F32, &[(end - first).div_ceil(BLOCK)])?,
        decayed: of.decayed.clamp(first, end) - first,
    })
}
