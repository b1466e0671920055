// matmul_ternary_dw_subgroup — matmul_ternary_dw with an 8 x 16 register tile and shared loads
//
//   0  p     Params                      uniform
//   1  dy    f32  [batch, rows]          read
//   2  step  f32  [batch]                read
//   3  q     u32  [batch, 4 * words]     read    int8, four a word
//   4  dw    f32  [rows, cols]           write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads four gradients and the others take them from it. Four batch rows at a time, so that the
// accumulators are touched once for four products.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over rows; TILE_X columns (two words of q) and TILE_Y rows per invocation.
// Moves    as matmul_ternary_dw.
// Does     as matmul_ternary_dw.
// Twin     reference::matmul_ternary_dw — within the rounding of a sum of `batch` terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> q: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;

// Four terms of each sum at once, so that the accumulators are touched once for four products; in order.
fn plus(a: mat4x4<f32>, v: vec4<f32>, m0: mat4x4<f32>, m1: mat4x4<f32>, m2: mat4x4<f32>, m3: mat4x4<f32>) -> mat4x4<f32> {
    return a + v.x * m0 + v.y * m1 + v.z * m2 + v.w * m3;
}

// One batch row's gradients of 16 rows, four from each of four lanes.
fn spread(d: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(d, 0u), subgroupBroadcast(d, 1u), subgroupBroadcast(d, 2u), subgroupBroadcast(d, 3u));
}

// The same from the other four lanes.
fn spread_next(d: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(d, 4u), subgroupBroadcast(d, 5u), subgroupBroadcast(d, 6u), subgroupBroadcast(d, 7u));
}

fn dy_at(i: u32) -> f32 {
    return dy[i / 4u][i % 4u];
}

// Four codes as floats.
fn codes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

// Four gradients from index i on; past the last they repeat it.
fn four(i: u32, last: u32) -> vec4<f32> {
    return vec4<f32>(
        dy_at(min(i, last)), dy_at(min(i + 1u, last)), dy_at(min(i + 2u, last)), dy_at(min(i + 3u, last)));
}

// Element [part][i] of the matrix is row 4 part + i.
fn store(row: u32, col: u32, tile: mat4x4<f32>) {
    if col >= p.cols { return; }
    for (var part = 0u; part < 4u; part++) {
        let at = row + 4u * part;
        if at < p.rows { dw[at * p.cols + col] = tile[part].x; }
        if at + 1u < p.rows { dw[(at + 1u) * p.cols + col] = tile[part].y; }
        if at + 2u < p.rows { dw[(at + 2u) * p.cols + col] = tile[part].z; }
        if at + 3u < p.rows { dw[(at + 3u) * p.cols + col] = tile[part].w; }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let col = id.x * TILE_X;
    let row = id.y * TILE_Y;
    let pairs = 2u * p.words;                       // of words, in a row of q
    let mine = min(id.x, pairs - 1u);
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    let second = (lane % 8u) / 4u;                  // half of the lanes load the batch row after
    let four_rows = row + 4u * (lane % 4u);
    let mine_rows = min(four_rows, p.rows - 1u) + second * p.rows;
    // Loads of four need rows that start at multiples of four. Other rows go one by one, and so do
    // the batch rows left over from fours.
    let whole = select(0u, p.batch - p.batch % 4u, p.rows % 4u == 0u);
    for (var b = 0u; b < whole; b += 4u) {
        let d_first = step[b + second] * dy[(b * p.rows + mine_rows) / 4u];
        let d_second = step[b + 2u + second] * dy[((b + 2u) * p.rows + mine_rows) / 4u];
        let d0 = spread(d_first);
        let d1 = spread_next(d_first);
        let d2 = spread(d_second);
        let d3 = spread_next(d_second);
        let i = b * pairs + mine;
        let q0 = q[i];
        let q1 = q[i + pairs];
        let q2 = q[i + 2u * pairs];
        let q3 = q[i + 3u * pairs];
        let low_x = transpose(mat4x4<f32>(codes(q0.x), codes(q1.x), codes(q2.x), codes(q3.x)));
        let high_x = transpose(mat4x4<f32>(codes(q0.y), codes(q1.y), codes(q2.y), codes(q3.y)));
        a0 = plus(a0, low_x[0], d0, d1, d2, d3);
        a1 = plus(a1, low_x[1], d0, d1, d2, d3);
        a2 = plus(a2, low_x[2], d0, d1, d2, d3);
        a3 = plus(a3, low_x[3], d0, d1, d2, d3);
        a4 = plus(a4, high_x[0], d0, d1, d2, d3);
        a5 = plus(a5, high_x[1], d0, d1, d2, d3);
        a6 = plus(a6, high_x[2], d0, d1, d2, d3);
        a7 = plus(a7, high_x[3], d0, d1, d2, d3);
    }
    for (var b = whole; b < p.batch; b++) {
        let d = spread(step[b] * four(b * p.rows + four_rows, (b + 1u) * p.rows - 1u));
        let eight = q[b * pairs + mine];
        let low_x = codes(eight.x);
        let high_x = codes(eight.y);
        a0 += low_x.x * d;
        a1 += low_x.y * d;
        a2 += low_x.z * d;
        a3 += low_x.w * d;
        a4 += high_x.x * d;
        a5 += high_x.y * d;
        a6 += high_x.z * d;
        a7 += high_x.w * d;
    }
    store(row, col, a0);
    store(row, col + 1u, a1);
    store(row, col + 2u, a2);
    store(row, col + 3u, a3);
    store(row, col + 4u, a4);
    store(row, col + 5u, a5);
    store(row, col + 6u, a6);
    store(row, col + 7u, a7);
}
