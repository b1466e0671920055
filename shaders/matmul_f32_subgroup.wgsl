// matmul_f32_subgroup — matmul_f32 with an 8 x 32 register tile and shared loads
//
//   0  p  Params                uniform
//   1  x  f32  [batch, cols]    read
//   2  w  f32  [rows, cols]     read
//   3  y  f32  [batch, rows]    write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the activations of four batch rows and the others take them from it, so
// that 12 loads feed 256 products.
//
// Needs    subgroups of at least 8.
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_f32.
// Does     as matmul_f32.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 32u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Term k of four rows of the matrix, which begin at `start`.
fn four(start: vec4<u32>, k: u32) -> vec4<f32> {
    return vec4<f32>(w[start.x + k], w[start.y + k], w[start.z + k], w[start.w + k]);
}

// The products of four batch rows with four rows; element [i] belongs to the i-th of the former.
fn products(x: vec4<f32>, t: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * t, x.y * t, x.z * t, x.w * t);
}

fn store_four(b: u32, row: u32, value: vec4<f32>) {
    let i = b * p.rows + row;
    if row < p.rows { y[i] = value.x; }
    if row + 1u < p.rows { y[i + 1u] = value.y; }
    if row + 2u < p.rows { y[i + 2u] = value.z; }
    if row + 3u < p.rows { y[i + 3u] = value.w; }
}

fn store(b: u32, row: u32, low: mat4x4<f32>, high: mat4x4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if b + i >= p.batch { return; }
        store_four(b + i, row, low[i]);
        store_four(b + i, row + 4u, high[i]);
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads. What overhangs repeats the last one
    // and is not stored.
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let last = vec4<u32>(p.rows - 1u);
    let w0 = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), last) * p.cols;
    let w1 = min(vec4<u32>(row + 4u, row + 5u, row + 6u, row + 7u), last) * p.cols;
    let first = b + 4u * (lane % 8u);
    let mine = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(p.batch - 1u)) * p.cols;
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
    for (var k = 0u; k < p.cols; k++) {
        let low = four(w0, k);
        let high = four(w1, k);
        let loaded = vec4<f32>(x[mine.x + k], x[mine.y + k], x[mine.z + k], x[mine.w + k]);
        let x0 = subgroupBroadcast(loaded, 0u);
        low0 += products(x0, low);
        high0 += products(x0, high);
        let x1 = subgroupBroadcast(loaded, 1u);
        low1 += products(x1, low);
        high1 += products(x1, high);
        let x2 = subgroupBroadcast(loaded, 2u);
        low2 += products(x2, low);
        high2 += products(x2, high);
        let x3 = subgroupBroadcast(loaded, 3u);
        low3 += products(x3, low);
        high3 += products(x3, high);
        let x4 = subgroupBroadcast(loaded, 4u);
        low4 += products(x4, low);
        high4 += products(x4, high);
        let x5 = subgroupBroadcast(loaded, 5u);
        low5 += products(x5, low);
        high5 += products(x5, high);
        let x6 = subgroupBroadcast(loaded, 6u);
        low6 += products(x6, low);
        high6 += products(x6, high);
        let x7 = subgroupBroadcast(loaded, 7u);
        low7 += products(x7, low);
        high7 += products(x7, high);
    }
    store(b, row, low0, high0);
    store(b + 4u, row, low1, high1);
    store(b + 8u, row, low2, high2);
    store(b + 12u, row, low3, high3);
    store(b + 16u, row, low4, high4);
    store(b + 20u, row, low5, high5);
    store(b + 24u, row, low6, high6);
    store(b + 28u, row, low7, high7);
}
