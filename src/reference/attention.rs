//! Positions and attention, forward and backward.

use super::norm::rmsnorm_quantize_f32;
use super::product::{dot, scale_gradients, scale_parts};
use super::quantize::Int8;

/// The memory layout of queries, keys and values of one attention: `q [sequences * tokens, heads * width]` and
/// `k, v [sequences * capacity, kv_heads * width]`.
///
/// Token `t` of a sequence has the position `first + t`. Its key and its value are in row
/// `sequence * capacity + first + t`. Its query sees the keys `0 ..= first + t` of its sequence. In training, `first`
/// is 0 and `capacity` equals `tokens`. A cache has more capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Number of sequences.
    pub sequences: usize,
    /// Number of queries in a sequence.
    pub tokens: usize,
    /// Number of rows of keys for each sequence.
    pub capacity: usize,
    /// Position of the first token.
    pub first: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of heads of keys and values. Neighbouring query heads share one of them.
    pub kv_heads: usize,
    /// Number of values in a head.
    pub width: usize,
}

impl Attention {
    /// The layout in training: all tokens of every sequence.
    pub fn whole(sequences: usize, tokens: usize, [heads, kv_heads, width]: [usize; 3]) -> Attention {
        Attention { sequences, tokens, capacity: tokens, first: 0, heads, kv_heads, width }
    }

    /// Number of columns of q, of k, and of v.
    pub fn parts(&self) -> [usize; 3] {
        [self.heads, self.kv_heads, self.kv_heads].map(|heads| heads * self.width)
    }

    /// Number of values in k. v has the same number.
    pub fn cache(&self) -> usize {
        self.sequences * self.capacity * self.kv_heads * self.width
    }

    /// The position of a token. Tokens are counted over all sequences.
    fn position(&self, token: usize) -> usize {
        self.first + token % self.tokens
    }

    /// The row of a token in k and v.
    fn row(&self, token: usize) -> usize {
        token / self.tokens * self.capacity + self.position(token)
    }

    /// The offset in k and v of each key that query head `i` sees. Query heads are counted over all tokens.
    fn seen(&self, i: usize) -> impl Iterator<Item = usize> + use<> {
        let Attention { heads, kv_heads, width, .. } = *self;
        let (token, head) = (i / heads, i % heads);
        let kv_head = head * kv_heads / heads;
        let own = self.row(token);
        (own - self.position(token)..=own).map(move |row| (row * kv_heads + kv_head) * width)
    }

