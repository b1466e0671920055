//! The embedding: it turns tokens into rows of floats. Its backward pass adds the gradients of these rows to the rows
//! of the table. The head multiplies by the same table. For inference the table may be stored as f16 or as int8, in
//! pieces of rows that the adapter can bind. Shaders: `shaders/lm`.

use super::{expect, f16_vectors, matrix, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, WG_CPU, params, value};
use crate::ternary;

// --- embed_gather ---------------------------------------------------------------------------------

params! { struct GatherParams { tokens: u32, vocabulary: u32, width: u32, first: u32 } }

pub static EMBED_GATHER: Kernel = Kernel::new::<GatherParams>(
    "embed_gather",
    text!("lm/embed_gather", "lm/skeletons/gather", "snippets/entry"),
)
.tiled([4, 1]);

/// `h[tokens, width] <- e[ids[tokens], width]`. The width is a multiple of 4.
pub fn embed_gather(gpu: &Gpu, ids: &Tensor, e: &Tensor, h: &Tensor) -> Op {
    embed_gather_from(gpu, ids, e, 0, h)
}

/// [`embed_gather`] of a piece `e` of a table: the rows of the ids from `first` on. Rows of `h` with other ids do not
/// change.
pub fn embed_gather_from(gpu: &Gpu, ids: &Tensor, e: &Tensor, first: usize, h: &Tensor) -> Op {
    let (params, [vocabulary, width]) = gather("embed_gather", ids, e, first, h);
    expect("embed_gather", e, F32, &[vocabulary, width]);
    let cost = Cost { bytes: ids.bytes() + 2 * h.bytes(), ops: 0 };
    gpu.op(&EMBED_GATHER, params, &[ids, e, h], Grid::Each(h.len()), cost)
}

/// Asserts the shapes of `ids[tokens]` and `h[tokens, width]`. Returns the fields of `Params`, and the number of rows of
/// the table `e` with the width.
fn gather(kernel: &str, ids: &Tensor, e: &Tensor, first: usize, h: &Tensor) -> (GatherParams, [usize; 2]) {
    let ([tokens, width], [vocabulary, _]) = (matrix(kernel, h), matrix(kernel, e));
    expect(kernel, ids, I32, &[tokens]);
    expect(kernel, h, F32, &[tokens, width]);
    assert!(width.is_multiple_of(4), "{kernel}: rows of {width} are not whole vectors of four");
    let [tokens, rows, columns, first] = [tokens, vocabulary, width, first].map(|n| n as u32);
    (GatherParams { tokens, vocabulary: rows, width: columns, first }, [vocabulary, width])
}

// --- embed_gather_f16 -----------------------------------------------------------------------------

pub static EMBED_GATHER_F16: Kernel = Kernel::new::<GatherParams>(
    "embed_gather_f16",
    text!("lm/embed_gather_f16", "lm/skeletons/gather", "snippets/entry"),
)
.tiled([4, 1]);

/// [`embed_gather_from`] of a table from [`f16_words`](super::f16_words). The width is a multiple of 8.
///
/// A device may replace subnormal f16, which are below 2^-14, by 0.
pub fn embed_gather_f16(gpu: &Gpu, ids: &Tensor, e: &Tensor, first: usize, h: &Tensor) -> Op {
    let (params, [vocabulary, width]) = gather("embed_gather_f16", ids, e, first, h);
    assert!(width.is_multiple_of(8), "embed_gather_f16: rows of {width} are not whole vectors of eight");
    expect("embed_gather_f16", e, U32, &[vocabulary, 4 * f16_vectors(width)]);
    let cost = Cost { bytes: ids.bytes() + h.bytes() + h.bytes() / 2, ops: 0 };
    gpu.op(&EMBED_GATHER_F16, params, &[ids, e, h], Grid::Each(h.len()), cost)
}

// --- embed_gather_int8 ----------------------------------------------------------------------------

pub static EMBED_GATHER_INT8: Kernel = Kernel::new::<GatherParams>(
    "embed_gather_int8",
    text!("lm/embed_gather_int8", "lm/skeletons/gather", "snippets/entry"),
)
.tiled([4, 1]);

