//! Positions and attention, forward and backward. Shaders: `shaders/lm`.
//!
//! In all equations `n = sequences tokens` is the number of tokens, and `m = sequences capacity` is the number of rows
//! of a cache. `H` and `K` are the numbers of query heads and of key heads, and `e` is the width of a head.

use super::norm::ALONE;
use super::{Int8Tensor, expect, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, Overrides, PART, Tensor, params, value};
use crate::ternary;

/// The heads of an attention. Neighbouring query heads share one head of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of query heads: a multiple of `kv_heads`.
    pub heads: usize,
    /// Number of heads of keys and values.
    pub kv_heads: usize,
    /// Number of values in a head: a multiple of 16 up to 128.
    pub width: usize,
}

/// The form of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyForm {
    /// `f32 [rows, K e]`.
    #[default]
    F32,
    /// `u32 [rows, K e / 2]`: f16, two in a word, the first in the lower half. A value of 65,520 or more becomes a NaN.
    F16,
}

impl KeyForm {
    /// The forms by their names.
    pub const NAMES: [(&'static str, KeyForm); 2] = [("f32", KeyForm::F32), ("f16", KeyForm::F16)];

    /// The name of the form.
    pub fn name(self) -> &'static str {
        match self {
            KeyForm::F32 => "f32",
            KeyForm::F16 => "f16",
        }
    }

    /// A tensor of zeros for keys, or for values, of so many positions.
    ///
    /// # Errors
    /// If the adapter cannot bind it or has no memory for it.
    pub fn zeros(self, gpu: &Gpu, label: &str, rows: usize, cols: usize) -> Result<Tensor, Error> {
        match self {
            KeyForm::F32 => gpu.zeros(label, F32, &[rows, cols]),
            KeyForm::F16 => gpu.zeros(label, U32, &[rows, cols / 2]),
        }
    }
}

/// The sequences of a batch, all of the same length. Their number follows from the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// Number of queries in a sequence.
    pub tokens: usize,
    /// Number of rows of keys and values for each sequence: `tokens` in training, more in a cache.
    pub capacity: usize,
}

impl Sequences {
    /// The sequences in training: all tokens of each sequence, from its first position on.
    pub fn whole(tokens: usize) -> Sequences {
        Sequences { tokens, capacity: tokens }
    }
}

/// The shapes that follow from heads, sequences and the number of tokens.
#[derive(Clone, Copy)]
struct Shapes {
    heads: Heads,
    seq: Sequences,
    count: usize,
    q: [usize; 2],
    kv: [usize; 2],
    stacked: [usize; 2],
    rows: [usize; 2],
}

impl Shapes {
    /// `x` has a row for each token of all sequences.
    fn of(kernel: &str, heads: Heads, seq: Sequences, x: &Tensor) -> Shapes {
        let Heads { heads: h, kv_heads: k, width: e } = heads;
        assert!(
            e.is_multiple_of(16) && (16..=128).contains(&e),
            "{kernel}: heads of {e} values; a head has a multiple of 16, at most 128"
        );
        assert!(
            k > 0 && h.is_multiple_of(k),
            "{kernel}: {h} heads of queries are no multiple of {k} heads of keys"
        );
        assert!(
            seq.tokens > 0 && seq.tokens <= seq.capacity,
            "{kernel}: {} tokens in room for {}",
            seq.tokens,
            seq.capacity
        );
        let [n, _] = matrix(kernel, x);
        assert!(n.is_multiple_of(seq.tokens), "{kernel}: {n} tokens in sequences of {}", seq.tokens);
        let count = n / seq.tokens;
        Shapes {
            heads,
            seq,
            count,
            q: [n, h * e],
            kv: [count * seq.capacity, k * e],
            stacked: [n, (h + 2 * k) * e],
            rows: [n, h],
        }
    }

    /// [`Shapes::of`]. It also asserts that the sequences are whole.
    fn whole(kernel: &str, heads: Heads, seq: Sequences, x: &Tensor) -> Shapes {
        let Sequences { tokens, capacity } = seq;
        assert_eq!(tokens, capacity, "{kernel}: gradients are of whole sequences");
        Shapes::of(kernel, heads, seq, x)
    }