    /// The factor of the scores: one divided by the square root of the head width.
    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// One head `[e]`, rotated by a row of [`rope_table`](crate::rotary::rope_table). With `h = e / 2` and the angle `a_i`,
/// `y[i] = x[i] cos a_i - x[i + h] sin a_i`, `y[i + h] = x[i + h] cos a_i + x[i] sin a_i`. (RoFormer, arXiv 2104.09864,
/// equation 34. The pairs are those of Hugging Face's models.)
pub fn rope_head(x: &[f32], angles: &[f32]) -> Vec<f32> {
    turn(x, angles, 1.0)
}

/// `dx`: [`rope_head`] of `dy` with the opposite angles.
pub fn rope_head_dx(dy: &[f32], angles: &[f32]) -> Vec<f32> {
    turn(dy, angles, -1.0)
}

fn turn(x: &[f32], angles: &[f32], direction: f32) -> Vec<f32> {
    let half = x.len() / 2;
    let (cos, sin) = angles.split_at(half);
    let lower = (0..half).map(|i| x[i] * cos[i] - x[i + half] * (direction * sin[i]));
    let upper = (0..half).map(|i| x[i + half] * cos[i] + x[i] * (direction * sin[i]));
    lower.chain(upper).collect()
}

/// Applies `one` to each head of `x [m, heads * e]`, with the row of angles of its token.
fn turn_heads(
    one: fn(&[f32], &[f32]) -> Vec<f32>,
    x: &[f32],
    table: &[f32],
    width: usize,
    position: usize,
) -> Vec<f32> {
    x.chunks_exact(width).flat_map(|x| one(x, &table[position * width..][..width])).collect()
}

/// `q, k, v` from `x [n, (heads + 2 kv_heads) width]`, whose rows are q|k|v. q and k are rotated, and v is copied. The
/// function returns q, and writes k and v to their rows of the cache. `table` has one row for each position.
pub fn rope(a: &Attention, x: &[f32], table: &[f32], k: &mut [f32], v: &mut [f32]) -> Vec<f32> {
    let [q_cols, kv_cols, _] = a.parts();
    let mut q = Vec::new();
    for (token, x) in x.chunks_exact(q_cols + 2 * kv_cols).enumerate() {
        let (position, row) = (a.position(token), a.row(token) * kv_cols);
        let (x_q, rest) = x.split_at(q_cols);
        let (x_k, x_v) = rest.split_at(kv_cols);
        q.extend(turn_heads(rope_head, x_q, table, a.width, position));
        k[row..][..kv_cols].copy_from_slice(&turn_heads(rope_head, x_k, table, a.width, position));
        v[row..][..kv_cols].copy_from_slice(x_v);
    }
    q
}

/// [`rope`] of a stacked product. Column `c` in part `i` (q, k, v) of a token has the real value `betas[i] step acc`.
pub fn rope_ternary(
    a: &Attention,
    acc: &[i32],
    step: &[f32],
    betas: [f32; 3],
    table: &[f32],
    k: &mut [f32],
    v: &mut [f32],
) -> Vec<f32> {
    rope(a, &scale_parts(acc, step, &a.parts(), &betas), table, k, v)
}

/// `dy [n, (heads + 2 kv_heads) width]`: the gradient of the input of [`rope`].
pub fn rope_backward(a: &Attention, dq: &[f32], dk: &[f32], dv: &[f32], table: &[f32]) -> Vec<f32> {
    let [q_cols, kv_cols, _] = a.parts();
    let mut dy = Vec::new();
    for (token, dq) in dq.chunks_exact(q_cols).enumerate() {
        let (position, row) = (a.position(token), a.row(token) * kv_cols);
        dy.extend(turn_heads(rope_head_dx, dq, table, a.width, position));
        dy.extend(turn_heads(rope_head_dx, &dk[row..][..kv_cols], table, a.width, position));
        dy.extend(&dv[row..][..kv_cols]);
    }
    dy
}

/// [`rope_backward`], and also [`scale_gradients`] of its result.
pub fn rope_backward_ternary(
    a: &Attention,
    dq: &[f32],
    dk: &[f32],
    dv: &[f32],
    table: &[f32],
    betas: [f32; 3],
) -> (Vec<f32>, Vec<f32>) {
    let dy = rope_backward(a, dq, dk, dv, table);
    let scaled = scale_gradients(&dy, &a.parts(), &betas);
    (dy, scaled)
}

/// `e^x` from sums and products only, so that it has the same bits on every machine. The exponential functions of two
/// machines may differ in the last bit.
pub fn exp(x: f32) -> f32 {
    // Outside this interval the result in f32 is 0 or infinite.
    let x = f64::from(x.clamp(-200.0, 200.0));
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = x - power * std::f64::consts::LN_2;
    // A Taylor series. The first omitted term is below 1e-15.
    let series = (1..=12).rev().fold(1.0, |sum, i| 1.0 + rest / f64::from(i) * sum);
    let two_to_the_power = f64::from_bits(((power + 1023.0) as u64) << 52);
    (series * two_to_the_power) as f32
}

/// Causal attention with grouped heads. For query head `i` with key/value head `floor(i kv_heads / heads)`, over the
/// keys `j` that it sees: `s_j = q . k_j / sqrt(width)`, `lse = ln sum_j exp s_j`, `o = sum_j exp(s_j - lse) v_j`. It
/// returns `(o [n, heads * width], lse [n, heads])`. (Attention, arXiv 1706.03762, equation 1; groups, arXiv
/// 2305.13245.)
pub fn attention(a: &Attention, q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut o, mut lse) = (Vec::new(), Vec::new());
    for (i, q) in q.chunks_exact(a.width).enumerate() {
        let scores: Vec<f32> = a.seen(i).map(|j| a.scale() * dot(q, &k[j..][..a.width])).collect();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        let mut row = vec![0.0; a.width];
        for (j, s) in a.seen(i).zip(scores) {
            let p = exp(s - largest);
            sum += p;
            row.iter_mut().zip(&v[j..][..a.width]).for_each(|(o, v)| *o += p * v);
        }
        o.extend(row.iter().map(|o| o / sum));
        lse.push(largest + sum.ln());
    }
    (o, lse)
}

/// The outputs of [`attention`] of one token, by pieces of so many keys: for each head and each piece up to the position
/// `o = sum_j exp(s_j - m) v_j [width]`, `m = max_j s_j`, `l = sum_j exp(s_j - m)`, and two zeros.
/// [`attention_join`] computes the output from them. (Flash-Decoding, 2023.)
pub fn attention_parts(a: &Attention, q: &[f32], k: &[f32], v: &[f32], piece: usize) -> Vec<f32> {
    let mut parts = Vec::new();
    for (i, q) in q.chunks_exact(a.width).enumerate() {
        let keys: Vec<usize> = a.seen(i).collect();
        for keys in keys.chunks(piece) {
            let scores: Vec<f32> = keys.iter().map(|&j| a.scale() * dot(q, &k[j..][..a.width])).collect();
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f32> = scores.iter().map(|s| exp(s - most)).collect();
            for d in 0..a.width {
                parts.push(weights.iter().zip(keys).map(|(w, j)| w * v[j + d]).sum());
            }
            parts.extend([most, weights.iter().sum(), 0.0, 0.0]);
        }
    }
    parts
}

