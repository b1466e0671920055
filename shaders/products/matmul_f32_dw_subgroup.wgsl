// matmul_f32_dw_subgroup — matmul_f32_dw with an 8 x 16 register tile and shared loads
//
//   0  p   Params                 uniform
//   1  dy  f32  [batch, rows]     read
//   2  x   f32  [batch, cols]     read
//   3  dw  f32  [rows, cols]      write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads four gradients and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over rows; TILE_X columns and TILE_Y rows per invocation.
// Moves    as matmul_f32_dw.
// Does     as matmul_f32_dw.
// Twin     reference::matmul_f32_dw — within the rounding of a sum of batch terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

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

fn x_at(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
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
    let four_rows = row + 4u * (lane % 4u);
    let mine = min(four_rows, p.rows - 1u) + (lane % 8u) / 4u * p.rows;
    // Loads of four need rows that start at multiples of four. Other rows go one by one, and so do
    // the batch rows left over from fours.
    let whole = select(0u, p.batch - p.batch % 4u, p.rows % 4u + p.cols % 4u == 0u);
    for (var b = 0u; b < whole; b += 4u) {
        let d_first = dy[(b * p.rows + mine) / 4u];
        let d_second = dy[((b + 2u) * p.rows + mine) / 4u];
        let d0 = spread(d_first);
        let d1 = spread_next(d_first);
        let d2 = spread(d_second);
        let d3 = spread_next(d_second);
        let i0 = b * p.cols;
        let i1 = i0 + p.cols;
        let i2 = i1 + p.cols;
        let i3 = i2 + p.cols;
        let low_x = transpose(mat4x4<f32>(
            x[(i0 + c0) / 4u], x[(i1 + c0) / 4u], x[(i2 + c0) / 4u], x[(i3 + c0) / 4u]));
        let high_x = transpose(mat4x4<f32>(
            x[(i0 + c4) / 4u], x[(i1 + c4) / 4u], x[(i2 + c4) / 4u], x[(i3 + c4) / 4u]));
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
        let d0 = spread(four(b * p.rows + four_rows, (b + 1u) * p.rows - 1u));
        let i0 = b * p.cols;
        a0 += x_at(i0 + c0) * d0;
        a1 += x_at(i0 + c1) * d0;
        a2 += x_at(i0 + c2) * d0;
        a3 += x_at(i0 + c3) * d0;
        a4 += x_at(i0 + c4) * d0;
        a5 += x_at(i0 + c5) * d0;
        a6 += x_at(i0 + c6) * d0;
        a7 += x_at(i0 + c7) * d0;
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
