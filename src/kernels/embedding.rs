//! The embedding: it turns tokens into rows of floats. Its backward pass adds the gradients of these rows to the rows
//! of the table. Shaders: `shaders/lm`.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

params! { tokens: u32, vocabulary: u32, width: u32 }

/// The lengths `[tokens, vocabulary, width]` of `x[tokens, width]`, with one row for each token, and of the embedding
/// `e[vocabulary, width]`.
fn lengths(kernel: &str, ids: &Tensor, e: &Tensor, x: &Tensor) -> [usize; 3] {
    let ([tokens, width], [vocabulary, _]) = (matrix(kernel, x), matrix(kernel, e));
    expect(kernel, ids, I32, &[tokens]);
    expect(kernel, e, F32, &[vocabulary, width]);
    expect(kernel, x, F32, &[tokens, width]);
    assert!(width.is_multiple_of(4), "{kernel}: rows of {width} are not whole vectors of four");
    [tokens, vocabulary, width]
}

// --- embed_gather ---------------------------------------------------------------------------------

pub static EMBED_GATHER: Kernel =
    Kernel::new::<Params>("embed_gather", text!("lm/embed_gather", "snippets/entry")).tiled([4, 1]);

/// `h[tokens, width] <- e[ids[tokens], width]`. The width is a multiple of 4.
pub fn embed_gather(gpu: &Gpu, ids: &Tensor, e: &Tensor, h: &Tensor) -> Op {
    let [tokens, vocabulary, width] = lengths("embed_gather", ids, e, h);
    let params = Params { tokens: tokens as u32, vocabulary: vocabulary as u32, width: width as u32 };
    let cost = Cost { bytes: ids.bytes() + 2 * h.bytes(), ops: 0 };
    gpu.op(&EMBED_GATHER, params, &[ids, e, h], Grid::Each(h.len()), cost)
}

// --- embed_grad -----------------------------------------------------------------------------------

pub static EMBED_GRAD: Kernel = Kernel::new::<Params>("embed_grad", text!("lm/embed_grad", "snippets/entry"));

/// `de[vocabulary, width] += sum of dh[t, width] over the tokens t with ids[t] = v`, in the order of the tokens. The
/// width is a multiple of 4.
pub fn embed_grad(gpu: &Gpu, ids: &Tensor, dh: &Tensor, de: &Tensor) -> Op {
    let [tokens, vocabulary, width] = lengths("embed_grad", ids, de, dh);
    let params = Params { tokens: tokens as u32, vocabulary: vocabulary as u32, width: width as u32 };
    let cost = Cost { bytes: ids.bytes() + 3 * dh.bytes(), ops: dh.len() as u64 };
    gpu.op(&EMBED_GRAD, params, &[ids, dh, de], Grid::Groups(tokens), cost)
}
