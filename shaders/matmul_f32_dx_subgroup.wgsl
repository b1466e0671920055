// matmul_f32_dx_subgroup — matmul_f32_dx with a 16 x 8 register tile and shared loads
//
//   0  p   Params                 uniform
//   1  w   f32  [rows, cols]      read
//   2  dy  f32  [batch, rows]     read
//   3  dx  f32  [batch, cols]     write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the gradients of one batch row and the others take them from it. Four rows
// of the matrix at a time, so that the accumulators are touched once for four products.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over the batch; TILE_X columns and TILE_Y batch rows per invocation.
// Moves    as matmul_f32_dx.
// Does     as matmul_f32_dx.
// Twin     reference::matmul_f32_dx — within the rounding of a sum of `rows` terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 8u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

// Elements i to i + 3. Rows are aligned to vectors where cols is a multiple of 4: then it is one load.
fn four(i: u32) -> vec4<f32> {
    let last = arrayLength(&w) - 1u;
    let low = w[min(i / 4u, last)];
    let shift = i % 4u;
    if shift == 0u { return low; }
    let high = w[min(i / 4u + 1u, last)];
    if shift == 1u { return vec4<f32>(low.yzw, high.x); }
    if shift == 2u { return vec4<f32>(low.zw, high.xy); }
    return vec4<f32>(low.w, high.xyz);
}

// Element [part][i] of the matrix is column 4 part + i.
fn store(b: u32, col: u32, tile: mat4x4<f32>) {
    if b >= p.batch { return; }
    let i = b * p.cols;
    for (var part = 0u; part < 4u; part++) {
        let c = col + 4u * part;
        if c < p.cols { dx[i + c] = tile[part].x; }
        if c + 1u < p.cols { dx[i + c + 1u] = tile[part].y; }
        if c + 2u < p.cols { dx[i + c + 2u] = tile[part].z; }
        if c + 3u < p.cols { dx[i + c + 3u] = tile[part].w; }
    }
}

// One batch row's gradients of four rows of the matrix, times those rows.
fn products(d: vec4<f32>, t0: mat4x4<f32>, t1: mat4x4<f32>, t2: mat4x4<f32>, t3: mat4x4<f32>) -> mat4x4<f32> {
    return d.x * t0 + d.y * t1 + d.z * t2 + d.w * t3;
}

// This invocation's 16 columns of row r. Past the last row their gradient is zero.
fn columns(r: u32, col: u32) -> mat4x4<f32> {
    let i = min(r, p.rows - 1u) * p.cols + col;
    return mat4x4<f32>(four(i), four(i + 4u), four(i + 8u), four(i + 12u));
}

fn gradient(first: u32, r: u32) -> f32 {
    return select(0.0, dy[first + min(r, p.rows - 1u)], r < p.rows);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let col = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let first = min(b + lane % TILE_Y, p.batch - 1u) * p.rows;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    for (var r = 0u; r < p.rows; r += 4u) {
        let t0 = columns(r, col);
        let t1 = columns(r + 1u, col);
        let t2 = columns(r + 2u, col);
        let t3 = columns(r + 3u, col);
        let d = vec4<f32>(gradient(first, r), gradient(first, r + 1u), gradient(first, r + 2u), gradient(first, r + 3u));
        a0 += products(subgroupBroadcast(d, 0u), t0, t1, t2, t3);
        a1 += products(subgroupBroadcast(d, 1u), t0, t1, t2, t3);
        a2 += products(subgroupBroadcast(d, 2u), t0, t1, t2, t3);
        a3 += products(subgroupBroadcast(d, 3u), t0, t1, t2, t3);
        a4 += products(subgroupBroadcast(d, 4u), t0, t1, t2, t3);
        a5 += products(subgroupBroadcast(d, 5u), t0, t1, t2, t3);
        a6 += products(subgroupBroadcast(d, 6u), t0, t1, t2, t3);
        a7 += products(subgroupBroadcast(d, 7u), t0, t1, t2, t3);
    }
    store(b, col, a0);
    store(b + 1u, col, a1);
    store(b + 2u, col, a2);
    store(b + 3u, col, a3);
    store(b + 4u, col, a4);
    store(b + 5u, col, a5);
    store(b + 6u, col, a6);
    store(b + 7u, col, a7);
}
