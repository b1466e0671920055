// gemv_f16 — y[r] = sum_k x[k] W[r, k], both stored as f16
//
//   0  p  Params                    uniform
//   1  x  u32  [1, 4 * vectors]     read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]  read    f16, two a word, zero past the last column
//   3  y  f32  [1, rows]            write
//
// Weights and activations are f16 in memory and f32 in registers, so every product is exact; WGSL unpacks pairs of
// them without its type f16, on every adapter.
//
// Moves    4 * (4 * vectors + 4 * rows * vectors + rows) bytes.
// Does     16 * rows * vectors operations.
// Twin     reference::gemv_f16 — within the rounding of a sum of cols terms.

struct Params { rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn store(row: u32, sum: f32) {
    y[row] = sum;
}