    /// Asserts that these tensors have the shape of queries, and those the shape of keys.
    fn expect(self, kernel: &str, queries: &[&Tensor], keys: &[&Tensor]) {
        queries.iter().for_each(|tensor| expect(kernel, tensor, F32, &self.q));
        keys.iter().for_each(|tensor| expect(kernel, tensor, F32, &self.kv));
    }

    /// Asserts that keys and values fit, in one form or the other. Returns the form.
    fn expect_keys(self, kernel: &str, k: &Tensor, v: &Tensor) -> KeyForm {
        let [rows, cols] = self.kv;
        let (form, dtype, cols) = match k.dtype() {
            U32 => (KeyForm::F16, U32, cols / 2),
            _ => (KeyForm::F32, F32, cols),
        };
        [k, v].into_iter().for_each(|tensor| expect(kernel, tensor, dtype, &[rows, cols]));
        form
    }

    /// Number of pairs of a query and a key that it sees, over all heads and sequences, if the cache is full.
    fn pairs(self) -> u64 {
        let Sequences { tokens, capacity } = self.seq;
        let seen = tokens * (capacity - tokens) + tokens * (tokens + 1) / 2;
        (self.heads.heads * self.count * seen) as u64
    }

    /// Operations of rope: three for each value of q and k.
    fn turns(self) -> u64 {
        self.stacked[0] as u64 * self.turns_of_one()
    }

    /// [`Shapes::turns`] of one token.
    fn turns_of_one(self) -> u64 {
        3 * ((self.heads.heads + self.heads.kv_heads) * self.heads.width) as u64
    }

    /// Bytes of the rows of angles that the kernel reads.
    fn angles(self) -> u64 {
        4 * (self.seq.tokens * self.heads.width) as u64
    }

    fn rope_params(self) -> RopeParams {
        let (Heads { heads, kv_heads, width }, seq) = (self.heads, self.seq);
        let [sequences, tokens, capacity] = [self.count, seq.tokens, seq.capacity].map(|n| n as u32);
        let [heads, kv_heads, width] = [heads, kv_heads, width].map(|n| n as u32);
        RopeParams { sequences, tokens, capacity, heads, kv_heads, width }
    }

    fn params(self) -> AttentionParams {
        let RopeParams { sequences, tokens, capacity, heads, kv_heads, width } = self.rope_params();
        let scale = (1.0 / f64::from(width).sqrt()) as f32;
        AttentionParams { sequences, tokens, capacity, heads, kv_heads, width, scale }
    }

    /// One workgroup for each sequence, head and tile of rows.
    fn tiles(self, gpu: &Gpu, kernel: &Kernel, heads: usize) -> Grid {
        let lanes = value(kernel.overrides(gpu.tuning()), "WG").expect("every variant sets it");
        let rows = match kernel.subgroup {
            0 => lanes / (self.heads.width / 16),
            _ => lanes * kernel.tile[0] as usize,
        };
        Grid::Groups(self.count * heads * self.seq.tokens.div_ceil(rows))
    }
}

/// Asserts that the table has a row of angles for each position.
fn expect_table(kernel: &str, table: &Tensor, shapes: Shapes) {
    let ([positions, _], capacity) = (matrix(kernel, table), shapes.seq.capacity);
    expect(kernel, table, F32, &[positions, shapes.heads.width]);
    assert!(positions >= capacity, "{kernel}: angles of {positions} positions, expected {capacity}");
}

/// Asserts that there is a beta for each of the three parts. Two betas are [`PART`] values apart.
fn expect_betas(kernel: &str, betas: &Tensor) {
    expect(kernel, betas, F32, &[betas.len()]);
    assert!(betas.len() > 2 * PART, "{kernel}: the last of {} betas is no third part's", betas.len());
}

// --- rope -----------------------------------------------------------------------------------------

params! { struct RopeParams { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32 } }

/// The overrides of a kernel with a workgroup per row that reads or writes keys and values.
const KEYS: [[Overrides; 2]; 2] = [
    [&[("WG", 64.0), ("HALF", 0.0)], &[("WG", 16.0), ("HALF", 0.0)]],
    [&[("WG", 64.0), ("HALF", 1.0)], &[("WG", 16.0), ("HALF", 1.0)]],
];

