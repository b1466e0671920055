// matmul_f16 — y[b, r] = sum_k x[b, k] W[r, k], both stored as f16
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// Weights and activations are f16 in memory and f32 in registers, so every product is exact.
//
// Moves    4 * (4 * batch * vectors + 4 * rows * vectors + batch * rows) bytes.
// Does     16 * batch * rows * vectors operations.
// Twin     reference::matmul_f16 — within the rounding of a sum of cols terms.

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
