//! The choice of the next token from logits.

use crate::random::{self, Stream};

/// `g = -ln(-ln u)` with `u` uniform in `(0, 1]`, for the token `id` as number `number` of a text.
pub fn gumbel(seed: u64, number: u32, id: u32) -> f64 {
    let word = random::draw(seed, Stream::Sample, number, id)[0];
    // v = 1 - u. Where u is near 1, its logarithm is computed from v.
    let v = (f64::from(word) / 2f64.powi(32)).max(2f64.powi(-33));
    -(-(-v).ln_1p()).ln()
}

/// The least of the logits `z` that may be chosen: of those at least as large as the `top_k`-th largest, the largest ones
/// whose weights `exp(z / T)` sum to at least `top_p` times the sum over all that are left. Equal logits stay or go
/// together. (Top-k: arXiv 1805.04833, section 5.4; top-p: arXiv 1904.09751, section 3.1.)
pub fn sample_least(z: &[f32], temperature: f32, top_k: Option<usize>, top_p: f32) -> f32 {
    let mut order = z.to_vec();
    order.sort_by(|a, b| b.total_cmp(a));
    if let Some(k) = top_k {
        let least = order[k.min(order.len()) - 1];
        order.retain(|&z| z >= least);
    }
    if top_p < 1.0 {
        let slope = 1.0 / f64::from(temperature.max(1e-30));
        let weight = |z: &f32| (slope * (f64::from(*z) - f64::from(order[0]))).exp();
        let aim = f64::from(top_p) * order.iter().map(weight).sum::<f64>();
        let (mut sum, mut kept) = (0.0, 0);
        while kept < order.len() && (kept == 0 || sum < aim) {
            sum += weight(&order[kept]);
            kept += 1;
        }
        order.truncate(kept);
    }
    order[order.len() - 1]
}

/// For each block of so many logits the largest key `z + T g` among those with `z >= least`, and its id. Of equal keys the
/// one with the lowest id counts. The token with the largest key of all is a draw from `softmax(z / T)`. (The Gumbel-max
/// trick, arXiv 1411.0030, section 2.) A block with a logit that is no number has the key 3e38 and the id 2^32 - 1.
pub fn sample_blocks(
    z: &[f32],
    temperature: f32,
    seed: u64,
    number: u32,
    least: f32,
    block: usize,
) -> (Vec<f32>, Vec<u32>) {
    let best = |(at, z): (usize, &[f32])| {
        if z.iter().any(|z| !z.is_finite()) {
            return (3e38, u32::MAX);
        }
        let key = |z: f32, id: u32| match temperature > 0.0 {
            true => f64::from(z) + f64::from(temperature.min(1e30)) * gumbel(seed, number, id),
            false => f64::from(z),
        };
        let mut best = (-3.4e38, u32::MAX);
        for (i, &z) in z.iter().enumerate().filter(|(_, z)| **z >= least) {
            let (key, id) = (key(z, (at * block + i) as u32), (at * block + i) as u32);
            if key > best.0 {
                best = (key, id);
            }
        }
        (best.0 as f32, best.1)
    };
    z.chunks(block).enumerate().map(best).unzip()
}

/// The id with the largest key. Of equal keys the one with the lowest id counts.
pub fn sample_token(keys: &[f32], ids: &[u32]) -> u32 {
    let pairs = keys.iter().zip(ids);
    let best = pairs.reduce(|a, b| if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a });
    *best.expect("a block").1
}