macro_rules! rope {
    ($operation:literal) => {
        Kernel::new::<RopeParams>(
            $operation,
            text!(
                concat!("lm/", $operation),
                "snippets/rope",
                "snippets/rope_forward",
                "snippets/half_words",
                "snippets/entry"
            ),
        )
    };
}

/// One variant for each [`KeyForm`].
pub static ROPE: &[&Kernel] =
    &[&rope!("rope").with(KEYS[0][0], KEYS[0][1]), &rope!("rope").with(KEYS[1][0], KEYS[1][1])];

/// `q[n, H e], k[m, K e], v[m, K e] <- x[n, (H + 2 K) e]`, whose rows are q | k | v. Each head of q and k is rotated by
/// the angles of its position: `y[i] = x[i] cos a_i - x[i + e / 2] sin a_i`,
/// `y[i + e / 2] = x[i + e / 2] cos a_i + x[i] sin a_i`.
///
/// Token `t` of a sequence has position `first + t`. Its key and value go to row `first + t` of the sequence's part of
/// the cache, in either [`KeyForm`]. `table[positions, e]` is that of [`rope_table`](crate::rotary::rope_table), and
/// `first` is `u32 [1]`.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn rope(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    x: &Tensor,
    table: &Tensor,
    first: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Op {
    let shapes = Shapes::of("rope", heads, seq, x);
    expect("rope", x, F32, &shapes.stacked);
    expect_table("rope", table, shapes);
    expect("rope", first, U32, &[1]);
    shapes.expect("rope", &[q], &[]);
    let kernel = ROPE[shapes.expect_keys("rope", k, v) as usize];
    let cost = Cost { bytes: 2 * x.bytes() + shapes.angles() + 4, ops: shapes.turns() };
    gpu.op(kernel, shapes.rope_params(), &[x, table, first, q, k, v], Grid::Groups(shapes.q[0]), cost)
}

// --- rope_ternary ---------------------------------------------------------------------------------

/// One variant for each [`KeyForm`].
pub static ROPE_TERNARY: &[&Kernel] = &[
    &rope!("rope_ternary").with(KEYS[0][0], KEYS[0][1]),
    &rope!("rope_ternary").with(KEYS[1][0], KEYS[1][1]),
];

/// [`rope`](fn@rope) of `x[t, r] = acc[t, r] step[t] beta_i`. `acc[n, (H + 2 K) e]` holds the accumulators of the
/// stacked matrix q | k | v. `beta_i = betas[64 i]` is the beta of the part `i` that contains `r`.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn rope_ternary(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    acc: &Tensor,
    step: &Tensor,
    betas: &Tensor,
    table: &Tensor,
    first: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Op {
    let shapes = Shapes::of("rope_ternary", heads, seq, acc);
    expect("rope_ternary", acc, I32, &shapes.stacked);
    expect("rope_ternary", step, F32, &[acc.shape()[0]]);
    expect_betas("rope_ternary", betas);
    expect_table("rope_ternary", table, shapes);
    expect("rope_ternary", first, U32, &[1]);
    shapes.expect("rope_ternary", &[q], &[]);
    let kernel = ROPE_TERNARY[shapes.expect_keys("rope_ternary", k, v) as usize];
    let cost = Cost {
        bytes: 2 * acc.bytes() + step.bytes() + 12 + shapes.angles() + 4,
        ops: shapes.turns() + acc.len() as u64,
    };
    let tensors = [acc, step, betas, table, first, q, k, v];
    gpu.op(kernel, shapes.rope_params(), &tensors, Grid::Groups(shapes.q[0]), cost)
}

// --- rope_backward --------------------------------------------------------------------------------

pub static ROPE_BACKWARD: Kernel = Kernel::new::<RopeParams>(
    "rope_backward",
    text!("lm/rope_backward", "snippets/rope", "snippets/rope_back", "snippets/entry"),
)
.rowwise();

