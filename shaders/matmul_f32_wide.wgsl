// matmul_f32_wide — matmul_f32 with a 16 x 16 register tile
//
//   0  p  Params                uniform
//   1  x  f32  [batch, cols]    read
//   2  w  f32  [rows, cols]     read
//   3  y  f32  [batch, rows]    write
//
// For adapters where a load costs as much as many operations (software rasterisers): 32 loads feed
// 256 products.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_f32.
// Does     as matmul_f32.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Term k of four rows of the matrix, which begin at `start`.
fn four(start: vec4<u32>, k: u32) -> vec4<f32> {
    return vec4<f32>(w[start.x + k], w[start.y + k], w[start.z + k], w[start.w + k]);
}

// Element [part][i] of the matrix is row 4 part + i.
fn store(b: u32, row: u32, tile: mat4x4<f32>) {
    if b >= p.batch { return; }
    let i = b * p.rows;
    for (var part = 0u; part < 4u; part++) {
        let c = row + 4u * part;
        if c < p.rows { y[i + c] = tile[part].x; }
        if c + 1u < p.rows { y[i + c + 1u] = tile[part].y; }
        if c + 2u < p.rows { y[i + c + 2u] = tile[part].z; }
        if c + 3u < p.rows { y[i + c + 3u] = tile[part].w; }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    if row >= p.rows { return; }
    // What overhangs repeats the last one and is not stored.
    let last = vec4<u32>(p.rows - 1u);
    let w0 = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), last) * p.cols;
    let w1 = min(vec4<u32>(row + 4u, row + 5u, row + 6u, row + 7u), last) * p.cols;
    let w2 = min(vec4<u32>(row + 8u, row + 9u, row + 10u, row + 11u), last) * p.cols;
    let w3 = min(vec4<u32>(row + 12u, row + 13u, row + 14u, row + 15u), last) * p.cols;
    let last_b = p.batch - 1u;
    let x0 = min(b, last_b) * p.cols;
    let x1 = min(b + 1u, last_b) * p.cols;
    let x2 = min(b + 2u, last_b) * p.cols;
    let x3 = min(b + 3u, last_b) * p.cols;
    let x4 = min(b + 4u, last_b) * p.cols;
    let x5 = min(b + 5u, last_b) * p.cols;
    let x6 = min(b + 6u, last_b) * p.cols;
    let x7 = min(b + 7u, last_b) * p.cols;
    let x8 = min(b + 8u, last_b) * p.cols;
    let x9 = min(b + 9u, last_b) * p.cols;
    let x10 = min(b + 10u, last_b) * p.cols;
    let x11 = min(b + 11u, last_b) * p.cols;
    let x12 = min(b + 12u, last_b) * p.cols;
    let x13 = min(b + 13u, last_b) * p.cols;
    let x14 = min(b + 14u, last_b) * p.cols;
    let x15 = min(b + 15u, last_b) * p.cols;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    var a8 = mat4x4<f32>();
    var a9 = mat4x4<f32>();
    var a10 = mat4x4<f32>();
    var a11 = mat4x4<f32>();
    var a12 = mat4x4<f32>();
    var a13 = mat4x4<f32>();
    var a14 = mat4x4<f32>();
    var a15 = mat4x4<f32>();
    for (var k = 0u; k < p.cols; k++) {
        let t = mat4x4<f32>(four(w0, k), four(w1, k), four(w2, k), four(w3, k));
        a0 += x[x0 + k] * t;
        a1 += x[x1 + k] * t;
        a2 += x[x2 + k] * t;
        a3 += x[x3 + k] * t;
        a4 += x[x4 + k] * t;
        a5 += x[x5 + k] * t;
        a6 += x[x6 + k] * t;
        a7 += x[x7 + k] * t;
        a8 += x[x8 + k] * t;
        a9 += x[x9 + k] * t;
        a10 += x[x10 + k] * t;
        a11 += x[x11 + k] * t;
        a12 += x[x12 + k] * t;
        a13 += x[x13 + k] * t;
        a14 += x[x14 + k] * t;
        a15 += x[x15 + k] * t;
    }
    store(b, row, a0);
    store(b + 1u, row, a1);
    store(b + 2u, row, a2);
    store(b + 3u, row, a3);
    store(b + 4u, row, a4);
    store(b + 5u, row, a5);
    store(b + 6u, row, a6);
    store(b + 7u, row, a7);
    store(b + 8u, row, a8);
    store(b + 9u, row, a9);
    store(b + 10u, row, a10);
    store(b + 11u, row, a11);
    store(b + 12u, row, a12);
    store(b + 13u, row, a13);
    store(b + 14u, row, a14);
    store(b + 15u, row, a15);
}