/// [`embed_gather_from`] of a table from [`int8_words`], with the real value `scale[vocabulary]` of one step of each
/// row. The width is a multiple of 16.
pub fn embed_gather_int8(
    gpu: &Gpu,
    ids: &Tensor,
    e: &Tensor,
    scale: &Tensor,
    first: usize,
    h: &Tensor,
) -> Op {
    let (params, [vocabulary, width]) = gather("embed_gather_int8", ids, e, first, h);
    assert!(width.is_multiple_of(16), "embed_gather_int8: rows of {width} are not whole vectors of sixteen");
    expect("embed_gather_int8", e, U32, &[vocabulary, 4 * ternary::words(width)]);
    expect("embed_gather_int8", scale, F32, &[vocabulary]);
    let bytes = ids.bytes() + h.bytes() + h.bytes() / 4 + ids.bytes();
    let cost = Cost { bytes, ops: h.len() as u64 };
    gpu.op(&EMBED_GATHER_INT8, params, &[ids, e, scale, h], Grid::Each(h.len()), cost)
}

// --- embed_grad -----------------------------------------------------------------------------------

params! { tokens: u32, vocabulary: u32, width: u32 }

pub static EMBED_GRAD: Kernel = Kernel::new::<Params>("embed_grad", text!("lm/embed_grad", "snippets/entry"));

/// `de[vocabulary, width] += sum of dh[t, width] over the tokens t with ids[t] = v`, in the order of the tokens. The
/// width is a multiple of 4.
pub fn embed_grad(gpu: &Gpu, ids: &Tensor, dh: &Tensor, de: &Tensor) -> Op {
    let (GatherParams { tokens, vocabulary, width, .. }, shape) = gather("embed_grad", ids, de, 0, dh);
    expect("embed_grad", de, F32, &shape);
    let cost = Cost { bytes: ids.bytes() + 3 * dh.bytes(), ops: dh.len() as u64 };
    let params = Params { tokens, vocabulary, width };
    gpu.op(&EMBED_GRAD, params, &[ids, dh, de], Grid::Groups(tokens as usize), cost)
}

// --- the head -------------------------------------------------------------------------------------

params! { struct HeadParams { batch: u32, rows: u32, steps: u32, first: u32, classes: u32 } }

/// The variants of a head: for GPUs, and for software rasterisers. Snippets read the format of the table: one of the first
/// variant alone, and one of both.
macro_rules! head {
    ($operation:literal, $terms:literal, [$($snippet:literal)?] $(, $both:literal)?) => {
        &[
            &Kernel::new::<HeadParams>(
                $operation,
                text!(
                    concat!("lm/", $operation),
                    "lm/skeletons/head",
                    $($snippet,)?
                    $($both,)?
                    "snippets/entry"
                ),
            )
            .tiled([1, 4]),
            &Kernel::new::<HeadParams>(
                concat!($operation, "_broadcast"),
                text!(
                    concat!("lm/", $operation),
                    "software/head_broadcast",
                    $terms,
                    $($both,)?
                    "snippets/grid"
                ),
            )
            .tiled([2, 1])
            .overridden(WG_CPU)
            .subgroup(8)
            .for_rasterisers(),
        ]
    };
}

pub static HEAD_F32: &[&Kernel] = head!("head_f32", "software/head_terms_f32", []);
pub static HEAD_F16: &[&Kernel] = head!("head_f16", "software/head_terms_f16", [], "snippets/halfs");
pub static HEAD_INT8: &[&Kernel] = head!("head_int8", "software/head_terms_int8", ["snippets/signed_bytes"]);

/// `y[batch, first + r] <- sum_k x[batch, k] e[r, k]`: the logits of a piece of the embedding, the rows of the ids from
/// `first` on. The other columns of `y[batch, classes]` do not change. The width is a multiple of 16.
pub fn head_f32(gpu: &Gpu, x: &Tensor, e: &Tensor, first: usize, y: &Tensor) -> Op {
    head_f32_variant(gpu, preferred(gpu, HEAD_F32), x, e, first, y)
}