/// `dy[n, (H + 2 K) e] <- dq[n, H e], dk[n, K e], dv[n, K e]`: the gradient of the input of [`rope`](fn@rope). The
/// sequences must be whole.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn rope_backward(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    dq: &Tensor,
    dk: &Tensor,
    dv: &Tensor,
    table: &Tensor,
    dy: &Tensor,
) -> Op {
    let shapes = Shapes::whole("rope_backward", heads, seq, dq);
    shapes.expect("rope_backward", &[dq], &[dk, dv]);
    expect_table("rope_backward", table, shapes);
    expect("rope_backward", dy, F32, &shapes.stacked);
    let cost = Cost { bytes: 2 * dy.bytes() + shapes.angles(), ops: shapes.turns() };
    gpu.op(&ROPE_BACKWARD, shapes.rope_params(), &[dq, dk, dv, table, dy], Grid::Groups(shapes.q[0]), cost)
}

// --- rope_backward_ternary ------------------------------------------------------------------------

pub static ROPE_BACKWARD_TERNARY: Kernel = Kernel::new::<RopeParams>(
    "rope_backward_ternary",
    text!("lm/rope_backward_ternary", "snippets/rope", "snippets/rope_back", "snippets/entry"),
)
.rowwise();

/// [`rope_backward`](fn@rope_backward), with a second output `scaled`: each part of `dy` times its beta. The gradient
/// of the stacked matrix is computed from `dy`, and the gradient of its input from `scaled`.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn rope_backward_ternary(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    dq: &Tensor,
    dk: &Tensor,
    dv: &Tensor,
    table: &Tensor,
    betas: &Tensor,
    dy: &Tensor,
    scaled: &Tensor,
) -> Op {
    let shapes = Shapes::whole("rope_backward_ternary", heads, seq, dq);
    shapes.expect("rope_backward_ternary", &[dq], &[dk, dv]);
    expect_table("rope_backward_ternary", table, shapes);
    expect_betas("rope_backward_ternary", betas);
    expect("rope_backward_ternary", dy, F32, &shapes.stacked);
    expect("rope_backward_ternary", scaled, F32, &shapes.stacked);
    let cost = Cost { bytes: 3 * dy.bytes() + shapes.angles() + 12, ops: shapes.turns() + dy.len() as u64 };
    let tensors = [dq, dk, dv, table, betas, dy, scaled];
    gpu.op(&ROPE_BACKWARD_TERNARY, shapes.rope_params(), &tensors, Grid::Groups(shapes.q[0]), cost)
}

// --- attention ------------------------------------------------------------------------------------

params! { struct AttentionParams { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 } }

/// Both variants of a gradient. In the first, lanes share a row. In the second, which is for rasterisers, a lane
/// holds a register tile of rows.
macro_rules! variants {
    ($operation:literal $(, $scores:literal)?) => {
        &[
            &Kernel::new::<AttentionParams>(
                $operation,
                text!(
                    concat!("lm/", $operation),
                    concat!("lm/skeletons/", $operation, "_parts"),
                    "snippets/attention",
                    "snippets/entry"
                ),
            ),
            &Kernel::new::<AttentionParams>(
                concat!($operation, "_broadcast"),
                text!(
                    concat!("lm/", $operation),
                    concat!("software/", $operation, "_tile"),
                    $($scores,)?
                    "software/attention_rows",
                    "software/spread_rows",
                    "snippets/grid"
                ),
            )
            .tiled([4, 1])
            .overridden(&[("WG", 8.0)])
            .subgroup(8)
            .for_rasterisers(),
        ]
    };
}

/// Each variant in each [`KeyForm`].
pub static ATTENTION: &[&Kernel] = &[
    &PARTS.with(&[("WG", 64.0), ("HALF", 0.0)], &[("WG", 8.0), ("HALF", 0.0)]),
    &PARTS.with(&[("WG", 64.0), ("HALF", 1.0)], &[("WG", 8.0), ("HALF", 1.0)]),
    &TILE.overridden(&[("WG", 8.0), ("HALF", 0.0)]),
    &TILE.overridden(&[("WG", 8.0), ("HALF", 1.0)]),
];

const PARTS: Kernel = Kernel::new::<AttentionParams>(
    "attention",
    text!(
        "lm/attention",
        "lm/skeletons/attention_parts",
        "snippets/keys",
        "snippets/attention",
        "snippets/entry"
    ),
);

