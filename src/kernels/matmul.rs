//! The product of a matrix and a batch of activations. The shader of every product consists of an operation (the
//! bindings), a skeleton (the walk of the workgroups) and an operand (the form of a weight). Their files are in
//! `shaders/products`, and in `shaders/software` for software rasterisers. This module is the table of all products.

use super::gemv::{base3, floats, halfs, int8, packed};
use super::{Base3Tensor, Int8Tensor, PackedTensor, batch_grid, chosen, default, matrix};
use crate::gpu::{Arithmetic, Cost, Gpu, Kernel, Op, Tensor, params};

// The field `length` counts the units of a row of the matrix: columns, words or vectors.
params! { batch: u32, rows: u32, length: u32, words: u32 }

/// The largest number of columns for which accumulators are exact as f32: 127 * cols < 2^24.
pub const MOST_COLS: usize = 132_104;

/// An operation made from these files.
macro_rules! product {
    ($operation:literal, $suffix:literal, [$($file:expr),+]) => {
        Kernel::new::<Params>(
            concat!($operation, $suffix),
            text!(concat!("products/", $operation), $($file),+),
        )
    };
}

/// The variant for any batch. Every lane computes 4 x 4 outputs from slices that its workgroup shares.
macro_rules! blocks {
    ($operation:literal, $walk:literal, [$($operand:literal),+]) => {
        product!(
            $operation,
            "",
            [
                concat!("products/skeletons/", $walk),
                concat!("products/skeletons/", $walk, "_slices"),
                $($operand),+
            ]
        )
        .tiled([4, 4])
    };
}

/// The variant for any batch with 8 x 8 outputs per lane.
macro_rules! large {
    ($operation:literal, $walk:literal, [$($operand:literal),+]) => {
        product!(
            $operation,
            "_large",
            [
                concat!("products/skeletons/", $walk, "_large"),
                concat!("products/skeletons/", $walk, "_slices"),
                $($operand),+
            ]
        )
        .tiled([8, 8])
    };
}

/// The variant for a batch of few rows. COLUMNS rows of activations share one reading of the weights.
macro_rules! small {
    ($operation:literal, [$($operand:literal),+]) => {
        product!($operation, "_small", ["products/skeletons/small", $($operand,)+ "snippets/entry"])
            .tiled([1, 4])
    };
}

/// The variant for a batch of few rows on software rasterisers. Its lanes load for each other.
macro_rules! small_broadcast {
    ($operation:literal, [$($file:literal),+]) => {
        product!(
            $operation,
            "_small_broadcast",
            ["software/small_broadcast", $($file,)+ "snippets/grid"]
        )
        .tiled([4, 1])
        .subgroup(8)
        .for_rasterisers()
    };
}

/// The variant for any batch on software rasterisers. Each lane keeps a tile of outputs in its registers.
macro_rules! tile {
    ($operation:literal, $tile:expr, [$($file:literal),+]) => {
        product!($operation, "_broadcast", [$($file),+]).tiled($tile).subgroup(8).for_rasterisers()
    };
}

/// All variants of an operation: those for any batch, those for few rows with each number of COLUMNS, and the ones
/// that are given in addition.
macro_rules! variants {
    ($arithmetic:ident, [$($tile:expr),+ $(,)?], $small:expr, $small_broadcast:expr $(, $more:expr)* $(,)?) => {
        &[
            $(&$tile.doing(Arithmetic::$arithmetic),)+
            &$small.doing(Arithmetic::$arithmetic).overridden(&[("WG", 64.0), ("COLUMNS", 2.0)]),
            &$small.doing(Arithmetic::$arithmetic).overridden(&[("WG", 64.0), ("COLUMNS", 4.0)]),
            &$small.doing(Arithmetic::$arithmetic).overridden(&[("WG", 64.0), ("COLUMNS", 8.0)]),
            &$small.doing(Arithmetic::$arithmetic).overridden(&[("WG", 64.0), ("COLUMNS", 16.0)]),
            &$small_broadcast.doing(Arithmetic::$arithmetic).overridden(&[("WG", 8.0), ("COLUMNS", 2.0)]),
            &$small_broadcast.doing(Arithmetic::$arithmetic).overridden(&[("WG", 8.0), ("COLUMNS", 4.0)]),
            &$small_broadcast.doing(Arithmetic::$arithmetic).overridden(&[("WG", 8.0), ("COLUMNS", 8.0)]),
            $(&$more,)*
        ]
    };
}

/// A workgroup with the same number of lanes on both sides, and slices of this depth.
macro_rules! square {
    ($side:literal, $depth:literal) => {
        &[("WG", $side), ("WG_Y", $side), ("DEPTH", $depth)]
    };
}

/// A workgroup that is one vector register of a CPU, and slices of this depth.
macro_rules! vector {
    ($depth:literal) => {
        &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", $depth)]
    };
}

