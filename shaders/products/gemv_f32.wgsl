// gemv_f32 — y[r] = sum_k x[k] W[r, k]
//
//   0  p  Params               uniform
//   1  x  f32  [1, cols]       read
//   2  w  f32  [rows, cols]    read
//   3  y  f32  [1, rows]       write
//
// Moves    4 * (cols + rows * cols + rows) bytes.
// Does     2 * rows * cols operations.
// Twin     reference::gemv_f32 — within the rounding of a sum of cols terms.

struct Params { rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn store(row: u32, sum: f32) {
    y[row] = sum;
}
