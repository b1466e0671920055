// matmul_f32_dx_subgroup — matmul_f32_dx with an 8 x 16 register tile and shared loads
//
//   0  p   Params                 uniform
//   1  w   f32  [rows, cols]      read
//   2  dy  f32  [batch, rows]     read
//   3  dx  f32  [batch, cols]     write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the gradients of two batch rows and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over the batch; TILE_X columns and TILE_Y batch rows per invocation.
// Moves    as matmul_f32_dx.
// Does     as matmul_f32_dx.
// Twin     reference::matmul_f32_dx — within the rounding of a sum of rows terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

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

fn w_at(i: u32) -> f32 {
    return w[i / 4u][i % 4u];
}

fn dy_at(i: u32) -> f32 {
    return dy[i / 4u][i % 4u];
}

// Element [part][i] of the matrix is batch row 4 part + i.
fn store(b: u32, col: u32, tile: mat4x4<f32>) {
    if col >= p.cols { return; }
    for (var part = 0u; part < 4u; part++) {
        let at = b + 4u * part;
        if at < p.batch { dx[at * p.cols + col] = tile[part].x; }
        if at + 1u < p.batch { dx[(at + 1u) * p.cols + col] = tile[part].y; }
        if at + 2u < p.batch { dx[(at + 2u) * p.cols + col] = tile[part].z; }
        if at + 3u < p.batch { dx[(at + 3u) * p.cols + col] = tile[part].w; }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let col = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let low = min(b + lane % 8u, p.batch - 1u) * p.rows;
    let high = min(b + 8u + lane % 8u, p.batch - 1u) * p.rows;
    let last = p.cols - 1u;
    let c0 = min(col, last);
    let c1 = min(col + 1u, last);
    let c2 = min(col + 2u, last);
    let c3 = min(col + 3u, last);
    let c4 = min(col + 4u, last);
    let c5 = min(col + 5u, last);
    let c6 = min(col + 6u, last);
    let c7 = min(col + 7u, last);
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    // Loads of four need rows that start at multiples of four; other rows go one by one.
    let whole = select(0u, p.rows, p.rows % 4u + p.cols % 4u == 0u);
    for (var r = 0u; r < whole; r += 4u) {
        let d_low = dy[(low + r) / 4u];
        let d_high = dy[(high + r) / 4u];
        let d0 = spread(d_low.x, d_high.x);
        let d1 = spread(d_low.y, d_high.y);
        let d2 = spread(d_low.z, d_high.z);
        let d3 = spread(d_low.w, d_high.w);
        let i0 = r * p.cols;
        let i1 = i0 + p.cols;
        let i2 = i1 + p.cols;
        let i3 = i2 + p.cols;
        let low_w = transpose(mat4x4<f32>(
            w[(i0 + c0) / 4u], w[(i1 + c0) / 4u], w[(i2 + c0) / 4u], w[(i3 + c0) / 4u]));
        let high_w = transpose(mat4x4<f32>(
            w[(i0 + c4) / 4u], w[(i1 + c4) / 4u], w[(i2 + c4) / 4u], w[(i3 + c4) / 4u]));
        a0 = plus(a0, low_w[0], d0, d1, d2, d3);
        a1 = plus(a1, low_w[1], d0, d1, d2, d3);
        a2 = plus(a2, low_w[2], d0, d1, d2, d3);
        a3 = plus(a3, low_w[3], d0, d1, d2, d3);
        a4 = plus(a4, high_w[0], d0, d1, d2, d3);
        a5 = plus(a5, high_w[1], d0, d1, d2, d3);
        a6 = plus(a6, high_w[2], d0, d1, d2, d3);
        a7 = plus(a7, high_w[3], d0, d1, d2, d3);
    }
    for (var r = whole; r < p.rows; r++) {
        let d0 = spread(dy_at(low + r), dy_at(high + r));
        let i0 = r * p.cols;
        a0 += w_at(i0 + c0) * d0;
        a1 += w_at(i0 + c1) * d0;
        a2 += w_at(i0 + c2) * d0;
        a3 += w_at(i0 + c3) * d0;
        a4 += w_at(i0 + c4) * d0;
        a5 += w_at(i0 + c5) * d0;
        a6 += w_at(i0 + c6) * d0;
        a7 += w_at(i0 + c7) * d0;
    }
    store(b, col, a0);
    store(b, col + 1u, a1);
    store(b, col + 2u, a2);
    store(b, col + 3u, a3);
    store(b, col + 4u, a4);
    store(b, col + 5u, a5);
    store(b, col + 6u, a6);
    store(b, col + 7u, a7);
}
