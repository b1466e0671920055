// int8 — absmax quantisation of activations, exact on every device.

// 127 / m rounded to nearest even, for m in [1e-35, 3e38]. WGSL's own division may be off by 2.5 ulp,
// and a scale that differs in its last bit flips codes. So the mantissas are divided as integers:
// 127 * 2^41 / M in three steps of a schoolbook division, M in [2^23, 2^24), then rounded by hand.
fn scale_127(m: f32) -> f32 {
    let bits = bitcast<u32>(m);
    let mantissa = (bits & 0x007fffffu) | 0x00800000u;
    let exponent = i32(bits >> 23u) - 127;              // m = mantissa * 2^(exponent - 23)
    let a = 127u << 25u;
    let q0 = a / mantissa;
    let b = (a - q0 * mantissa) << 8u;
    let q1 = b / mantissa;
    let c = (b - q1 * mantissa) << 8u;
    let q2 = c / mantissa;
    let rest = c - q2 * mantissa;
    var quotient = (q0 << 16u) | (q1 << 8u) | q2;       // floor(127 * 2^41 / mantissa), 24 or 25 bits
    var power = -18 - exponent;                         // 127 / m = quotient * 2^power
    if quotient >= 0x01000000u {
        let odd = quotient & 1u;
        quotient = quotient >> 1u;
        power = power + 1;
        if odd == 1u && (rest > 0u || (quotient & 1u) == 1u) {
            quotient = quotient + 1u;
        }
    } else if 2u * rest > mantissa || (2u * rest == mantissa && (quotient & 1u) == 1u) {
        quotient = quotient + 1u;
    }
    // Adding the quotient with its hidden bit carries into the exponent when rounding reached 2^24.
    return bitcast<f32>((u32(power + 149) << 23u) + quotient);
}

// Four values times the scale, rounded half to even, clamped to int8, packed with the first lowest.
fn pack_int8(x: vec4<f32>, scale: f32) -> u32 {
    return pack4xI8(vec4<i32>(clamp(round(x * scale), vec4<f32>(-128.0), vec4<f32>(127.0))));
}
