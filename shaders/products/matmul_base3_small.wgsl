// matmul_base3_small — matmul_base3 for batches of 2 to 16: weights decoded once, COLUMNS batch rows in registers
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, 4 * vectors]    read    base-3 trits, eighty a vector
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// gemv_base3 with more than one row of activations: the lanes of a workgroup walk along TILE_Y rows of the matrix
// together, and each vector of it is decoded once for COLUMNS batch rows. A larger batch comes in blocks, those of
// the same rows next to each other.
//
// Grid     one workgroup per TILE_Y rows and COLUMNS batch rows.
// Moves    as matmul_base3.
// Does     as matmul_base3.
// Twin     reference::matmul_base3 — equal.

override WG: u32 = 64u;
// 1 to 16.
override COLUMNS: u32 = 4u;
const TILE_Y: u32 = 2u;

struct Params { batch: u32, rows: u32, vectors: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// Two sums of each lane, one a row, for each batch row.
var<workgroup> sh: array<vec2<i32>, WG * COLUMNS>;

// The codes of a word: the first four digits of its bytes, and the last.
struct Codes { first: vec4<u32>, last: u32 }

fn decode(word: u32) -> Codes {
    let even0 = triple(word);
    let odd0 = triple(word >> 8u);
    let even1 = triple(even0);
    let odd1 = triple(odd0);
    let even2 = triple(even1);
    let odd2 = triple(odd1);
    let even3 = triple(even2);
    let odd3 = triple(odd2);
    let first = vec4<u32>(carries(even0, odd0), carries(even1, odd1), carries(even2, odd2), carries(even3, odd3));
    return Codes(first, carries(triple(even3), triple(odd3)));
}

// The eighty codes of a vector as the five vectors of activations that they meet.
struct Eighty { c0: vec4<u32>, c1: vec4<u32>, c2: vec4<u32>, c3: vec4<u32>, c4: vec4<u32> }

fn eighty(v: vec4<u32>) -> Eighty {
    let a = decode(v.x);
    let b = decode(v.y);
    let c = decode(v.z);
    let d = decode(v.w);
    return Eighty(a.first, vec4<u32>(a.last, b.first.xyz), vec4<u32>(b.first.w, b.last, c.first.xy),
                  vec4<u32>(c.first.zw, c.last, d.first.x), vec4<u32>(d.first.yzw, d.last));
}

fn dot16(codes: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(codes.x, x.x) + dot4I8Packed(codes.y, x.y)
        + dot4I8Packed(codes.z, x.z) + dot4I8Packed(codes.w, x.w);
}

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn activations(start: u32, k: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[start + min(k, p.words - 1u)], k < p.words);
}

// Eighty terms of either row, for batch row b; one past the end repeats the last and is not stored.
fn terms(r0: Eighty, r1: Eighty, b: u32, k: u32) -> vec2<i32> {
    let start = min(b, p.batch - 1u) * p.words;
    let x0 = activations(start, 5u * k);
    let x1 = activations(start, 5u * k + 1u);
    let x2 = activations(start, 5u * k + 2u);
    let x3 = activations(start, 5u * k + 3u);
    let x4 = activations(start, 5u * k + 4u);
    return vec2<i32>(
        dot16(r0.c0, x0) + dot16(r0.c1, x1) + dot16(r0.c2, x2) + dot16(r0.c3, x3) + dot16(r0.c4, x4),
        dot16(r1.c0, x0) + dot16(r1.c1, x1) + dot16(r1.c2, x2) + dot16(r1.c3, x3) + dot16(r1.c4, x4));
}

// Adds the terms of vector k of both rows to the sums of each batch row.
fn add(a: ptr<function, array<vec2<i32>, 16>>, v0: vec4<u32>, v1: vec4<u32>, b: u32, k: u32) {
    let r0 = eighty(v0);
    let r1 = eighty(v1);
    (*a)[0] += terms(r0, r1, b, k);
    if COLUMNS > 1u { (*a)[1] += terms(r0, r1, b + 1u, k); }
    if COLUMNS > 2u { (*a)[2] += terms(r0, r1, b + 2u, k); }
    if COLUMNS > 3u { (*a)[3] += terms(r0, r1, b + 3u, k); }
    if COLUMNS > 4u { (*a)[4] += terms(r0, r1, b + 4u, k); }
    if COLUMNS > 5u { (*a)[5] += terms(r0, r1, b + 5u, k); }
    if COLUMNS > 6u { (*a)[6] += terms(r0, r1, b + 6u, k); }
    if COLUMNS > 7u { (*a)[7] += terms(r0, r1, b + 7u, k); }
    if COLUMNS > 8u { (*a)[8] += terms(r0, r1, b + 8u, k); }
    if COLUMNS > 9u { (*a)[9] += terms(r0, r1, b + 9u, k); }
    if COLUMNS > 10u { (*a)[10] += terms(r0, r1, b + 10u, k); }
    if COLUMNS > 11u { (*a)[11] += terms(r0, r1, b + 11u, k); }
    if COLUMNS > 12u { (*a)[12] += terms(r0, r1, b + 12u, k); }
    if COLUMNS > 13u { (*a)[13] += terms(r0, r1, b + 13u, k); }
    if COLUMNS > 14u { (*a)[14] += terms(r0, r1, b + 14u, k); }
    if COLUMNS > 15u { (*a)[15] += terms(r0, r1, b + 15u, k); }
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
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    var a = array<vec2<i32>, 16>();
    for (var k = lane; k < p.vectors; k += WG) { add(&a, w[w0 + k], w[w1 + k], b, k); }
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
