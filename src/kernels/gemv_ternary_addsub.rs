//! Packed trits times one row of int8 activations, without a multiplication: what the format promises, made
//! literal, to be measured beside kernels that multiply. Shader: `shaders/gemv_ternary_addsub.wgsl`.

use super::{Int8Tensor, MOST_COLS, PackedTensor, chosen, expect, row_grid};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Gpu, Kernel, Op, Tensor, params};
use crate::ternary;

params! { rows: u32, words: u32 }

const fn base() -> Kernel {
    let wgsl = concat!(
        include_str!("../../shaders/gemv_ternary_addsub.wgsl"),
        include_str!("../../shaders/ternary.wgsl"),
        include_str!("../../shaders/grid.wgsl"),
    );
    Kernel::new::<Params>("gemv_ternary_addsub", wgsl).tiled([1, 2]).doing(Arithmetic::AddI32)
}

pub static VARIANTS: &[&Kernel] =
    &[&base(), &base().overridden(&[("WG", 32.0)]), &base().overridden(&[("WG", 128.0)])];

/// `acc[1, rows] <- sum_k T[rows, k] q[1, k]`, in i32, by adding, subtracting and skipping.
pub fn gemv_ternary_addsub(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    gemv_ternary_addsub_variant(gpu, chosen(gpu, "gemv_ternary_addsub", [1, w.rows(), w.cols]), x, w, acc)
}

/// [`gemv_ternary_addsub`] by a variant of one's choice.
pub fn gemv_ternary_addsub_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let (rows, words) = (w.rows(), ternary::words(w.cols));
    assert!(w.cols <= MOST_COLS, "gemv_ternary_addsub: {} columns exceed {MOST_COLS}", w.cols);
    expect("gemv_ternary_addsub", &w.words, U32, &[rows, words]);
    expect("gemv_ternary_addsub", &x.q, U32, &[1, 4 * words]);
    expect("gemv_ternary_addsub", acc, I32, &[1, rows]);
    let params = Params { rows: rows as u32, words: words as u32 };
    let cost = Cost { bytes: w.words.bytes() + x.q.bytes() + acc.bytes(), ops: 2 * (rows * w.cols) as u64 };
    gpu.op(kernel, params, &[&w.words, &x.q, acc], row_grid(kernel, rows), cost)
}