const TILE: Kernel = Kernel::new::<AttentionParams>(
    "attention_broadcast",
    text!(
        "lm/attention",
        "software/attention_tile",
        "software/attention_scores",
        "software/attention_rows",
        "software/spread_rows",
        "snippets/keys",
        "snippets/grid"
    ),
)
.tiled([4, 1])
.subgroup(8)
.for_rasterisers();

/// The variant of a kernel for keys in this form.
fn of_form(kernel: &'static Kernel, form: KeyForm) -> &'static Kernel {
    let same =
        |other: &&&Kernel| other.name == kernel.name && value(other.gpu, "HALF") == Some(form as usize);
    ATTENTION.iter().find(same).expect("each variant has both forms")
}

/// `o[n, H e], lse[n, H] <- q[n, H e], k[m, K e], v[m, K e]`: causal attention. For query head `h` with key head
/// `floor(h / (H / K))`, over the keys `j` from 0 to `first + t`: `s_j = q . k_j / sqrt(e)`,
/// `lse = log sum_j exp(s_j)`, `o = sum_j exp(s_j - lse) v_j`.
///
/// `t` is the index of the query in its sequence, and `first` is `u32 [1]`. Keys and values are in either [`KeyForm`].
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn attention(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    first: &Tensor,
    o: &Tensor,
    lse: &Tensor,
) -> Op {
    attention_variant(gpu, super::preferred(gpu, ATTENTION), heads, seq, q, k, v, first, o, lse)
}

/// [`attention`](fn@attention) with a given variant, in the form of the keys.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn attention_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    heads: Heads,
    seq: Sequences,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    first: &Tensor,
    o: &Tensor,
    lse: &Tensor,
) -> Op {
    let shapes = Shapes::of("attention", heads, seq, q);
    shapes.expect("attention", &[q], &[]);
    let kernel = of_form(kernel, shapes.expect_keys("attention", k, v));
    expect("attention", first, U32, &[1]);
    expect("attention", o, F32, &shapes.q);
    expect("attention", lse, F32, &shapes.rows);
    let cost = Cost {
        bytes: 2 * q.bytes() + 2 * k.bytes() + lse.bytes() + 4,
        ops: 4 * heads.width as u64 * shapes.pairs(),
    };
    let grid = shapes.tiles(gpu, kernel, heads.heads);
    gpu.op(kernel, shapes.params(), &[q, k, v, first, o, lse], grid, cost)
}

// --- attention_dq ---------------------------------------------------------------------------------

pub static ATTENTION_DQ: &[&Kernel] = variants!("attention_dq", "software/attention_scores");

/// `dq[n, H e], delta[n, H]` from the gradient `dout[n, H e]` of `o`, with the outputs `o` and `lse` of
/// [`attention`](fn@attention) over whole sequences: `delta = dout . o`,
/// `dq = sum_j exp(s_j - lse) (dout . v_j - delta) k_j / sqrt(e)`.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn attention_dq(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    lse: &Tensor,
    dout: &Tensor,
    dq: &Tensor,
    delta: &Tensor,
) -> Op {
    let kernel = super::preferred(gpu, ATTENTION_DQ);
    attention_dq_variant(gpu, kernel, heads, seq, q, k, v, o, lse, dout, dq, delta)
}

/// [`attention_dq`](fn@attention_dq) with a given variant.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn attention_dq_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    heads: Heads,
    seq: Sequences,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    lse: &Tensor,
    dout: &Tensor,
    dq: &Tensor,
    delta: &Tensor,
) -> Op {
    let shapes = Shapes::whole("attention_dq", heads, seq, q);
    shapes.expect("attention_dq", &[q, o, dout, dq], &[k, v]);
    expect("attention_dq", lse, F32, &shapes.rows);
    expect("attention_dq", delta, F32, &shapes.rows);
    let cost = Cost {
        bytes: 4 * q.bytes() + 2 * k.bytes() + 2 * lse.bytes(),
        ops: 6 * heads.width as u64 * shapes.pairs(),
    };
    let grid = shapes.tiles(gpu, kernel, heads.heads);
    gpu.op(kernel, shapes.params(), &[q, k, v, o, lse, dout, dq, delta], grid, cost)
}

