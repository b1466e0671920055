// gemv_ternary_addsub — acc[r] = sum_k T[r, k] q[k], without a multiplication
//
//   0  p    Params                  uniform
//   1  w    u32  [rows, words]      read    packed trits
//   2  q    u32  [1, 4 * words]     read    int8, four a word, zero past the last column
//   3  acc  i32  [1, rows]          write
//
// What a ternary matrix is, taken literally: an activation is added where the trit is 1, subtracted
// where it is -1 and skipped where it is 0. Nothing in the loop multiplies, not even an index.
//
// Grid     one workgroup per TILE_Y rows.
// Moves    4 * (rows * words + 4 * words + rows) bytes.
// Does     2 * rows * cols operations (two additions of an activation or of 0).
// Twin     reference::gemv_ternary_addsub — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 2u;

struct Params { rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec2<i32>, WG>;

// Codes c = t + 1 of four elements, their activations: each added, subtracted, or neither.
fn four(codes: u32, x: u32) -> vec4<i32> {
    let c = unpack4xU8(codes & CODES);
    let q = unpack4xI8(x);
    let none = vec4<i32>(0);
    return select(none, q, c == vec4<u32>(2u)) - select(none, q, c == vec4<u32>(0u));
}

fn sixteen(word: u32, x: vec4<u32>) -> i32 {
    let s = (four(word, x.x) + four(word >> 2u, x.y)) + (four(word >> 4u, x.z) + four(word >> 6u, x.w));
    return (s.x + s.y) + (s.z + s.w);
}

fn sixty_four(words: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>) -> i32 {
    return (sixteen(words.x, x0) + sixteen(words.y, x1)) + (sixteen(words.z, x2) + sixteen(words.w, x3));
}

// A single word of a row that does not start at a vector.
fn word_at(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * TILE_Y;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.words;
    let w1 = min(row + 1u, last) * p.words;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.words >> 2u, (p.words & 3u) == 0u);
    var a = vec2<i32>(0);
    for (var k = lane; k < vectors; k += WG) {
        let v0 = w[(w0 >> 2u) + k];
        let v1 = w[(w1 >> 2u) + k];
        let x = k << 2u;
        let x0 = q[x];
        let x1 = q[x + 1u];
        let x2 = q[x + 2u];
        let x3 = q[x + 3u];
        a += vec2<i32>(sixty_four(v0, x0, x1, x2, x3), sixty_four(v1, x0, x1, x2, x3));
    }
    for (var k = 4u * vectors + lane; k < p.words; k += WG) {
        let x = q[k];
        a += vec2<i32>(sixteen(word_at(w0 + k), x), sixteen(word_at(w1 + k), x));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { acc[row + lane] = sh[0][lane]; }
}
