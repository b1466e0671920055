// matmul_f32 — y[b, r] = sum_k x[b, k] W[r, k]
//
//   0  p   Params                 uniform
//   1  x   f32  [batch, cols]     read
//   2  w   f32  [rows, cols]      read
//   3  y   f32  [batch, rows]     write
//
// Moves    4 * (batch * cols + rows * cols + batch * rows) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

struct Params { batch: u32, rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Load>;
@group(0) @binding(2) var<storage, read> w: array<Load>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn height() -> u32 {
    return p.batch;
}

fn width() -> u32 {
    return p.rows;
}

// Output i.
fn put(row: u32, i: u32, value: f32) {
    y[i] = value;
}
