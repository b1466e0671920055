//! The product of a matrix and one row of activations. A network computes it for one image or one token, and the
//! bytes of the weights bound its speed. The shader of every product consists of an operation (the bindings), a
//! skeleton (the walk of the lanes) and an operand (the form of a weight). Their files are in `shaders/products`, and
//! in `shaders/software` for software rasterisers. This module is the table of all products.

use half::f16;

use super::{Int8Tensor, MOST_COLS, PackedTensor, chosen, expect, matrix, preferred, row_grid};
use crate::gpu::{Arithmetic, Cost, Dtype::*, Error, Gpu, Kernel, Op, Tensor, WG_CPU, params};
use crate::ternary::{self, Base3, Bitplanes};

// The field `length` counts the units of a row of the matrix: columns, words or vectors.
params! { rows: u32, length: u32, words: u32 }

/// An operation with this skeleton, whose lanes walk along the rows together. `$main` is the snippet that finds the number
/// of the workgroup.
macro_rules! walked {
    ($skeleton:literal, $main:literal, $operation:literal, [$($operand:literal),+]) => {
        text!(
            concat!("products/", $operation),
            concat!("products/skeletons/", $skeleton),
            "products/skeletons/gemv_walk",
            $($operand,)+
            concat!("snippets/", $main),
        )
    };
}

/// The portable base of an operation.
macro_rules! base {
    ($operation:literal, $operands:tt) => {
        Kernel::new::<Params>($operation, walked!("gemv", "entry", $operation, $operands)).tiled([1, 4])
    };
}

/// The variant for GPUs without integer dot products, with another operand.
macro_rules! nodot {
    ($operation:literal, $operands:tt) => {
        Kernel::new::<Params>(concat!($operation, "_nodot"), walked!("gemv", "entry", $operation, $operands))
            .tiled([1, 4])
            .for_gpus_without_dot()
    };
}

/// The variant that adds up in subgroups.
macro_rules! subgroup {
    ($operation:literal, $operands:tt) => {
        Kernel::new::<Params>(
            concat!($operation, "_subgroup"),
            walked!("gemv_subgroup", "grid", $operation, $operands),
        )
        .tiled([1, 4])
        .subgroup(4)
    };
}

/// The variant for software rasterisers, whose lanes load for each other.
macro_rules! broadcast {
    ($operation:literal, [$($operand:literal),+]) => {
        Kernel::new::<Params>(
            concat!($operation, "_broadcast"),
            text!(
                concat!("products/", $operation),
                "software/gemv_broadcast",
                $($operand,)+
                "snippets/grid",
            ),
        )
        .tiled([2, 1])
        .subgroup(8)
        .for_rasterisers()
    };
}

/// All variants of an operation: those for GPUs, and the ones that are given in addition.
macro_rules! variants {
    ($operation:literal, $arithmetic:ident, $operands:tt $(, $more:expr)* $(,)?) => {
        &[
            &base!($operation, $operands).doing(Arithmetic::$arithmetic),
            &subgroup!($operation, $operands).doing(Arithmetic::$arithmetic),
            &subgroup!($operation, $operands).doing(Arithmetic::$arithmetic).overridden(&[("WG", 32.0)]),
            &subgroup!($operation, $operands).doing(Arithmetic::$arithmetic).overridden(&[("WG", 128.0)]),
            $(&$more),*
        ]
    };
}

pub static GEMV_F32: &[&Kernel] = variants!(
    "gemv_f32",
    FmaF32,
    ["products/operands/f32", "products/operands/sums_f32"],
    broadcast!(
        "gemv_f32",
        ["software/eight_vectors", "software/two_steps", "software/two_f32", "products/operands/f32"]
    ),
);

pub static GEMV_F16: &[&Kernel] = variants!(
    "gemv_f16",
    FmaF32,
    [
        "products/operands/f16",
        "products/operands/whole_vectors",
        "products/operands/sums_f32",
        "snippets/halfs"
    ],
    broadcast!(
        "gemv_f16",
        [
            "software/eight_halfs",
            "software/two_steps",
            "software/two_f32",
            "products/operands/f16",
            "products/operands/whole_vectors",
            "snippets/halfs"
        ]
    ),
);

pub static GEMV_I8: &[&Kernel] = variants!(
    "gemv_i8",
    Dot4I8,
    [
        "products/operands/i8",
        "products/operands/whole_vectors",
        "products/operands/sums_i32",
        "products/operands/terms_i32"
    ],
    nodot!(
        "gemv_i8",
        [
            "products/operands/i8_nodot",
            "products/operands/whole_vectors",
            "products/operands/sums_i32",
            "products/operands/terms_i32"
        ]
    ),
    broadcast!(
        "gemv_i8",
        [
            "software/eight_vectors",
            "software/two_steps",
            "software/two_i32",
            "products/operands/i8",
            "products/operands/whole_vectors"
        ]
    )
    .doing(Arithmetic::Dot4I8),
);

