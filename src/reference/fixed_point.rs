//! Gradients as fixed-point integers. `owners[j]` is the parameter that the values `64 j` to `64 j + 63` belong to. A
//! micro-batch has a `share` of the items of a step, and its gradient counts by that share.

/// The biased exponent in the bits of a float: 0 for zero, 255 for infinity and NaN.
fn exponent(x: f32) -> i32 {
    (x.to_bits() >> 23 & 255) as i32
}

/// `2^n` for `n` from -126 to 127.
fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// The largest exponent of `share g` within each parameter, and at least that in `exponents`.
pub fn gradient_exponents(owners: &[u32], g: &[f32], share: f32, exponents: &mut [i32]) {
    for (i, g) in g.iter().enumerate() {
        let largest = &mut exponents[owners[i / 64] as usize];
        *largest = (*largest).max(exponent(share * g));
    }
}

/// `sums += round(share g 2^(150 - e))` with `e = max(24, exponents[k])` of the parameter `k` of each value. Returns the
/// number of values that are out of range and count as `2^24` with their sign.
pub fn gradient_to_fixed(owners: &[u32], exponents: &[i32], g: &[f32], share: f32, sums: &mut [i32]) -> u32 {
    let mut saturated = 0;
    for (i, (g, sum)) in g.iter().zip(sums).enumerate() {
        let (e, x) = (exponents[owners[i / 64] as usize], share * g);
        if exponent(x) > e.min(254) {
            *sum += if x.is_sign_negative() { -(1 << 24) } else { 1 << 24 };
            saturated += 1;
        } else {
            *sum += (x * power(150 - e.clamp(24, 254))).round_ties_even() as i32;
        }
    }
    saturated
}

/// `g = sums 2^(e - 150)`, or NaN where a gradient of the parameter was not finite.
pub fn gradient_from_fixed(owners: &[u32], exponents: &[i32], sums: &[i32]) -> Vec<f32> {
    let float = |(i, &sum): (usize, &i32)| match exponents[owners[i / 64] as usize] {
        255.. => f32::NAN,
        e => sum as f32 * power(e.max(24) - 150),
    };
    sums.iter().enumerate().map(float).collect()
}
