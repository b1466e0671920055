// gemv_ternary_addsub — acc[r] = sum_k T[r, k] q[k], without a multiplication
//
//   0  p    Params                  uniform
//   1  w    u32  [rows, words]      read    packed trits
//   2  q    u32  [1, 4 * words]     read    int8, four a word, zero past the last column
//   3  acc  i32  [1, rows]          write
//
// What a ternary matrix is, taken literally: an activation is added where the trit is 1, subtracted where it is -1
// and skipped where it is 0. Nothing in the loop multiplies, not even an index.
//
// Moves    4 * (rows * words + 4 * words + rows) bytes.
// Does     2 * rows * cols operations (two additions of an activation or of 0).
// Twin     reference::gemv_ternary_addsub — equal.

struct Params { rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

fn store(row: u32, total: i32) {
    acc[row] = total;
}
