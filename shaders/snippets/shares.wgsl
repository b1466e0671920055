// shares — four values of a gradient times the share of a micro-batch, and their exponents
//
// For kernels that declare the parameters count and share, owners, and g as vectors.

// The largest finite exponent; above it lie infinity and NaN.
const FINITE: i32 = 254;

// The vector i, zero past the end.
fn shares(i: u32) -> vec4<f32> {
    let inside = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.count);
    return select(vec4<f32>(0.0), p.share * g[i], inside);
}

// Biased exponents: x lies from 2^(e - 127) to below 2^(e - 126). Zero and smaller values have 0.
fn exponents_of(x: vec4<f32>) -> vec4<i32> {
    return vec4<i32>((bitcast<vec4<u32>>(x) >> vec4<u32>(23u)) & vec4<u32>(255u));
}
