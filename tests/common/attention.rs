//! How far two sides of an attention may lie apart, derived as the bounds of `common`: each term of a sum comes with the
//! number of roundings that it went through, to first order.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

use sterna::reference::Attention;

use super::{DIVISION, EPS, apart, exponential, logarithm_error};

/// A weight below the least normal float may become zero. This is what it then misses, in roundings.
const FLUSHED: f64 = f32::MIN_POSITIVE as f64 / EPS;

/// A pair of a query and a key that it sees.
struct Pair {
    /// Where the query, the key and the row's scalars stand.
    query: usize,
    key: usize,
    row: usize,
    /// The score, and its roundings times their magnitude: two sides of products and sums, the root and its product.
    score: f64,
    rounded: f64,
}

fn pairs(a: &Attention, q: &[f32], k: &[f32]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let scale = 1.0 / (a.width as f64).sqrt();
    for row in 0..q.len() / a.width {
        let (token, head) = (row / a.heads, row % a.heads);
        let kv_head = head / (a.heads / a.kv_heads);
        let (sequence, position) = (token / a.tokens, a.first + token % a.tokens);
        for j in 0..=position {
            let (query, key) =
                (row * a.width, ((sequence * a.capacity + j) * a.kv_heads + kv_head) * a.width);
            let (score, size) = products(&q[query..][..a.width], &k[key..][..a.width]);
            let rounded = (a.width as f64 + 3.0) * scale * size;
            pairs.push(Pair { query, key, row, score: scale * score, rounded });
        }
    }
    pairs
}

/// The sum of products, and that of their magnitudes.
fn products(x: &[f32], y: &[f32]) -> (f64, f64) {
    let each = x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y));
    each.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()))
}

/// Bounds of `o` and of `lse`.
pub fn attention_apart(a: &Attention, q: &[f32], k: &[f32], v: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (mut o, mut lse) = (Vec::new(), Vec::new());
    for pairs in pairs(a, q, k).chunk_by(|a, b| a.row == b.row) {
        let most = pairs.iter().map(|pair| pair.score).fold(f64::NEG_INFINITY, f64::max);
        let least = pairs.iter().map(|pair| pair.score).fold(f64::INFINITY, f64::min);
        let (n, spread) = (pairs.len() as f64, most - least);
        let total: f64 = pairs.iter().map(|pair| (pair.score - most).exp()).sum();
        // A weight is an exponential of a difference. A side that walks the keys begins with another largest score and
        // corrects it, at most once for each key: differences that sum to no more than the spread, their exponentials
        // and a product.
        let corrections = n * (exponential(0.0) + 1.0) + exponential(spread) + spread;
        let of_weight = |pair: &Pair| {
            let below = most - pair.score;
            pair.rounded + below + exponential(below) + corrections
        };
        let weights: Vec<f64> = pairs.iter().map(|pair| (pair.score - most).exp() / total).collect();
        let mean: f64 = pairs.iter().zip(&weights).map(|(pair, w)| w * of_weight(pair)).sum();
        // Numerator and denominator are sums of n; the quotient may be a product with an inverse.
        for d in 0..a.width {
            let term = |(pair, w): (&Pair, &f64)| {
                let roundings = of_weight(pair) + n + mean + n + DIVISION + 2.0;
                (w * roundings + FLUSHED) * f64::from(v[pair.key + d]).abs()
            };
            o.push(apart(1.0, pairs.iter().zip(&weights).map(term).sum()));
        }
        // The largest score cancels but for the roundings of its own difference and of the sum with the logarithm.
        let sizes = most.abs() + (most + total.ln()).abs();
        lse.push(2.0 * logarithm_error(total.ln()) + apart(1.0, mean + n + sizes));
    }
    (o, lse)
}

/// What both backward kernels compute of a pair: the weight, its roundings, and the magnitude of `do . v - delta`.
struct Gradient {
    pair: Pair,
    weight: f64,
    roundings: f64,
    difference: f64,
}

fn gradients<'a>(
    a: &Attention,
    [q, k, v]: [&'a [f32]; 3],
    lse: &'a [f32],
    dout: &'a [f32],
    delta: &'a dyn Fn(usize) -> f64,
) -> impl Iterator<Item = Gradient> + use<'a> {
    let width = a.width;
    pairs(a, q, k).into_iter().map(move |pair| {
        let below = pair.score - f64::from(lse[pair.row]);
        let (_, size) = products(&dout[pair.query..][..width], &v[pair.key..][..width]);
        let roundings = pair.rounded + below.abs() + exponential(below);
        Gradient { weight: below.exp(), roundings, difference: size + delta(pair.row), pair }
    })
}

/// Bounds of `dq` and of `delta`, if both sides are given the same `o` and `lse`.
pub fn attention_dq_apart(
    a: &Attention,
    qkv: [&[f32]; 3],
    o: &[f32],
    lse: &[f32],
    dout: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let (q, k, scale) = (qkv[0], qkv[1], 1.0 / (a.width as f64).sqrt());
    let sizes: Vec<f64> =
        o.chunks_exact(a.width).zip(dout.chunks_exact(a.width)).map(|(o, d)| products(o, d).1).collect();
    let mut dq = vec![0.0; q.len()];
    let seen = |row: usize| (a.first + row / a.heads % a.tokens + 1) as f64;
    for g in gradients(a, qkv, lse, dout, &|row| sizes[row]) {
        // The sum of e products, the difference and the product with the weight; with the key and the scale, two
        // roundings; the sum over the keys.
        let roundings = g.roundings + a.width as f64 + 2.0 + 3.0 + seen(g.pair.row);
        for d in 0..a.width {
            let size = scale * g.difference * f64::from(k[g.pair.key + d]).abs();
            dq[g.pair.query + d] += (g.weight * roundings + FLUSHED) * size;
        }
    }
    let bound = |terms: f64| apart(1.0, terms);
    (dq.into_iter().map(bound).collect(), sizes.iter().map(|&size| apart(a.width as f64, size)).collect())
}

/// Bounds of `dk` and of `dv`, if both sides are given the same `lse` and `delta`.
pub fn attention_dkv_apart(
    a: &Attention,
    qkv: [&[f32]; 3],
    lse: &[f32],
    delta: &[f32],
    dout: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let (q, scale) = (qkv[0], 1.0 / (a.width as f64).sqrt());
    let (mut dk, mut dv) = (vec![0.0; qkv[1].len()], vec![0.0; qkv[2].len()]);
    // Terms of a sum: every query of all heads that share the key.
    let terms = (a.tokens * a.heads / a.kv_heads) as f64;
    for g in gradients(a, qkv, lse, dout, &|row| f64::from(delta[row]).abs()) {
        for d in 0..a.width {
            let size = scale * g.difference * f64::from(q[g.pair.query + d]).abs();
            dk[g.pair.key + d] +=
                (g.weight * (g.roundings + a.width as f64 + 2.0 + 3.0 + terms) + FLUSHED) * size;
            let size = f64::from(dout[g.pair.query + d]).abs();
            dv[g.pair.key + d] += (g.weight * (g.roundings + 1.0 + terms) + FLUSHED) * size;
        }
    }
    let bounds = |terms: Vec<f64>| terms.into_iter().map(|terms| apart(1.0, terms)).collect();
    (bounds(dk), bounds(dv))
}
