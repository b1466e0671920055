// matmul_ternary — acc[b, r] = sum_k T[r, k] q[b, k]
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// Codes are t + 1, so sum t q = sum c q - sum q: the dot product runs on the codes as they lie.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    4 * (rows * words + batch * (4 * words + 1 + rows)) bytes.
// Does     2 * batch * rows * cols operations (one add, one multiply by a trit).
// Twin     reference::matmul_ternary — equal.

override WG: u32 = 64u;
const TILE_X: u32 = 1u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

fn dot16(codes: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(codes.x, x.x) + dot4I8Packed(codes.y, x.y)
        + dot4I8Packed(codes.z, x.z) + dot4I8Packed(codes.w, x.w);
}

fn store(b: u32, row: u32, value: i32) {
    if b < p.batch { acc[b * p.rows + row] = value - sum[b]; }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= p.rows { return; }
    let b = id.y * TILE_Y;
    // Rows past the batch repeat its last one and are not stored.
    let last = p.batch - 1u;
    let q0 = b * p.words;
    let q1 = min(b + 1u, last) * p.words;
    let q2 = min(b + 2u, last) * p.words;
    let q3 = min(b + 3u, last) * p.words;
    var a = vec4<i32>(0);
    for (var k = 0u; k < p.words; k++) {
        let word = w[row * p.words + k];
        let codes = vec4<u32>(plane(word, 0u), plane(word, 1u), plane(word, 2u), plane(word, 3u));
        a += vec4<i32>(dot16(codes, q[q0 + k]), dot16(codes, q[q1 + k]),
                       dot16(codes, q[q2 + k]), dot16(codes, q[q3 + k]));
    }
    store(b, row, a.x);
    store(b + 1u, row, a.y);
    store(b + 2u, row, a.z);
    store(b + 3u, row, a.w);
}
