// matmul_f32_subgroup — matmul_f32 with an 8 x 16 register tile and shared loads
//
//   0  p   Params                 uniform
//   1  x   f32  [batch, cols]     read
//   2  w   f32  [rows, cols]      read
//   3  y   f32  [batch, rows]     write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the activations of two batch rows and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_f32.
// Does     as matmul_f32.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four terms of each sum at once, so that the accumulators are touched once for four products; in order.
fn plus(a: mat4x4<f32>, v: vec4<f32>, m0: mat4x4<f32>, m1: mat4x4<f32>, m2: mat4x4<f32>, m3: mat4x4<f32>) -> mat4x4<f32> {
    return a + v.x * m0 + v.y * m1 + v.z * m2 + v.w * m3;
}

// One term's factor for 16 batch rows: eight from either of two loads, one a lane.
fn spread(low: f32, high: f32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(low, 0u), subgroupBroadcast(low, 1u), subgroupBroadcast(low, 2u), subgroupBroadcast(low, 3u),
        subgroupBroadcast(low, 4u), subgroupBroadcast(low, 5u), subgroupBroadcast(low, 6u), subgroupBroadcast(low, 7u),
        subgroupBroadcast(high, 0u), subgroupBroadcast(high, 1u), subgroupBroadcast(high, 2u), subgroupBroadcast(high, 3u),
        subgroupBroadcast(high, 4u), subgroupBroadcast(high, 5u), subgroupBroadcast(high, 6u), subgroupBroadcast(high, 7u));
}

fn x_at(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
}

fn w_at(i: u32) -> f32 {
    return w[i / 4u][i % 4u];
}

// Element [part][i] of the matrix is batch row 4 part + i.
fn store(b: u32, row: u32, tile: mat4x4<f32>) {
    if row >= p.rows { return; }
    for (var part = 0u; part < 4u; part++) {
        let at = b + 4u * part;
        if at < p.batch { y[at * p.rows + row] = tile[part].x; }
        if at + 1u < p.batch { y[(at + 1u) * p.rows + row] = tile[part].y; }
        if at + 2u < p.batch { y[(at + 2u) * p.rows + row] = tile[part].z; }
        if at + 3u < p.batch { y[(at + 3u) * p.rows + row] = tile[part].w; }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let low = min(b + lane % 8u, p.batch - 1u) * p.cols;
    let high = min(b + 8u + lane % 8u, p.batch - 1u) * p.cols;
    let last = p.rows - 1u;
    let w0 = min(row, last) * p.cols;
    let w1 = min(row + 1u, last) * p.cols;
    let w2 = min(row + 2u, last) * p.cols;
    let w3 = min(row + 3u, last) * p.cols;
    let w4 = min(row + 4u, last) * p.cols;
    let w5 = min(row + 5u, last) * p.cols;
    let w6 = min(row + 6u, last) * p.cols;
    let w7 = min(row + 7u, last) * p.cols;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    // Loads of four need rows that start at multiples of four; other rows go one by one.
    let whole = select(0u, p.cols, p.cols % 4u == 0u);
    for (var k = 0u; k < whole; k += 4u) {
        let x_low = x[(low + k) / 4u];
        let x_high = x[(high + k) / 4u];
        let x0 = spread(x_low.x, x_high.x);
        let x1 = spread(x_low.y, x_high.y);
        let x2 = spread(x_low.z, x_high.z);
        let x3 = spread(x_low.w, x_high.w);
        a0 = plus(a0, w[(w0 + k) / 4u], x0, x1, x2, x3);
        a1 = plus(a1, w[(w1 + k) / 4u], x0, x1, x2, x3);
        a2 = plus(a2, w[(w2 + k) / 4u], x0, x1, x2, x3);
        a3 = plus(a3, w[(w3 + k) / 4u], x0, x1, x2, x3);
        a4 = plus(a4, w[(w4 + k) / 4u], x0, x1, x2, x3);
        a5 = plus(a5, w[(w5 + k) / 4u], x0, x1, x2, x3);
        a6 = plus(a6, w[(w6 + k) / 4u], x0, x1, x2, x3);
        a7 = plus(a7, w[(w7 + k) / 4u], x0, x1, x2, x3);
    }
    for (var k = whole; k < p.cols; k++) {
        let x0 = spread(x_at(low + k), x_at(high + k));
        a0 += w_at(w0 + k) * x0;
        a1 += w_at(w1 + k) * x0;
        a2 += w_at(w2 + k) * x0;
        a3 += w_at(w3 + k) * x0;
        a4 += w_at(w4 + k) * x0;
        a5 += w_at(w5 + k) * x0;
        a6 += w_at(w6 + k) * x0;
        a7 += w_at(w7 + k) * x0;
    }
    store(b, row, a0);
    store(b, row + 1u, a1);
    store(b, row + 2u, a2);
    store(b, row + 3u, a3);
    store(b, row + 4u, a4);
    store(b, row + 5u, a5);
    store(b, row + 6u, a6);
    store(b, row + 7u, a7);
}
