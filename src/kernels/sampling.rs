//! The choice of the next token from logits, on the device, so that a text grows without the host. Shaders: `shaders/lm`.
//!
//! `settings` is `u32 [8]`: the temperature as the bits of an f32, top-k or 0, top-p as the bits of an f32, and the seed,
//! the low word first; the last three words are free. `clock` is `u32 [4]`: the position of the last token, the number of
//! tokens in the text, the number of tokens chosen since the list was empty, and a free word.

use super::{expect, matrix};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Tensor, params};

/// Logits in a block of [`sample_blocks`].
pub const BLOCK_LOGITS: usize = 1024;

fn row(kernel: &str, z: &Tensor) -> usize {
    let [batch, count] = matrix(kernel, z);
    assert_eq!(batch, 1, "{kernel}: logits of {batch} tokens");
    expect(kernel, z, F32, &[1, count]);
    count
}

// --- sample_least ---------------------------------------------------------------------------------

params! { struct LeastParams { count: u32 } }

pub static SAMPLE_LEAST: Kernel =
    Kernel::new::<LeastParams>("sample_least", text!("lm/sample_least", "snippets/entry"))
        .with(&[("WG", 128.0)], &[("WG", 128.0)]);

/// `least[1] <-` the least of the logits `z[1, V]` that top-k and then top-p leave. Equal logits stay or go together.
pub fn sample_least(gpu: &Gpu, z: &Tensor, settings: &Tensor, least: &Tensor) -> Op {
    let count = row("sample_least", z);
    expect("sample_least", settings, U32, &[8]);
    expect("sample_least", least, F32, &[1]);
    let cost = Cost { bytes: 19 * z.bytes() + 36, ops: 300 * count as u64 };
    let params = LeastParams { count: count as u32 };
    gpu.op(&SAMPLE_LEAST, params, &[z, settings, least], Grid::Groups(1), cost)
}

// --- sample_blocks --------------------------------------------------------------------------------

params! { struct BlocksParams { count: u32, blocks: u32 } }

pub static SAMPLE_BLOCKS: Kernel = Kernel::new::<BlocksParams>(
    "sample_blocks",
    text!("lm/sample_blocks", "snippets/best", "snippets/random", "snippets/entry"),
);

/// For each block of [`BLOCK_LOGITS`] logits, the token with the largest key `z + T g` among those with `z >= least`, and
/// this key. `g = -ln(-ln u)` with a uniform `u` for each token of the vocabulary and each number of a token in the text.
/// So the token with the largest key over all blocks is a draw from `softmax(z / T)` (the Gumbel-max trick, arXiv
/// 1411.0030, section 2). If a logit is no number, the id is 2^32 - 1.
#[allow(clippy::too_many_arguments)] // logits, how to choose, and the choice
pub fn sample_blocks(
    gpu: &Gpu,
    z: &Tensor,
    settings: &Tensor,
    clock: &Tensor,
    least: &Tensor,
    keys: &Tensor,
    ids: &Tensor,
) -> Op {
    let name = "sample_blocks";
    let count = row(name, z);
    let blocks = count.div_ceil(BLOCK_LOGITS);
    expect(name, settings, U32, &[8]);
    expect(name, clock, U32, &[4]);
    expect(name, least, F32, &[1]);
    expect(name, keys, F32, &[blocks]);
    expect(name, ids, U32, &[blocks]);
    let cost = Cost { bytes: z.bytes() + 52 + 8 * blocks as u64, ops: 40 * count as u64 };
    let params = BlocksParams { count: count as u32, blocks: blocks as u32 };
    let tensors = [z, settings, clock, least, keys, ids];
    gpu.op(&SAMPLE_BLOCKS, params, &tensors, Grid::Groups(blocks), cost)
}

// --- sample_token ---------------------------------------------------------------------------------

params! { struct TokenParams { blocks: u32, length: u32 } }

pub static SAMPLE_TOKEN: Kernel =
    Kernel::new::<TokenParams>("sample_token", text!("lm/sample_token", "snippets/best", "snippets/entry"));

/// Writes the id with the largest key to `token[1]` and to the next word of `list`, and adds 1 to the first three words of
/// `clock`. Of equal keys the one with the lowest id counts.
pub fn sample_token(
    gpu: &Gpu,
    keys: &Tensor,
    ids: &Tensor,
    token: &Tensor,
    list: &Tensor,
    clock: &Tensor,
) -> Op {
    let name = "sample_token";
    let blocks = keys.len();
    expect(name, keys, F32, &[blocks]);
    expect(name, ids, U32, &[blocks]);
    expect(name, token, I32, &[1]);
    expect(name, list, U32, &[list.len()]);
    expect(name, clock, U32, &[4]);
    let cost = Cost { bytes: 8 * blocks as u64 + 40, ops: blocks as u64 };
    let params = TokenParams { blocks: blocks as u32, length: list.len() as u32 };
    gpu.op(&SAMPLE_TOKEN, params, &[keys, ids, token, list, clock], Grid::Groups(1), cost)
}
