// residual — y[b, c] = h[b, c] + beta step[b] acc[b, c]: what a ternary product adds to the residual stream
//
//   0  p     Params                 uniform
//   1  h     f32  [batch, cols]     read
//   2  acc   i32  [batch, cols]     read    |acc| < 2^24, exact as f32
//   3  step  f32  [batch]           read    real value of one int8 step of the product's codes
//   4  beta  f32  [1]               read    what one trit of its matrix is worth
//   5  y     f32  [batch, cols]     write
//
// Rows are whole vectors of four.
//
// Grid     one invocation per four values.
// Moves    4 * (3 * batch * cols + batch + 1) bytes.
// Does     3 * batch * cols operations.
// Twin     reference::residual — within the roundings of three operations.
// Source   BitNet b1.58, arXiv 2402.17764, section 2.

override WG: u32 = 64u;

struct Params { vectors: u32, cols: u32 }      // both in vectors of four

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> acc: array<vec4<i32>>;
@group(0) @binding(3) var<storage, read> step: array<f32>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i < p.vectors { y[i] = h[i] + (beta[0] * step[i / p.cols]) * vec4<f32>(acc[i]); }
}
