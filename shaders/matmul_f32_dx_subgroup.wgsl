// matmul_f32_dx_subgroup — matmul_f32_dx with an 8 x 32 register tile and shared loads
//
//   0  p   Params                uniform
//   1  w   f32  [rows, cols]     read
//   2  dy  f32  [batch, rows]    read
//   3  dx  f32  [batch, cols]    write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the gradients of four batch rows and the others take them from it, so
// that 12 loads feed 256 products.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over the batch; TILE_X columns and TILE_Y batch rows per invocation.
// Moves    as matmul_f32_dx.
// Does     as matmul_f32_dx.
// Twin     reference::matmul_f32_dx — within the rounding of a sum of rows terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 32u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

// Four columns of row r of the matrix.
fn four(c: vec4<u32>, r: u32) -> vec4<f32> {
    let first = r * p.cols;
    return vec4<f32>(w[first + c.x], w[first + c.y], w[first + c.z], w[first + c.w]);
}

// The products of four batch rows with four columns; element [i] belongs to the i-th of the former.
fn products(d: vec4<f32>, t: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(d.x * t, d.y * t, d.z * t, d.w * t);
}

fn store_four(b: u32, col: u32, value: vec4<f32>) {
    let i = b * p.cols + col;
    if col < p.cols { dx[i] = value.x; }
    if col + 1u < p.cols { dx[i + 1u] = value.y; }
    if col + 2u < p.cols { dx[i + 2u] = value.z; }
    if col + 3u < p.cols { dx[i + 3u] = value.w; }
}

fn store(b: u32, col: u32, low: mat4x4<f32>, high: mat4x4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if b + i >= p.batch { return; }
        store_four(b + i, col, low[i]);
        store_four(b + i, col + 4u, high[i]);
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads. What overhangs repeats the last one
    // and is not stored.
    let col = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let last = vec4<u32>(p.cols - 1u);
    let c0 = min(vec4<u32>(col, col + 1u, col + 2u, col + 3u), last);
    let c1 = min(vec4<u32>(col + 4u, col + 5u, col + 6u, col + 7u), last);
    let first = b + 4u * (lane % 8u);
    let mine = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(p.batch - 1u)) * p.rows;
    var low0 = mat4x4<f32>();
    var high0 = mat4x4<f32>();
    var low1 = mat4x4<f32>();
    var high1 = mat4x4<f32>();
    var low2 = mat4x4<f32>();
    var high2 = mat4x4<f32>();
    var low3 = mat4x4<f32>();
    var high3 = mat4x4<f32>();
    var low4 = mat4x4<f32>();
    var high4 = mat4x4<f32>();
    var low5 = mat4x4<f32>();
    var high5 = mat4x4<f32>();
    var low6 = mat4x4<f32>();
    var high6 = mat4x4<f32>();
    var low7 = mat4x4<f32>();
    var high7 = mat4x4<f32>();
    for (var r = 0u; r < p.rows; r++) {
        let low = four(c0, r);
        let high = four(c1, r);
        let d = vec4<f32>(dy[mine.x + r], dy[mine.y + r], dy[mine.z + r], dy[mine.w + r]);
        let d0 = subgroupBroadcast(d, 0u);
        low0 += products(d0, low);
        high0 += products(d0, high);
        let d1 = subgroupBroadcast(d, 1u);
        low1 += products(d1, low);
        high1 += products(d1, high);
        let d2 = subgroupBroadcast(d, 2u);
        low2 += products(d2, low);
        high2 += products(d2, high);
        let d3 = subgroupBroadcast(d, 3u);
        low3 += products(d3, low);
        high3 += products(d3, high);
        let d4 = subgroupBroadcast(d, 4u);
        low4 += products(d4, low);
        high4 += products(d4, high);
        let d5 = subgroupBroadcast(d, 5u);
        low5 += products(d5, low);
        high5 += products(d5, high);
        let d6 = subgroupBroadcast(d, 6u);
        low6 += products(d6, low);
        high6 += products(d6, high);
        let d7 = subgroupBroadcast(d, 7u);
        low7 += products(d7, low);
        high7 += products(d7, high);
    }
    store(b, col, low0, high0);
    store(b + 4u, col, low1, high1);
    store(b + 8u, col, low2, high2);
    store(b + 12u, col, low3, high3);
    store(b + 16u, col, low4, high4);
    store(b + 20u, col, low5, high5);
    store(b + 24u, col, low6, high6);
    store(b + 28u, col, low7, high7);
}