pub static GEMV_TERNARY: &[&Kernel] = variants!(
    "gemv_ternary",
    Dot4I8,
    [
        "products/operands/ternary_dot",
        "products/operands/packed_words",
        "products/operands/sums_i32",
        "products/operands/terms_i32",
        "snippets/ternary"
    ],
    nodot!(
        "gemv_ternary",
        [
            "products/operands/ternary_nodot",
            "products/operands/packed_words",
            "products/operands/sums_i32",
            "snippets/row_pairs"
        ]
    )
    .doing(Arithmetic::Pairs),
    broadcast!("gemv_ternary", ["software/ternary_pairs_broadcast", "snippets/ternary_pairs"])
        .doing(Arithmetic::Dot4I8),
);

/// Variants that only add, subtract and skip, as a ternary format allows. Benchmarks compare them with kernels that
/// multiply.
macro_rules! addsub {
    () => {
        base!(
            "gemv_ternary_addsub",
            [
                "products/operands/ternary_addsub",
                "products/operands/packed_words",
                "products/operands/two_rows_i32",
                "snippets/ternary"
            ]
        )
        .tiled([1, 2])
        .doing(Arithmetic::AddI32)
    };
}

pub static GEMV_TERNARY_ADDSUB: &[&Kernel] =
    &[&addsub!(), &addsub!().overridden(&[("WG", 32.0)]), &addsub!().overridden(&[("WG", 128.0)])];

pub static GEMV_BASE3: &[&Kernel] = variants!(
    "gemv_base3",
    Dot4I8,
    [
        "products/operands/base3_dot",
        "products/operands/base3_vectors",
        "products/operands/whole_vectors",
        "products/operands/sums_i32",
        "products/operands/terms_i32",
        "snippets/base3"
    ],
    nodot!(
        "gemv_base3",
        [
            "products/operands/base3_nodot",
            "products/operands/base3_vectors",
            "products/operands/whole_vectors",
            "products/operands/sums_i32",
            "snippets/base3",
            "snippets/row_pairs"
        ]
    )
    .doing(Arithmetic::Pairs),
    Kernel::dot4::<Params>(
        "gemv_base3_wide",
        text!(
            "products/gemv_base3",
            "software/gemv_wide",
            "products/skeletons/gemv_walk",
            "software/base3_pairs",
            "products/operands/whole_vectors",
            "snippets/base3",
            "snippets/ternary_pairs",
            "snippets/entry",
        ),
    )
    .tiled([4, 1])
    .overridden(WG_CPU)
    .for_rasterisers(),
);

pub static GEMV_BITPLANE: &[&Kernel] = variants!(
    "gemv_bitplane",
    BitCount,
    [
        "products/operands/bitplane",
        "products/operands/whole_vectors",
        "products/operands/sums_i32",
        "products/operands/terms_i32"
    ],
    broadcast!(
        "gemv_bitplane",
        [
            "software/eight_vectors",
            "software/two_steps",
            "software/two_i32",
            "products/operands/bitplane",
            "products/operands/whole_vectors"
        ]
    )
    .doing(Arithmetic::BitCount),
);

/// The op of a kernel for a matrix with `rows` rows of this length. The tensors come in the order of the bindings,
/// the output last.
fn bind(
    gpu: &Gpu,
    kernel: &'static Kernel,
    [rows, length, words]: [usize; 3],
    cols: usize,
    tensors: &[&Tensor],
) -> Op {
    let params = Params { rows: rows as u32, length: length as u32, words: words as u32 };
    let cost =
        Cost { bytes: tensors.iter().map(|tensor| tensor.bytes()).sum(), ops: 2 * (rows * cols) as u64 };
    gpu.op(kernel, params, tensors, row_grid(kernel, rows), cost)
}

// --- floats ----------------------------------------------------------------------------------------

/// `y[1, rows] <- x[1, cols] W[rows, cols]^T`, in f32: [`matmul_f32`](super::matmul_f32) of a batch of 1.
pub fn gemv_f32(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    gemv_f32_variant(gpu, preferred(gpu, GEMV_F32), x, w, y)
}

/// [`gemv_f32`] with the given variant.
pub fn gemv_f32_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let (row, cols) = floats("gemv_f32", 1, x, w, y);
    bind(gpu, kernel, row, cols, &[x, w, y])
}

