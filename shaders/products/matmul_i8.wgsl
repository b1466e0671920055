// matmul_i8 — acc[b, r] = sum_k W[r, k] q[b, k]
//
//   0  p    Params                        uniform
//   1  w    u32  [rows, 4 * vectors]      read    int8, four a word, zero past the last column
//   2  q    u32  [batch, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [batch, rows]            write
//
// Moves    4 * (4 * rows * vectors + 4 * batch * vectors + batch * rows) bytes.
// Does     32 * batch * rows * vectors operations.
// Twin     reference::matmul_i8 — equal.

struct Params { batch: u32, rows: u32, length: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

fn height() -> u32 {
    return p.batch;
}

fn width() -> u32 {
    return p.rows;
}

// Output i.
fn put(y: u32, i: u32, value: i32) {
    acc[i] = value;
}
