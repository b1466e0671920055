// scale_rows — y[b, r] = scale[b] acc[b, r]
//
//   0  p      Params                  uniform
//   1  acc    i32  [batch, rows]      read    |acc| < 2^24, exact as f32
//   2  scale  f32  [batch]            read    real value of one unit of the row
//   3  y      f32  [batch, rows]      write
//
// Where integers become floats: the logits, and whatever a caller wants to read.
//
// Grid     one invocation per value.
// Moves    4 * (2 * batch * rows + batch) bytes.
// Does     batch * rows multiplications.
// Twin     reference::scale_rows — equal.

override WG: u32 = 64u;

struct Params { count: u32, rows: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<i32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i < p.count { y[i] = scale[i / p.rows] * f32(acc[i]); }
}