/// Asserts that a matrix of floats fits a batch of `x` and `y`. Returns the fields of `Params` and the number of
/// columns.
pub(super) fn floats(
    operation: &str,
    batch: usize,
    x: &Tensor,
    w: &Tensor,
    y: &Tensor,
) -> ([usize; 3], usize) {
    let [rows, cols] = matrix(operation, w);
    expect(operation, x, F32, &[batch, cols]);
    expect(operation, w, F32, &[rows, cols]);
    expect(operation, y, F32, &[batch, rows]);
    ([rows, cols, 0], cols)
}

/// Number of 16-byte vectors in a row of `cols` values of f16.
pub fn f16_vectors(cols: usize) -> usize {
    cols.div_ceil(8)
}

/// Rows of `cols` floats as f16 for [`gemv_f16`]: rounded to nearest even, two per word, each row padded with zeros
/// to whole vectors of eight.
pub fn f16_words(x: &[f32], cols: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(4 * x.len().div_ceil(cols.max(1)) * f16_vectors(cols));
    for row in x.chunks_exact(cols) {
        let bits = |i: usize| row.get(i).map_or(0, |&x| u32::from(f16::from_f32(x).to_bits()));
        words.extend((0..4 * f16_vectors(cols)).map(|i| bits(2 * i) | bits(2 * i + 1) << 16));
    }
    words
}

/// `y[1, rows] <- x[1, cols] W[rows, cols]^T`, with `x` and `W` from [`f16_words`]. The products are exact in f32,
/// and the sum is in f32.
///
/// A device may replace subnormal f16, which are below 2^-14, by 0.
pub fn gemv_f16(gpu: &Gpu, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    gemv_f16_variant(gpu, preferred(gpu, GEMV_F16), x, w, y)
}

/// [`gemv_f16`] with the given variant.
pub fn gemv_f16_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Tensor, w: &Tensor, y: &Tensor) -> Op {
    let (row, cols) = halfs("gemv_f16", 1, x, w, y);
    bind(gpu, kernel, row, cols, &[x, w, y])
}

/// [`floats`] for a matrix of f16. The tensor does not store its number of columns, so the padding counts as columns.
pub(super) fn halfs(
    operation: &str,
    batch: usize,
    x: &Tensor,
    w: &Tensor,
    y: &Tensor,
) -> ([usize; 3], usize) {
    let [rows, width] = matrix(operation, w);
    let vectors = width / 4;
    expect(operation, x, U32, &[batch, 4 * vectors]);
    expect(operation, w, U32, &[rows, 4 * vectors]);
    expect(operation, y, F32, &[batch, rows]);
    ([rows, vectors, 0], 8 * vectors)
}

// --- int8 ------------------------------------------------------------------------------------------

/// The largest number of columns, padded to whole vectors, for which even a sum of (-128)(-128) stays below 2^31.
pub const MOST_COLS_I8: usize = 131_056;

/// `acc[1, rows] <- sum_k W[rows, k] q[1, k]`, in i32, for int8 weights in the layout of activations: four per word,
/// rows padded to whole vectors of sixteen.
pub fn gemv_i8(gpu: &Gpu, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let [rows, width] = matrix("gemv_i8", w);
    gemv_i8_variant(gpu, chosen(gpu, "gemv_i8", [1, rows, 4 * width]), x, w, acc)
}

/// [`gemv_i8`] with the given variant.
pub fn gemv_i8_variant(gpu: &Gpu, kernel: &'static Kernel, x: &Int8Tensor, w: &Tensor, acc: &Tensor) -> Op {
    let (row, cols) = int8("gemv_i8", 1, x, w, acc);
    bind(gpu, kernel, row, cols, &[w, &x.q, acc])
}

/// [`floats`] for a matrix of int8. The tensor does not store its number of columns, so the padding counts as
/// columns.
pub(super) fn int8(
    operation: &str,
    batch: usize,
    x: &Int8Tensor,
    w: &Tensor,
    acc: &Tensor,
) -> ([usize; 3], usize) {
    let [rows, width] = matrix(operation, w);
    let vectors = width / 4;
    assert!(16 * vectors <= MOST_COLS_I8, "{operation}: {} columns exceed {MOST_COLS_I8}", 16 * vectors);
    expect(operation, w, U32, &[rows, 4 * vectors]);
    expect(operation, &x.q, U32, &[batch, 4 * vectors]);
    expect(operation, acc, I32, &[batch, rows]);
    ([rows, vectors, 0], 16 * vectors)
}

// --- two bits --------------------------------------------------------------------------------------

/// `acc[1, rows] <- sum_k T[rows, k] q[1, k]`, in i32: [`matmul_ternary`](super::matmul_ternary) of a batch of 1.
pub fn gemv_ternary(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    gemv_ternary_variant(gpu, chosen(gpu, "gemv_ternary", [1, w.rows(), w.cols]), x, w, acc)
}