/// [`rope_ternary`] of one token, then [`attention_parts`].
#[allow(clippy::too_many_arguments)] // a token, its place and the cache
pub fn attention_step(
    a: &Attention,
    acc: &[i32],
    step: f32,
    betas: [f32; 3],
    table: &[f32],
    piece: usize,
    k: &mut [f32],
    v: &mut [f32],
) -> Vec<f32> {
    let q = rope_ternary(a, acc, &[step], betas, table, k, v);
    attention_parts(a, &q, k, v, piece)
}

/// The output of attention `[heads * width]` from the parts of [`attention_parts`], and [`rmsnorm_quantize_f32`] of it.
pub fn attention_join(
    parts: &[f32],
    heads: usize,
    gain: &[f32],
    eps: f32,
) -> (Vec<f32>, Int8, Vec<f32>, Vec<f32>) {
    let width = gain.len() / heads;
    let mut out = Vec::new();
    for head in parts.chunks_exact(parts.len() / heads) {
        let pieces: Vec<&[f32]> = head.chunks_exact(width + 4).collect();
        let most = pieces.iter().map(|piece| piece[width]).fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = pieces.iter().map(|piece| exp(piece[width] - most)).collect();
        let sum = |d: usize| -> f32 { weights.iter().zip(&pieces).map(|(w, piece)| w * piece[d]).sum() };
        let total = sum(width + 1);
        out.extend((0..width).map(|d| sum(d) / total));
    }
    let (codes, norm, step) = rmsnorm_quantize_f32(&out, gain, eps);
    (out, codes, norm, step)
}

/// The shares `p_j = exp(s_j - lse)` with which [`attention`] weighs the values of the keys, for each token and head
/// `[n * heads]`, over the keys that it sees: first to last, their sum is 1.
pub fn attention_shares(a: &Attention, q: &[f32], k: &[f32], lse: &[f32]) -> Vec<Vec<f32>> {
    let score = |q: &[f32], j: usize| a.scale() * dot(q, &k[j..][..a.width]);
    let shares = |(i, q): (usize, &[f32])| a.seen(i).map(|j| exp(score(q, j) - lse[i])).collect();
    q.chunks_exact(a.width).enumerate().map(shares).collect()
}

/// Returns `dq`, and `delta [n, heads] = do . o` of each head. With `p_j = exp(s_j - lse)` and
/// `ds_j = p_j (do . v_j - delta)`: `dq = sum_j ds_j k_j / sqrt(width)`. (FlashAttention-2, arXiv 2307.08691, algorithm
/// 2.)
pub fn attention_dq(
    a: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    o: &[f32],
    lse: &[f32],
    dout: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut dq, mut deltas) = (vec![0.0; q.len()], Vec::new());
    for (i, dq) in dq.chunks_exact_mut(a.width).enumerate() {
        let [q, o, dout] = [q, o, dout].map(|x| &x[i * a.width..][..a.width]);
        let delta = dot(dout, o);
        for j in a.seen(i) {
            let [k, v] = [k, v].map(|x| &x[j..][..a.width]);
            let p = exp(a.scale() * dot(q, k) - lse[i]);
            let ds = p * (dot(dout, v) - delta);
            dq.iter_mut().zip(k).for_each(|(sum, k)| *sum += a.scale() * ds * k);
        }
        deltas.push(delta);
    }
    (dq, deltas)
}

/// `dk, dv`, summed over the queries that see a key, first in the order of tokens and then of heads:
/// `dv_j = sum_i p_ij do_i`, `dk_j = sum_i ds_ij q_i / sqrt(width)`. `p` and `ds` are defined in [`attention_dq`].
pub fn attention_dkv(
    a: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    lse: &[f32],
    delta: &[f32],
    dout: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (mut dk, mut dv) = (vec![0.0; k.len()], vec![0.0; v.len()]);
    for (i, (q, dout)) in q.chunks_exact(a.width).zip(dout.chunks_exact(a.width)).enumerate() {
        for j in a.seen(i) {
            let [k, v] = [k, v].map(|x| &x[j..][..a.width]);
            let p = exp(a.scale() * dot(q, k) - lse[i]);
            let ds = p * (dot(dout, v) - delta[i]);
            dk[j..][..a.width].iter_mut().zip(q).for_each(|(sum, q)| *sum += a.scale() * ds * q);
            dv[j..][..a.width].iter_mut().zip(dout).for_each(|(sum, dout)| *sum += p * dout);
        }
    }
    (dk, dv)
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn the_exponential_is_that_of_the_machine_but_for_its_last_bit() {
        for i in -21_000..=9_000 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp() as f32;
            let off = exp(x).to_bits().abs_diff(want.to_bits());
            assert!(off <= 1, "e^{x} is {}, expected {want}", exp(x));
        }
        assert_eq!([f32::NEG_INFINITY, -1e30, 0.0, 300.0].map(exp), [0.0, 0.0, 1.0, f32::INFINITY]);
        assert!(exp(f32::NAN).is_nan());
    }
}
