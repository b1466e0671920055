// matmul_ternary_small — matmul_ternary for batches of 2 to 16: weights unpacked once, COLUMNS batch rows in registers
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// gemv_ternary with more than one row of activations: the lanes of a workgroup walk along TILE_Y rows of the matrix
// together, and each word of it is unpacked once for COLUMNS batch rows. A larger batch comes in blocks, those of
// the same rows next to each other.
//
// Grid     one workgroup per TILE_Y rows and COLUMNS batch rows.
// Moves    as matmul_ternary.
// Does     as matmul_ternary.
// Twin     reference::matmul_ternary — equal.

override WG: u32 = 64u;
// 1 to 16.
override COLUMNS: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// Four sums of each lane, one a row, for each batch row.
var<workgroup> sh: array<vec4<i32>, WG * COLUMNS>;

// The four planes of a word.
fn planes(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(CODES);
}

fn dot16(codes: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(codes.x, x.x) + dot4I8Packed(codes.y, x.y)
        + dot4I8Packed(codes.z, x.z) + dot4I8Packed(codes.w, x.w);
}

// Planes of one word of each of the four rows.
struct Codes { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

// Sixteen terms of each of the four rows, for batch row b; one past the end repeats the last and is not stored.
fn terms(c: Codes, b: u32, k: u32) -> vec4<i32> {
    let x = q[min(b, p.batch - 1u) * p.words + k];
    return vec4<i32>(dot16(c.r0, x), dot16(c.r1, x), dot16(c.r2, x), dot16(c.r3, x));
}

// Adds the terms of word k of the four rows to the sums of each batch row.
fn add(a: ptr<function, array<vec4<i32>, 16>>, words: vec4<u32>, b: u32, k: u32) {
    let c = Codes(planes(words.x), planes(words.y), planes(words.z), planes(words.w));
    (*a)[0] += terms(c, b, k);
    if COLUMNS > 1u { (*a)[1] += terms(c, b + 1u, k); }
    if COLUMNS > 2u { (*a)[2] += terms(c, b + 2u, k); }
    if COLUMNS > 3u { (*a)[3] += terms(c, b + 3u, k); }
    if COLUMNS > 4u { (*a)[4] += terms(c, b + 4u, k); }
    if COLUMNS > 5u { (*a)[5] += terms(c, b + 5u, k); }
    if COLUMNS > 6u { (*a)[6] += terms(c, b + 6u, k); }
    if COLUMNS > 7u { (*a)[7] += terms(c, b + 7u, k); }
    if COLUMNS > 8u { (*a)[8] += terms(c, b + 8u, k); }
    if COLUMNS > 9u { (*a)[9] += terms(c, b + 9u, k); }
    if COLUMNS > 10u { (*a)[10] += terms(c, b + 10u, k); }
    if COLUMNS > 11u { (*a)[11] += terms(c, b + 11u, k); }
    if COLUMNS > 12u { (*a)[12] += terms(c, b + 12u, k); }
    if COLUMNS > 13u { (*a)[13] += terms(c, b + 13u, k); }
    if COLUMNS > 14u { (*a)[14] += terms(c, b + 14u, k); }
    if COLUMNS > 15u { (*a)[15] += terms(c, b + 15u, k); }
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
    let index = group_index(group, groups);
    let blocks = (p.batch + COLUMNS - 1u) / COLUMNS;
    let row = index / blocks * TILE_Y;
    let b = index % blocks * COLUMNS;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.words;
    let w1 = min(row + 1u, last) * p.words;
    let w2 = min(row + 2u, last) * p.words;
    let w3 = min(row + 3u, last) * p.words;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.words >> 2u, (p.words & 3u) == 0u);
    var a = array<vec4<i32>, 16>();
    for (var k = lane; k < vectors; k += WG) {
        var four0 = w[(w0 >> 2u) + k];
        var four1 = w[(w1 >> 2u) + k];
        var four2 = w[(w2 >> 2u) + k];
        var four3 = w[(w3 >> 2u) + k];
        // By turning the vectors: an index would not be known, and four copies of the body are much code.
        for (var i = 0u; i < 4u; i++) {
            add(&a, vec4<u32>(four0.x, four1.x, four2.x, four3.x), b, 4u * k + i);
            four0 = four0.yzwx;
            four1 = four1.yzwx;
            four2 = four2.yzwx;
            four3 = four3.yzwx;
        }
    }
    for (var k = 4u * vectors + lane; k < p.words; k += WG) {
        let words = vec4<u32>(word_at(w0 + k), word_at(w1 + k), word_at(w2 + k), word_at(w3 + k));
        add(&a, words, b, k);
    }
    // Indices that the compiler knows, so that the sums stay in registers.
    sh[lane] = a[0];
    if COLUMNS > 1u { sh[WG + lane] = a[1]; }
    if COLUMNS > 2u { sh[2u * WG + lane] = a[2]; }
    if COLUMNS > 3u { sh[3u * WG + lane] = a[3]; }
    if COLUMNS > 4u { sh[4u * WG + lane] = a[4]; }
    if COLUMNS > 5u { sh[5u * WG + lane] = a[5]; }
    if COLUMNS > 6u { sh[6u * WG + lane] = a[6]; }
    if COLUMNS > 7u { sh[7u * WG + lane] = a[7]; }
    if COLUMNS > 8u { sh[8u * WG + lane] = a[8]; }
    if COLUMNS > 9u { sh[9u * WG + lane] = a[9]; }
    if COLUMNS > 10u { sh[10u * WG + lane] = a[10]; }
    if COLUMNS > 11u { sh[11u * WG + lane] = a[11]; }
    if COLUMNS > 12u { sh[12u * WG + lane] = a[12]; }
    if COLUMNS > 13u { sh[13u * WG + lane] = a[13]; }
    if COLUMNS > 14u { sh[14u * WG + lane] = a[14]; }
    if COLUMNS > 15u { sh[15u * WG + lane] = a[15]; }
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride {
            for (var c = lane; c < COLUMNS * WG; c += WG) { sh[c] = sh[c] + sh[c + stride]; }
        }
    }
    workgroupBarrier();
    for (var i = lane; i < COLUMNS * TILE_Y; i += WG) {
        let column = i / TILE_Y;
        let r = i % TILE_Y;
        if b + column < p.batch && row + r < p.rows {
            acc[(b + column) * p.rows + row + r] = sh[column * WG][r] - sum[b + column];
        }
    }
}
