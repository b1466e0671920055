//! Counter-based random numbers. A number is a pure function of (seed, stream, index), so every draw can be repeated
//! anywhere and in any order, on the CPU or in a shader.
//!
//! The generator is pcg4d of M. Jarzynski and M. Olano, *Hash Functions for GPU Rendering*, JCGT 9(3), 2020.

/// The purpose of a draw. Draws of one seed differ between streams.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Stream {
    /// Initial shadow weights.
    Weights = 1,
    /// The order of the training set within an epoch.
    Order = 2,
    /// The variation of an image in a step.
    Augment = 3,
    /// The images for the verification of a network.
    Verify = 4,
    /// Where the sequences of a step begin in a text.
    Text = 5,
    /// Which token a language model says next.
    Sample = 6,
}

/// Four 32-bit words for the counter `(a, b)` of a stream.
pub fn draw(seed: u64, stream: Stream, a: u32, b: u32) -> [u32; 4] {
    let mut v = [seed as u32, (seed >> 32) as u32 ^ (stream as u32) << 24, a, b];
    for x in &mut v {
        *x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    for _ in 0..2 {
        v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[3]));
        v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
        v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
        v[3] = v[3].wrapping_add(v[1].wrapping_mul(v[2]));
        for x in &mut v {
            *x ^= *x >> 16;
        }
    }
    v
}

/// `count` floats, uniform in `[-bound, bound)`. `tensor` is the number of the tensor that they fill.
pub fn uniform(seed: u64, stream: Stream, tensor: u32, count: usize, bound: f32) -> Vec<f32> {
    (0..count)
        .map(|i| {
            let word = draw(seed, stream, tensor, i as u32)[0];
            bound * ((word >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
        })
        .collect()
}

/// `count` floats of a nearly normal distribution with mean 0; `tensor` numbers the tensor they fill.
///
/// Each is the sum of sixteen uniform 16-bit numbers, in integers: so it is the same on every machine, which a logarithm
/// would not be. No value is further than 6.93 standard deviations from 0.
pub fn normal(seed: u64, stream: Stream, tensor: u32, count: usize, deviation: f32) -> Vec<f32> {
    // The variance of the sum is 16 (2^32 - 1) / 12, its mean 16 (2^16 - 1) / 2.
    let unit = f64::from(deviation) / (16.0 * (2f64.powi(32) - 1.0) / 12.0).sqrt();
    (0..count)
        .map(|i| {
            let words = [0, 1].map(|half| draw(seed, stream, tensor, 2 * i as u32 + half));
            let sum: u32 = words.into_iter().flatten().map(|word| (word & 0xffff) + (word >> 16)).sum();
            (unit * (f64::from(sum) - 524_280.0)) as f32
        })
        .collect()
}

/// A permutation of `0..count` for one epoch (Fisher-Yates).
pub fn permutation(seed: u64, epoch: u32, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    for i in (1..count).rev() {
        let words = draw(seed, Stream::Order, epoch, i as u32);
        let word = u64::from(words[0]) << 32 | u64::from(words[1]);
        // Multiply-high maps 64 random bits to 0..=i. Its bias of i / 2^64 is negligible.
        let j = ((u128::from(word) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_holds_every_index_once_and_differs_by_epoch_and_seed() {
        let mut first = permutation(0, 0, 1000);
        assert_ne!(first, permutation(0, 1, 1000));
        assert_ne!(first, permutation(1, 0, 1000));
        assert_eq!(first, permutation(0, 0, 1000));
        first.sort_unstable();
        assert!(first.iter().enumerate().all(|(i, &x)| i as u32 == x));
    }

    #[test]
    fn normal_has_the_moments_of_a_normal_distribution() {
        let x = normal(7, Stream::Weights, 0, 100_000, 2.0);
        let moment = |power: i32| x.iter().map(|x| f64::from(*x / 2.0).powi(power)).sum::<f64>() / 1e5;
        // Standard errors: 1 / sqrt(1e5), sqrt(2 / 1e5) and sqrt(96 / 1e5); five of each. Of sixteen uniform numbers the
        // fourth moment is 3 - 6 / 5 / 16 = 2.925.
        assert!(moment(1).abs() < 0.016 && (moment(2) - 1.0).abs() < 0.023, "{} {}", moment(1), moment(2));
        assert!((moment(4) - 2.925).abs() < 0.16, "{}", moment(4));
    }

    #[test]
    fn uniform_fills_its_interval_evenly() {
        let x = uniform(7, Stream::Weights, 0, 100_000, 2.0);
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        let absolute = x.iter().map(|x| x.abs()).sum::<f32>() / x.len() as f32;
        assert!(x.iter().all(|x| (-2.0..2.0).contains(x)));
        // Standard errors: 1.155 / sqrt(1e5) = 0.0037 and 0.577 / sqrt(1e5) = 0.0018. The limits are five of each.
        assert!(mean.abs() < 0.019 && (absolute - 1.0).abs() < 0.0095, "{mean} {absolute}");
    }
}
