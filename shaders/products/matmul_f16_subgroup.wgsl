// matmul_f16_subgroup — matmul_f16 with an 8 x 16 register tile and shared loads
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes
// loads and unpacks eight activations of two batch rows and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_f16.
// Does     as matmul_f16.
// Twin     reference::matmul_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four terms of each sum at once, so that the accumulators are touched once for four products; in order.
fn plus(a: mat4x4<f32>, v: vec4<f32>, m0: mat4x4<f32>, m1: mat4x4<f32>, m2: mat4x4<f32>, m3: mat4x4<f32>) -> mat4x4<f32> {
    return a + v.x * m0 + v.y * m1 + v.z * m2 + v.w * m3;
}

// One term's factor for 16 batch rows: eight from either of two loads, one a lane.
fn spread(near: f32, far: f32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(near, 0u), subgroupBroadcast(near, 1u), subgroupBroadcast(near, 2u), subgroupBroadcast(near, 3u),
        subgroupBroadcast(near, 4u), subgroupBroadcast(near, 5u), subgroupBroadcast(near, 6u), subgroupBroadcast(near, 7u),
        subgroupBroadcast(far, 0u), subgroupBroadcast(far, 1u), subgroupBroadcast(far, 2u), subgroupBroadcast(far, 3u),
        subgroupBroadcast(far, 4u), subgroupBroadcast(far, 5u), subgroupBroadcast(far, 6u), subgroupBroadcast(far, 7u));
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
    let near = min(b + lane % 8u, p.batch - 1u) * p.vectors;
    let far = min(b + 8u + lane % 8u, p.batch - 1u) * p.vectors;
    let last = p.rows - 1u;
    let w0 = min(row, last) * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    let w4 = min(row + 4u, last) * p.vectors;
    let w5 = min(row + 5u, last) * p.vectors;
    let w6 = min(row + 6u, last) * p.vectors;
    let w7 = min(row + 7u, last) * p.vectors;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    for (var k = 0u; k < p.vectors; k++) {
        let x_near = x[near + k];
        let x_far = x[far + k];
        let low_near = low_halfs(x_near);
        let low_far = low_halfs(x_far);
        let low0 = spread(low_near.x, low_far.x);
        let low1 = spread(low_near.y, low_far.y);
        let low2 = spread(low_near.z, low_far.z);
        let low3 = spread(low_near.w, low_far.w);
        let high_near = high_halfs(x_near);
        let high_far = high_halfs(x_far);
        let high0 = spread(high_near.x, high_far.x);
        let high1 = spread(high_near.y, high_far.y);
        let high2 = spread(high_near.z, high_far.z);
        let high3 = spread(high_near.w, high_far.w);
        let v0 = w[w0 + k];
        a0 = plus(plus(a0, low_halfs(v0), low0, low1, low2, low3), high_halfs(v0), high0, high1, high2, high3);
        let v1 = w[w1 + k];
        a1 = plus(plus(a1, low_halfs(v1), low0, low1, low2, low3), high_halfs(v1), high0, high1, high2, high3);
        let v2 = w[w2 + k];
        a2 = plus(plus(a2, low_halfs(v2), low0, low1, low2, low3), high_halfs(v2), high0, high1, high2, high3);
        let v3 = w[w3 + k];
        a3 = plus(plus(a3, low_halfs(v3), low0, low1, low2, low3), high_halfs(v3), high0, high1, high2, high3);
        let v4 = w[w4 + k];
        a4 = plus(plus(a4, low_halfs(v4), low0, low1, low2, low3), high_halfs(v4), high0, high1, high2, high3);
        let v5 = w[w5 + k];
        a5 = plus(plus(a5, low_halfs(v5), low0, low1, low2, low3), high_halfs(v5), high0, high1, high2, high3);
        let v6 = w[w6 + k];
        a6 = plus(plus(a6, low_halfs(v6), low0, low1, low2, low3), high_halfs(v6), high0, high1, high2, high3);
        let v7 = w[w7 + k];
        a7 = plus(plus(a7, low_halfs(v7), low0, low1, low2, low3), high_halfs(v7), high0, high1, high2, high3);
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
