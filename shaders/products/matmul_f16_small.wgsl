// matmul_f16_small — matmul_f16 for batches of 2 to 16: weights read once, COLUMNS batch rows in registers
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// gemv_f16 with more than one row of activations: the lanes of a workgroup walk along TILE_Y rows of the matrix
// together, and each vector of it is read and unpacked once for COLUMNS batch rows. A larger batch comes in blocks, those of
// the same rows next to each other.
//
// Grid     one workgroup per TILE_Y rows and COLUMNS batch rows.
// Moves    as matmul_f16.
// Does     as matmul_f16.
// Twin     reference::matmul_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 64u;
// 1 to 16.
override COLUMNS: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four sums of each lane, one a row, for each batch row.
var<workgroup> sh: array<vec4<f32>, WG * COLUMNS>;

// Eight terms of a row.
struct Eight { low: vec4<f32>, high: vec4<f32> }

fn eight(v: vec4<u32>) -> Eight {
    return Eight(low_halfs(v), high_halfs(v));
}

fn dot8(a: Eight, b: Eight) -> f32 {
    return dot(a.low, b.low) + dot(a.high, b.high);
}

// A vector of each of the four rows.
struct Rows { r0: Eight, r1: Eight, r2: Eight, r3: Eight }

// Eight terms of each of the four rows, for batch row b; one past the end repeats the last and is not stored.
fn terms(v: Rows, b: u32, k: u32) -> vec4<f32> {
    let e = eight(x[min(b, p.batch - 1u) * p.vectors + k]);
    return vec4<f32>(dot8(v.r0, e), dot8(v.r1, e), dot8(v.r2, e), dot8(v.r3, e));
}

// Adds the terms of vector k of the four rows to the sums of each batch row.
fn add(a: ptr<function, array<vec4<f32>, 16>>, v: Rows, b: u32, k: u32) {
    (*a)[0] += terms(v, b, k);
    if COLUMNS > 1u { (*a)[1] += terms(v, b + 1u, k); }
    if COLUMNS > 2u { (*a)[2] += terms(v, b + 2u, k); }
    if COLUMNS > 3u { (*a)[3] += terms(v, b + 3u, k); }
    if COLUMNS > 4u { (*a)[4] += terms(v, b + 4u, k); }
    if COLUMNS > 5u { (*a)[5] += terms(v, b + 5u, k); }
    if COLUMNS > 6u { (*a)[6] += terms(v, b + 6u, k); }
    if COLUMNS > 7u { (*a)[7] += terms(v, b + 7u, k); }
    if COLUMNS > 8u { (*a)[8] += terms(v, b + 8u, k); }
    if COLUMNS > 9u { (*a)[9] += terms(v, b + 9u, k); }
    if COLUMNS > 10u { (*a)[10] += terms(v, b + 10u, k); }
    if COLUMNS > 11u { (*a)[11] += terms(v, b + 11u, k); }
    if COLUMNS > 12u { (*a)[12] += terms(v, b + 12u, k); }
    if COLUMNS > 13u { (*a)[13] += terms(v, b + 13u, k); }
    if COLUMNS > 14u { (*a)[14] += terms(v, b + 14u, k); }
    if COLUMNS > 15u { (*a)[15] += terms(v, b + 15u, k); }
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
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    var a = array<vec4<f32>, 16>();
    for (var k = lane; k < p.vectors; k += WG) {
        add(&a, Rows(eight(w[w0 + k]), eight(w[w1 + k]), eight(w[w2 + k]), eight(w[w3 + k])), b, k);
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
            y[(b + column) * p.rows + row + r] = sh[column * WG][r];
        }
    }
}