macro_rules! ternary_blocks {
    ($macro:ident) => {
        $macro!(
            "matmul_ternary",
            "dots",
            [
                "products/operands/dots_ternary",
                "products/operands/signed_bytes",
                "snippets/ternary",
                "snippets/dot16"
            ]
        )
    };
}

/// The variant without integer dot products. One multiplication handles two rows.
macro_rules! ternary_nodot {
    () => {
        product!(
            "matmul_ternary",
            "_nodot",
            ["products/skeletons/dots_nodot", "products/skeletons/dots_slices", "snippets/row_pairs"]
        )
        .tiled([4, 4])
        .doing(Arithmetic::Pairs)
        .for_gpus_without_dot()
    };
}

pub static MATMUL_TERNARY: &[&Kernel] = variants!(
    Dot4I8,
    [
        ternary_blocks!(blocks).with(square!(16.0, 4.0), vector!(2.0)),
        ternary_blocks!(blocks).overridden(square!(8.0, 8.0)),
        ternary_blocks!(large).overridden(square!(16.0, 2.0)),
        ternary_blocks!(large).overridden(square!(8.0, 4.0)),
    ],
    small!("matmul_ternary", ["products/operands/small_ternary", "snippets/dot16", "snippets/ternary"]),
    small_broadcast!("matmul_ternary", ["software/small_ternary_broadcast", "snippets/ternary_pairs"]),
    ternary_nodot!().overridden(square!(16.0, 4.0)),
    ternary_nodot!().overridden(square!(8.0, 4.0)),
    tile!(
        "matmul_ternary",
        [8, 8],
        ["software/tile_dots", "software/tile_ternary", "snippets/dot16", "snippets/ternary"]
    )
    .doing(Arithmetic::Dot4I8),
);

macro_rules! base3_blocks {
    () => {
        blocks!(
            "matmul_base3",
            "dots",
            [
                "products/operands/dots_base3",
                "products/operands/signed_bytes",
                "snippets/base3_codes",
                "snippets/base3",
                "snippets/dot16"
            ]
        )
    };
}

pub static MATMUL_BASE3: &[&Kernel] = variants!(
    Dot4I8,
    [base3_blocks!().with(square!(16.0, 1.0), vector!(1.0)), base3_blocks!().overridden(square!(8.0, 2.0)),],
    small!(
        "matmul_base3",
        [
            "products/operands/small_base3",
            "products/operands/small_vectors",
            "snippets/base3_codes",
            "snippets/base3",
            "snippets/dot16"
        ]
    )
    .tiled([1, 2]),
    // These variants also serve batches of any size.
    small_broadcast!(
        "matmul_base3",
        ["software/small_base3_broadcast", "snippets/base3", "snippets/ternary_pairs"]
    ),
);

macro_rules! i8_blocks {
    () => {
        blocks!(
            "matmul_i8",
            "dots",
            ["products/operands/dots_i8", "products/operands/signed_bytes", "snippets/dot16"]
        )
    };
}

pub static MATMUL_I8: &[&Kernel] = variants!(
    Dot4I8,
    [i8_blocks!().with(square!(16.0, 4.0), vector!(2.0)), i8_blocks!().overridden(square!(8.0, 8.0)),],
    small!("matmul_i8", ["products/operands/small_i8", "products/operands/small_vectors", "snippets/dot16"]),
    small_broadcast!("matmul_i8", ["software/small_i8_broadcast", "snippets/dot16"]),
    tile!("matmul_i8", [8, 8], ["software/tile_dots", "software/tile_i8", "snippets/dot16"])
        .doing(Arithmetic::Dot4I8),
);

macro_rules! f32_blocks {
    ($macro:ident) => {
        $macro!(
            "matmul_f32",
            "outer",
            ["products/operands/outer_f32", "products/operands/outer_terms", "products/operands/unscaled"]
        )
    };
}

pub static MATMUL_F32: &[&Kernel] = variants!(
    FmaF32,
    [
        f32_blocks!(blocks).with(square!(16.0, 16.0), vector!(8.0)),
        f32_blocks!(blocks).overridden(square!(8.0, 32.0)),
        f32_blocks!(large).overridden(square!(16.0, 8.0)),
        f32_blocks!(large).overridden(square!(8.0, 8.0)),
    ],
    small!("matmul_f32", ["products/operands/small_f32"]),
    small_broadcast!("matmul_f32", ["software/small_f32_broadcast"]),
    tile!("matmul_f32", [8, 16], ["software/tile", "software/spread_rows", "software/tile_f32"]),
);

macro_rules! f16_blocks {
    ($macro:ident) => {
        $macro!("matmul_f16", "outer", ["products/operands/outer_f16", "products/operands/unscaled"])
    };
}