// --- attention_dkv --------------------------------------------------------------------------------

pub static ATTENTION_DKV: &[&Kernel] = variants!("attention_dkv");

/// `dk[n, K e], dv[n, K e]` from the gradient `dout[n, H e]` of the output `o` of [`attention`](fn@attention), with its
/// `lse` and the `delta` of [`attention_dq`](fn@attention_dq). With `w = exp(s_ij - lse_i)`: `dv_j = sum_i w dout_i`,
/// `dk_j = sum_i w (dout_i . v_j - delta_i) q_i / sqrt(e)`. The sums are over the queries of all heads that see the
/// key.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn attention_dkv(
    gpu: &Gpu,
    heads: Heads,
    seq: Sequences,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    lse: &Tensor,
    delta: &Tensor,
    dout: &Tensor,
    dk: &Tensor,
    dv: &Tensor,
) -> Op {
    let kernel = super::preferred(gpu, ATTENTION_DKV);
    attention_dkv_variant(gpu, kernel, heads, seq, q, k, v, lse, delta, dout, dk, dv)
}

/// [`attention_dkv`](fn@attention_dkv) with a given variant.
#[allow(clippy::too_many_arguments)] // three shapes and their tensors
pub fn attention_dkv_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    heads: Heads,
    seq: Sequences,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    lse: &Tensor,
    delta: &Tensor,
    dout: &Tensor,
    dk: &Tensor,
    dv: &Tensor,
) -> Op {
    let shapes = Shapes::whole("attention_dkv", heads, seq, q);
    shapes.expect("attention_dkv", &[q, dout], &[k, v, dk, dv]);
    expect("attention_dkv", lse, F32, &shapes.rows);
    expect("attention_dkv", delta, F32, &shapes.rows);
    let cost = Cost {
        bytes: 2 * q.bytes() + 4 * k.bytes() + 2 * lse.bytes(),
        ops: 8 * heads.width as u64 * shapes.pairs(),
    };
    let grid = shapes.tiles(gpu, kernel, heads.kv_heads);
    gpu.op(kernel, shapes.params(), &[q, k, v, lse, delta, dout, dk, dv], grid, cost)
}

// --- attention_step -------------------------------------------------------------------------------

params! { struct StepParams { capacity: u32, heads: u32, kv_heads: u32, width: u32, pieces: u32, scale: f32 } }

const ANY_ATTENTION_STEP: Kernel = Kernel::new::<StepParams>(
    "attention_step",
    text!("lm/attention_step", "snippets/keys", "snippets/half_words", "snippets/entry"),
);

/// One variant for each [`KeyForm`].
pub static ATTENTION_STEP: &[&Kernel] = &[
    &ANY_ATTENTION_STEP.with(
        &[("WG", 64.0), ("PIECE", 128.0), ("HALF", 0.0)],
        &[("WG", 8.0), ("PIECE", 128.0), ("HALF", 0.0)],
    ),
    &ANY_ATTENTION_STEP.with(
        &[("WG", 64.0), ("PIECE", 128.0), ("HALF", 1.0)],
        &[("WG", 8.0), ("PIECE", 128.0), ("HALF", 1.0)],
    ),
];

/// Keys in a piece of [`attention_step`].
pub const PIECE_KEYS: usize = 128;

/// Number of pieces of so many keys.
pub fn pieces(capacity: usize) -> usize {
    capacity.div_ceil(PIECE_KEYS)
}

