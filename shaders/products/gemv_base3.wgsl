// gemv_base3 — acc[r] = sum_k T[r, k] q[k], five trits a byte
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    base-3 trits, eighty a vector
//   2  q    u32  [1, 4 * words]       read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                  read    sum of q
//   4  acc  i32  [1, rows]            write
//
// Five trits lie in a byte: 1.6 bits a weight, for three times the operations of gemv_ternary.
//
// Moves    4 * (4 * rows * vectors + 4 * words + 1 + rows) bytes.
// Does     2 * rows * cols operations (a trit adds, subtracts or skips its input: two).
// Twin     reference::gemv_base3 — equal.

struct Params { rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

fn store(row: u32, total: i32) {
    acc[row] = total - sum[0];
}
