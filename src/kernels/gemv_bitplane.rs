//! Trits times trits by counting bits: the one product here that no multiplier is behind. Its activations are trits
//! too, so it computes something coarser than the kernels that take int8. Shaders: `shaders/gemv_bitplane*.wgsl`.

use super::{MOST_COLS, expect, preferred, row_grid};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Error, Gpu, Kernel, Op, Tensor, params};
use crate::ternary::{self, Bitplanes};

params! { rows: u32, vectors: u32 }

/// A shader by its name.
macro_rules! bitcount {
    ($name:literal) => {
        Kernel::new::<Params>(
            $name,
            concat!(
                include_str!(concat!("../../shaders/", $name, ".wgsl")),
                include_str!("../../shaders/bitplane.wgsl"),
                include_str!("../../shaders/grid.wgsl"),
            ),
        )
        .doing(Arithmetic::BitCount)
    };
}

const fn subgroup() -> Kernel {
    bitcount!("gemv_bitplane_subgroup").tiled([1, 4]).subgroup(4)
}

pub static VARIANTS: &[&Kernel] = &[
    &bitcount!("gemv_bitplane").tiled([1, 4]),
    &subgroup(),
    &subgroup().overridden(&[("WG", 32.0)]),
    &subgroup().overridden(&[("WG", 128.0)]),
    &bitcount!("gemv_bitplane_broadcast").tiled([1, 1]).subgroup(8).for_rasterisers(),
];

/// A ternary matrix, or a row of ternary activations, on the device as bit planes.
#[derive(Clone, Debug)]
pub struct BitplaneTensor {
    /// `u32 [rows, 4 * vectors]`, see [`Bitplanes`].
    pub words: Tensor,
    /// Inputs of the matrix; the words alone do not tell.
    pub cols: usize,
}

impl BitplaneTensor {
    /// Copies a matrix to the device.
    ///
    /// # Errors
    /// If the adapter cannot bind it.
    pub fn upload(gpu: &Gpu, label: &str, w: &Bitplanes) -> Result<BitplaneTensor, Error> {
        let shape = [w.rows, 4 * ternary::bitplane_vectors(w.cols)];
        Ok(BitplaneTensor { words: gpu.upload(&format!("{label}.planes"), &shape, &w.words)?, cols: w.cols })
    }
}

/// `acc[1, rows] <- sum_k T[rows, k] t[1, k]`, in i32, of ternary activations `t`.
///
/// Activations become trits as weights do, `t = clamp(round(x / beta), -1, 1)` with `beta` the mean `|x|` of the row:
/// [`Packed::quantize`](crate::Packed::quantize) of one row, then [`Bitplanes::pack`].
pub fn gemv_bitplane(gpu: &Gpu, x: &BitplaneTensor, w: &BitplaneTensor, acc: &Tensor) -> Op {
    gemv_bitplane_variant(gpu, preferred(gpu, VARIANTS), x, w, acc)
}

/// [`gemv_bitplane`] by a variant of one's choice.
pub fn gemv_bitplane_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &BitplaneTensor,
    w: &BitplaneTensor,
    acc: &Tensor,
) -> Op {
    let (rows, cols) = (w.words.shape()[0], w.cols);
    let vectors = ternary::bitplane_vectors(cols);
    assert!(cols <= MOST_COLS, "gemv_bitplane: {cols} columns exceed {MOST_COLS}");
    assert!(x.cols == cols, "gemv_bitplane: {} activations for {cols} columns", x.cols);
    expect("gemv_bitplane", &w.words, U32, &[rows, 4 * vectors]);
    expect("gemv_bitplane", &x.words, U32, &[1, 4 * vectors]);
    expect("gemv_bitplane", acc, I32, &[1, rows]);
    let params = Params { rows: rows as u32, vectors: vectors as u32 };
    let cost = Cost { bytes: w.words.bytes() + x.words.bytes() + acc.bytes(), ops: 2 * (rows * cols) as u64 };
    gpu.op(kernel, params, &[&w.words, &x.words, acc], row_grid(kernel, rows), cost)
}
