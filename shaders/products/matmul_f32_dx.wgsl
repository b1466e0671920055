// matmul_f32_dx — dx[b, c] = sum_r dy[b, r] W[r, c]
//
//   0  p   Params                 uniform
//   1  w   f32  [rows, cols]      read
//   2  dy  f32  [batch, rows]     read
//   3  dx  f32  [batch, cols]     write
//
// Moves    4 * (rows * cols + batch * rows + batch * cols) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_f32_dx — within the rounding of a sum of rows terms.

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<Load>;
@group(0) @binding(2) var<storage, read> dy: array<Load>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

fn height() -> u32 {
    return p.batch;
}

fn width() -> u32 {
    return p.cols;
}

// Output i.
fn put(y: u32, i: u32, value: f32) {
    dx[i] = value;
}
