//! Trits, five to a byte, times one row of int8 activations: fewer bytes than 2 bits a weight, more operations.
//! Shaders: `shaders/gemv_base3*.wgsl`, the base and `_subgroup` for GPUs, `_nodot` for those without integer
//! dot products, `_wide` for software rasterisers.

use super::{Int8Tensor, MOST_COLS, chosen, expect, row_grid};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Error, Gpu, Kernel, Op, Tensor, WG_CPU, params};
use crate::ternary::{self, Base3};

params! { rows: u32, vectors: u32, words: u32 }

/// A shader with what it knows of the format.
macro_rules! shader {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $file)),
            include_str!("../../shaders/base3.wgsl"),
            include_str!("../../shaders/grid.wgsl"),
        )
    };
}

/// The same with a packed dot product for four terms.
macro_rules! dotted {
    ($file:literal) => {
        concat!(shader!($file), include_str!("../../shaders/base3_dot.wgsl"))
    };
}

/// The same with two terms a multiplication.
const PAIRED: &str =
    concat!(shader!("gemv_base3_wide.wgsl"), include_str!("../../shaders/ternary_pairs.wgsl"));

/// The same with two rows a multiplication.
const NODOT: &str = concat!(shader!("gemv_base3_nodot.wgsl"), include_str!("../../shaders/row_pairs.wgsl"));

const fn subgroup() -> Kernel {
    Kernel::dot4::<Params>("gemv_base3_subgroup", dotted!("gemv_base3_subgroup.wgsl"))
        .tiled([1, 4])
        .subgroup(4)
}

pub static VARIANTS: &[&Kernel] = &[
    &Kernel::dot4::<Params>("gemv_base3", dotted!("gemv_base3.wgsl")).tiled([1, 4]),
    &subgroup(),
    &subgroup().overridden(&[("WG", 32.0)]),
    &subgroup().overridden(&[("WG", 128.0)]),
    &Kernel::new::<Params>("gemv_base3_nodot", NODOT)
        .tiled([1, 4])
        .doing(Arithmetic::Pairs)
        .for_gpus_without_dot(),
    &Kernel::dot4::<Params>("gemv_base3_wide", PAIRED).tiled([4, 1]).for_rasterisers().overridden(WG_CPU),
];

/// A ternary matrix on the device, five trits to a byte.
#[derive(Clone, Debug)]
pub struct Base3Tensor {
    /// `u32 [rows, 4 * vectors]`, see [`Base3`].
    pub words: Tensor,
    /// Inputs of the matrix; the words alone do not tell.
    pub cols: usize,
}

impl Base3Tensor {
    /// Copies a matrix to the device.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn upload(gpu: &Gpu, label: &str, w: &Base3) -> Result<Base3Tensor, Error> {
        let shape = [w.rows, 4 * ternary::base3_vectors(w.cols)];
        Ok(Base3Tensor { words: gpu.upload(&format!("{label}.base3"), &shape, &w.words)?, cols: w.cols })
    }
}

/// `acc[1, rows] <- sum_k T[rows, k] q[1, k]`, in i32.
pub fn gemv_base3(gpu: &Gpu, x: &Int8Tensor, w: &Base3Tensor, acc: &Tensor) -> Op {
    gemv_base3_variant(gpu, chosen(gpu, "gemv_base3", [1, w.words.shape()[0], w.cols]), x, w, acc)
}

/// [`gemv_base3`] by a variant of one's choice.
pub fn gemv_base3_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &Base3Tensor,
    acc: &Tensor,
) -> Op {
    let (rows, cols) = (w.words.shape()[0], w.cols);
    let (vectors, words) = (ternary::base3_vectors(cols), ternary::words(cols));
    assert!(cols <= MOST_COLS, "gemv_base3: {cols} columns exceed {MOST_COLS}");
    expect("gemv_base3", &w.words, U32, &[rows, 4 * vectors]);
    expect("gemv_base3", &x.q, U32, &[1, 4 * words]);
    expect("gemv_base3", &x.sum, I32, &[1]);
    expect("gemv_base3", acc, I32, &[1, rows]);
    let params = Params { rows: rows as u32, vectors: vectors as u32, words: words as u32 };
    let cost = Cost {
        bytes: w.words.bytes() + x.q.bytes() + x.sum.bytes() + acc.bytes(),
        ops: 2 * (rows * cols) as u64,
    };
    gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, acc], row_grid(kernel, rows), cost)
}
