// descale_rows — y[b, r] = acc[b, r] beta / scale[b]
//
//   0  p      Params                  uniform
//   1  acc    i32  [batch, rows]      read    |acc| < 2^24, exact as f32
//   2  scale  f32  [batch]            read    from quantize_activations: int8 steps in 1
//   3  beta   f32  [1]                read    what one trit is worth
//   4  y      f32  [batch, rows]      write
//
// What ends a linear layer that stands alone: both quantisers' scales at once. In a network they travel with the
// row instead (rms_factor).
//
// Grid     one invocation per value.
// Moves    4 * (2 * batch * rows + batch + 1) bytes.
// Does     2 * batch * rows operations (divide, multiply).
// Twin     reference::descale_rows — within the rounding of a division.
// Source   BitNet b1.58, arXiv 2402.17764, section 2; BitNet, arXiv 2310.11453, equation 11.

override WG: u32 = 64u;

struct Params { count: u32, rows: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<i32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i < p.count { y[i] = f32(acc[i]) * (beta[0] / scale[i / p.rows]); }
}