/// Attention of one new token, from the accumulators `acc[1, (H + 2 K) e]` of q | k | v, to pieces of
/// [`PIECE_KEYS`] keys. The key and the value of the token go to row `first` of the cache `k, v[capacity, K e]`, which
/// is in either [`KeyForm`].
///
/// `parts[H pieces, e + 4]` gets a row for each head and each piece up to the position: `o = sum_j exp(s_j - m) v_j`,
/// then `m = max_j s_j`, `l = sum_j exp(s_j - m)` and two zeros, over the keys `j <= first` of the piece. Rows of later
/// pieces do not change. [`attention_join`](fn@attention_join) computes the output from them.
#[allow(clippy::too_many_arguments)] // a token, its place and the cache
pub fn attention_step(
    gpu: &Gpu,
    heads: Heads,
    acc: &Tensor,
    step: &Tensor,
    betas: &Tensor,
    table: &Tensor,
    first: &Tensor,
    k: &Tensor,
    v: &Tensor,
    parts: &Tensor,
) -> Op {
    let name = "attention_step";
    let [capacity, _] = matrix(name, k);
    let shapes = Shapes::of(name, heads, Sequences { tokens: 1, capacity }, acc);
    let pieces = pieces(capacity);
    expect(name, acc, I32, &[1, shapes.stacked[1]]);
    expect(name, step, F32, &[1]);
    expect_betas(name, betas);
    expect_table(name, table, shapes);
    expect(name, first, U32, &[1]);
    let kernel = ATTENTION_STEP[shapes.expect_keys(name, k, v) as usize];
    expect(name, parts, F32, &[heads.heads * pieces, heads.width + 4]);
    let AttentionParams { heads: h, kv_heads, width, scale, .. } = shapes.params();
    let params =
        StepParams { capacity: capacity as u32, heads: h, kv_heads, width, pieces: pieces as u32, scale };
    let cost = Cost {
        bytes: acc.bytes() + shapes.angles() + 20 + 2 * k.bytes() + parts.bytes(),
        ops: 4 * (capacity * shapes.q[1]) as u64 + shapes.turns_of_one() + acc.len() as u64,
    };
    let chunks = (heads.heads / heads.kv_heads).div_ceil(4);
    let tensors = [acc, step, betas, table, first, k, v, parts];
    gpu.op(kernel, params, &tensors, Grid::Groups(heads.kv_heads * chunks * pieces), cost)
}

// --- attention_join -------------------------------------------------------------------------------

params! { struct JoinParams { cols: u32, words: u32, e: u32, pieces: u32, piece: u32, eps: f32 } }

pub static ATTENTION_JOIN: Kernel = Kernel::new::<JoinParams>(
    "attention_join",
    text!(
        "lm/attention_join",
        "snippets/gains",
        "snippets/pinned",
        "snippets/norm_factor",
        "snippets/quantize_row",
        "snippets/int8",
        "snippets/entry"
    ),
)
.with(ALONE[0], ALONE[1]);

/// The output `a[1, H e]` of attention from the parts that [`attention_step`](fn@attention_step) wrote, and
/// [`rmsnorm_quantize_f32`](super::rmsnorm_quantize_f32) of it: codes, their sum and the real value of one of them.
#[allow(clippy::too_many_arguments)] // parts, a norm and a quantiser
pub fn attention_join(
    gpu: &Gpu,
    heads: Heads,
    parts: &Tensor,
    first: &Tensor,
    gain: &Tensor,
    eps: f32,
    a: &Tensor,
    out: &Int8Tensor,
    step: &Tensor,
) -> Op {
    let name = "attention_join";
    let cols = heads.heads * heads.width;
    let [rows, _] = matrix(name, parts);
    assert!(rows.is_multiple_of(heads.heads), "{name}: {rows} parts of {} heads", heads.heads);
    let (pieces, words) = (rows / heads.heads, ternary::words(cols));
    expect(name, parts, F32, &[rows, heads.width + 4]);
    expect(name, first, U32, &[1]);
    expect(name, gain, F32, &[cols]);
    expect(name, a, F32, &[1, cols]);
    out.expect(name, 1, cols);
    expect(name, step, F32, &[1]);
    let [c, w, e, n, piece] = [cols, words, heads.width, pieces, PIECE_KEYS].map(|n| n as u32);
    let params = JoinParams { cols: c, words: w, e, pieces: n, piece, eps };
    let cost = Cost {
        bytes: parts.bytes() + 2 * a.bytes() + out.q.bytes() + 12,
        ops: (2 * cols * pieces + 7 * cols) as u64,
    };
    let tensors = [parts, first, gain, a, &out.q, &out.sum, step];
    gpu.op(&ATTENTION_JOIN, params, &tensors, Grid::Groups(1), cost)
}