/// [`gemv_ternary`] with the given variant.
pub fn gemv_ternary_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let row = packed("gemv_ternary", 1, x, w, acc);
    bind(gpu, kernel, row, w.cols, &[&w.words, &x.q, &x.sum, acc])
}

/// `acc[1, rows] <- sum_k T[rows, k] q[1, k]`, in i32. It adds for 1, subtracts for -1 and skips for 0.
pub fn gemv_ternary_addsub(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    gemv_ternary_addsub_variant(gpu, chosen(gpu, "gemv_ternary_addsub", [1, w.rows(), w.cols]), x, w, acc)
}

/// [`gemv_ternary_addsub`] with the given variant.
pub fn gemv_ternary_addsub_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let row = packed("gemv_ternary_addsub", 1, x, w, acc);
    bind(gpu, kernel, row, w.cols, &[&w.words, &x.q, acc])
}

/// [`floats`] for a packed ternary matrix.
pub(super) fn packed(
    operation: &str,
    batch: usize,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> [usize; 3] {
    let (rows, words) = (w.rows(), ternary::words(w.cols));
    assert!(w.cols <= MOST_COLS, "{operation}: {} columns exceed {MOST_COLS}", w.cols);
    expect(operation, &w.words, U32, &[rows, words]);
    expect(operation, &x.q, U32, &[batch, 4 * words]);
    expect(operation, &x.sum, I32, &[batch]);
    expect(operation, acc, I32, &[batch, rows]);
    [rows, words, words]
}

// --- base 3 ----------------------------------------------------------------------------------------

/// A ternary matrix on the device with five trits per byte.
#[derive(Clone, Debug)]
pub struct Base3Tensor {
    /// `u32 [rows, 4 * vectors]`, see [`Base3`].
    pub words: Tensor,
    /// Number of inputs of the matrix. The shape of `words` does not give it.
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

/// `acc[1, rows] <- sum_k T[rows, k] q[1, k]`, in i32. It reads fewer bytes than 2 bits per weight and does more
/// operations.
pub fn gemv_base3(gpu: &Gpu, x: &Int8Tensor, w: &Base3Tensor, acc: &Tensor) -> Op {
    gemv_base3_variant(gpu, chosen(gpu, "gemv_base3", [1, w.words.shape()[0], w.cols]), x, w, acc)
}

/// [`gemv_base3`] with the given variant.
pub fn gemv_base3_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &Base3Tensor,
    acc: &Tensor,
) -> Op {
    let row = base3("gemv_base3", 1, x, w, acc);
    bind(gpu, kernel, row, w.cols, &[&w.words, &x.q, &x.sum, acc])
}

/// [`floats`] for a matrix in base 3.
pub(super) fn base3(
    operation: &str,
    batch: usize,
    x: &Int8Tensor,
    w: &Base3Tensor,
    acc: &Tensor,
) -> [usize; 3] {
    let (rows, cols) = (w.words.shape()[0], w.cols);
    let (vectors, words) = (ternary::base3_vectors(cols), ternary::words(cols));
    assert!(cols <= MOST_COLS, "{operation}: {cols} columns exceed {MOST_COLS}");
    expect(operation, &w.words, U32, &[rows, 4 * vectors]);
    expect(operation, &x.q, U32, &[batch, 4 * words]);
    expect(operation, &x.sum, I32, &[batch]);
    expect(operation, acc, I32, &[batch, rows]);
    [rows, vectors, words]
}

// --- bit planes ------------------------------------------------------------------------------------

/// A ternary matrix on the device as bit planes. It can also be a row of ternary activations.
#[derive(Clone, Debug)]
pub struct BitplaneTensor {
    /// `u32 [rows, 4 * vectors]`, see [`Bitplanes`].
    pub words: Tensor,
    /// Number of inputs of the matrix. The shape of `words` does not give it.
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

/// `acc[1, rows] <- sum_k T[rows, k] t[1, k]`, in i32, for ternary activations `t`. This product needs no multiplier.
/// Its activations are coarser than int8.
///
/// Activations become trits as weights do: `t = clamp(round(x / beta), -1, 1)` with `beta` the mean `|x|` of the row.
/// [`Packed::quantize`](crate::Packed::quantize) does this for one row, and [`Bitplanes::pack`] packs the trits.
pub fn gemv_bitplane(gpu: &Gpu, x: &BitplaneTensor, w: &BitplaneTensor, acc: &Tensor) -> Op {
    gemv_bitplane_variant(gpu, preferred(gpu, GEMV_BITPLANE), x, w, acc)
}

/// [`gemv_bitplane`] with the given variant.
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
    bind(gpu, kernel, [rows, vectors, 0], cols, &[&w.words, &x.words, acc])
}
