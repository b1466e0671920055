// gemv_i8 — acc[r] = sum_k W[r, k] q[k]
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    int8, four a word, zero past the last column
//   2  q    u32  [1, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [1, rows]            write
//
// Moves    4 * (4 * rows * vectors + 4 * vectors + rows) bytes.
// Does     32 * rows * vectors operations.
// Twin     reference::gemv_i8 — equal.

struct Params { rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

fn store(row: u32, total: i32) {
    acc[row] = total;
}