/// [`head_f32`] with the given variant.
pub fn head_f32_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Tensor,
    e: &Tensor,
    first: usize,
    y: &Tensor,
) -> Op {
    bind(gpu, kernel, x, e, F32, 1, None, first, y)
}

/// [`head_f32`] of a table from [`f16_words`](super::f16_words). The activations stay f32.
///
/// A device may replace subnormal f16, which are below 2^-14, by 0.
pub fn head_f16(gpu: &Gpu, x: &Tensor, e: &Tensor, first: usize, y: &Tensor) -> Op {
    head_f16_variant(gpu, preferred(gpu, HEAD_F16), x, e, first, y)
}

/// [`head_f16`] with the given variant.
pub fn head_f16_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Tensor,
    e: &Tensor,
    first: usize,
    y: &Tensor,
) -> Op {
    bind(gpu, kernel, x, e, U32, 2, None, first, y)
}

/// [`head_f32`] of a table from [`int8_words`], with the real value `scale[rows]` of one step of each row. The
/// activations stay f32.
pub fn head_int8(gpu: &Gpu, x: &Tensor, e: &Tensor, scale: &Tensor, first: usize, y: &Tensor) -> Op {
    head_int8_variant(gpu, preferred(gpu, HEAD_INT8), x, e, scale, first, y)
}

/// [`head_int8`] with the given variant.
pub fn head_int8_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Tensor,
    e: &Tensor,
    scale: &Tensor,
    first: usize,
    y: &Tensor,
) -> Op {
    bind(gpu, kernel, x, e, U32, 4, Some(scale), first, y)
}

/// The op of a head whose table has `each` values in an element.
#[allow(clippy::too_many_arguments)] // three formats of one operation
fn bind(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Tensor,
    e: &Tensor,
    dtype: crate::gpu::Dtype,
    each: usize,
    scale: Option<&Tensor>,
    first: usize,
    y: &Tensor,
) -> Op {
    let name = kernel.name;
    let ([batch, width], [rows, _], [_, classes]) = (matrix(name, x), matrix(name, e), matrix(name, y));
    assert!(width.is_multiple_of(16), "{name}: rows of {width} are not whole vectors of sixteen");
    expect(name, x, F32, &[batch, width]);
    expect(name, e, dtype, &[rows, width / each]);
    expect(name, y, F32, &[batch, classes]);
    assert!(first + rows <= classes, "{name}: the rows {first} to {} of {classes}", first + rows);
    if let Some(scale) = scale {
        expect(name, scale, F32, &[rows]);
    }
    let steps = width / each / 4;
    let [b, r, s, f, c] = [batch, rows, steps, first, classes].map(|n| n as u32);
    let params = HeadParams { batch: b, rows: r, steps: s, first: f, classes: c };
    let cost = Cost {
        bytes: x.bytes() + e.bytes() + scale.map_or(0, Tensor::bytes) + 4 * (batch * rows) as u64,
        ops: 2 * (batch * rows * width) as u64,
    };
    let tensors: Vec<&Tensor> = [x, e].into_iter().chain(scale).chain([y]).collect();
    let per_group = match kernel.tile {
        [1, rows] => rows as usize,
        [rows, _] => {
            rows as usize * value(kernel.overrides(gpu.tuning()), "WG").expect("every variant sets it")
        }
    };
    gpu.op(kernel, params, &tensors, Grid::Groups(batch * rows.div_ceil(per_group)), cost)
}

/// Rows of `cols` floats as int8 for [`head_int8`], four per word, each row padded with zeros to whole vectors of
/// sixteen; and the real value of one step of each row, see [`ternary::int8_row`].
pub fn int8_words(x: &[f32], cols: usize) -> (Vec<u32>, Vec<f32>) {
    let (mut words, mut scales) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(cols) {
        let (scale, codes) = ternary::int8_row(row);
        let byte = |i: usize| codes.get(i).map_or(0, |&code| code as u8);
        words.extend(
            (0..4 * ternary::words(cols)).map(|i| {
                u32::from_le_bytes([byte(4 * i), byte(4 * i + 1), byte(4 * i + 2), byte(4 * i + 3)])
            }),
        );
        scales.push(scale);
    }
    (words, scales)
}
