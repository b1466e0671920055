// matmul_ternary — acc[b, r] = sum_k T[r, k] q[b, k]
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// Codes are t + 1, so sum t q = sum c q - sum q: the product runs on the codes as they lie.
//
// Moves    4 * (rows * words + batch * (4 * words + 1 + rows)) bytes.
// Does     2 * batch * rows * cols operations (a trit adds, subtracts or skips its input: two).
// Twin     reference::matmul_ternary — equal.

struct Params { batch: u32, rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

fn height() -> u32 {
    return p.batch;
}

fn width() -> u32 {
    return p.rows;
}

// Output i is in row y.
fn put(y: u32, i: u32, value: i32) {
    acc[i] = value - sum[y];
}
