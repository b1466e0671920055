// matmul_f32_dw — dw[r, c] = sum_b dy[b, r] x[b, c]
//
//   0  p   Params                 uniform
//   1  dy  f32  [batch, rows]     read
//   2  x   f32  [batch, cols]     read
//   3  dw  f32  [rows, cols]      write
//
// Moves    4 * (batch * rows + batch * cols + rows * cols) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_f32_dw — within the rounding of a sum of batch terms.

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Load>;
@group(0) @binding(2) var<storage, read> x: array<Load>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

fn height() -> u32 {
    return p.rows;
}

fn width() -> u32 {
    return p.cols;
}

// Output i.
fn put(y: u32, i: u32, value: f32) {
    dw[i] = value;
}
