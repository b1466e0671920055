// gemv_bitplane — acc[r] = sum_k T[r, k] t[k], trits times trits, counted
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    bit planes of the matrix
//   2  x    u32  [1, 4 * vectors]     read    bit planes of the activations
//   3  acc  i32  [1, rows]            write
//
// Moves    4 * (4 * rows * vectors + 4 * vectors + rows) bytes.
// Does     2 * rows * cols operations (one add, one multiply of trits).
// Twin     reference::gemv_bitplane — equal.

struct Params { rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

fn store(row: u32, total: i32) {
    acc[row] = total;
}