pub static MATMUL_F16: &[&Kernel] = variants!(
    FmaF32,
    [
        f16_blocks!(blocks).with(square!(16.0, 16.0), vector!(8.0)),
        f16_blocks!(blocks).overridden(square!(8.0, 32.0)),
        f16_blocks!(large).overridden(square!(8.0, 8.0)),
        f16_blocks!(large).overridden(square!(16.0, 8.0)),
    ],
    small!(
        "matmul_f16",
        ["products/operands/small_f16", "products/operands/small_vectors", "snippets/halfs"]
    ),
    small_broadcast!("matmul_f16", ["software/small_f16_broadcast", "snippets/halfs"]),
    tile!(
        "matmul_f16",
        [8, 16],
        ["software/tile", "software/spread_rows", "software/tile_f16", "snippets/halfs"]
    ),
);

/// The op of a kernel and a batch, for a matrix with `rows` rows of this length. The tensors come in the order of the
/// bindings.
fn bind(
    gpu: &Gpu,
    kernel: &'static Kernel,
    batch: usize,
    [rows, length, words]: [usize; 3],
    cols: usize,
    tensors: &[&Tensor],
) -> Op {
    let params =
        Params { batch: batch as u32, rows: rows as u32, length: length as u32, words: words as u32 };
    let cost = Cost {
        bytes: tensors.iter().map(|tensor| tensor.bytes()).sum(),
        ops: 2 * (batch * rows * cols) as u64,
    };
    gpu.op(kernel, params, tensors, batch_grid(gpu, kernel, batch, rows), cost)
}

/// `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`, in f32. Ternary products are compared with this one.
pub fn matmul_f32(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    matmul_f32_variant(gpu, default(gpu, "matmul_f32", x.shape()[0]), x, w, y)
}

/// [`matmul_f32`] with the given variant.
pub fn matmul_f32_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let batch = x.shape()[0];
    let (row, cols) = floats("matmul_f32", batch, x, w, y);
    bind(gpu, kernel, batch, row, cols, &[x, w, y])
}

/// `y[batch, rows] <- x[batch, cols] W[rows, cols]^T`, with `x` and `W` from [`f16_words`](super::f16_words). The
/// products are exact in f32, and the sum is in f32. This is how GPUs without matrix units run networks today.
///
/// A device may replace subnormal f16, which are below 2^-14, by 0.
pub fn matmul_f16(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    matmul_f16_variant(gpu, default(gpu, "matmul_f16", x.shape()[0]), x, w, y)
}

/// [`matmul_f16`] with the given variant.
pub fn matmul_f16_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let batch = x.shape()[0];
    let (row, cols) = halfs("matmul_f16", batch, x, w, y);
    bind(gpu, kernel, batch, row, cols, &[x, w, y])
}

/// `acc[batch, rows] <- sum_k W[rows, k] q[batch, k]`, in i32, for int8 weights in the layout of activations: four
/// per word, rows padded to whole vectors of sixteen.
pub fn matmul_i8(gpu: &Gpu, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let [rows, width] = matrix("matmul_i8", w);
    let shape = [x.q.shape()[0], rows, 4 * width];
    matmul_i8_variant(gpu, chosen(gpu, "matmul_i8", shape), x, w, acc)
}

/// [`matmul_i8`] with the given variant.
pub fn matmul_i8_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let batch = x.q.shape()[0];
    let (row, cols) = int8("matmul_i8", batch, x, w, acc);
    bind(gpu, kernel, batch, row, cols, &[w, &x.q, acc])
}

/// `acc[batch, rows] <- sum_k T[rows, k] q[batch, k]`, in i32.
pub fn matmul_ternary(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    let shape = [x.sum.len(), w.rows(), w.cols];
    matmul_ternary_variant(gpu, chosen(gpu, "matmul_ternary", shape), x, w, acc)
}

/// [`matmul_ternary`] with the given variant.
pub fn matmul_ternary_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let batch = x.sum.len();
    let row = packed("matmul_ternary", batch, x, w, acc);
    bind(gpu, kernel, batch, row, w.cols, &[&w.words, &x.q, &x.sum, acc])
}

/// `acc[batch, rows] <- sum_k T[rows, k] q[batch, k]`, in i32, for a matrix with five trits per byte.
pub fn matmul_base3(gpu: &Gpu, x: &Int8Tensor, w: &Base3Tensor, acc: &Tensor) -> Op {
    let shape = [x.sum.len(), w.words.shape()[0], w.cols];
    matmul_base3_variant(gpu, chosen(gpu, "matmul_base3", shape), x, w, acc)
}

/// [`matmul_base3`] with the given variant.
pub fn matmul_base3_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &Base3Tensor,
    acc: &Tensor,
) -> Op {
    let batch = x.sum.len();
    let row = base3("matmul_base3", batch, x, w, acc);
    bind(gpu, kernel, batch, row, w.cols, &[&w.words, &x.q, &x.sum, acc])
}
