// matmul_f32_dw_wide — matmul_f32_dw with a 16 x 16 register tile
//
//   0  p   Params                uniform
//   1  dy  f32  [batch, rows]    read
//   2  x   f32  [batch, cols]    read
//   3  dw  f32  [rows, cols]     write
//
// For adapters where a load costs as much as many operations (software rasterisers): 32 loads feed
// 256 products.
//
// Grid     x over cols, y over rows; TILE_X columns and TILE_Y rows per invocation.
// Moves    as matmul_f32_dw.
// Does     as matmul_f32_dw.
// Twin     reference::matmul_f32_dw — within the rounding of a sum of batch terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

// Four columns of batch row b.
fn four(c: vec4<u32>, b: u32) -> vec4<f32> {
    let first = b * p.cols;
    return vec4<f32>(x[first + c.x], x[first + c.y], x[first + c.z], x[first + c.w]);
}

// Element [part][i] of the matrix is column 4 part + i.
fn store(row: u32, col: u32, tile: mat4x4<f32>) {
    if row >= p.rows { return; }
    let i = row * p.cols;
    for (var part = 0u; part < 4u; part++) {
        let c = col + 4u * part;
        if c < p.cols { dw[i + c] = tile[part].x; }
        if c + 1u < p.cols { dw[i + c + 1u] = tile[part].y; }
        if c + 2u < p.cols { dw[i + c + 2u] = tile[part].z; }
        if c + 3u < p.cols { dw[i + c + 3u] = tile[part].w; }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * TILE_X;
    let row = id.y * TILE_Y;
    if col >= p.cols { return; }
    // What overhangs repeats the last one and is not stored.
    let last = vec4<u32>(p.cols - 1u);
    let c0 = min(vec4<u32>(col, col + 1u, col + 2u, col + 3u), last);
    let c1 = min(vec4<u32>(col + 4u, col + 5u, col + 6u, col + 7u), last);
    let c2 = min(vec4<u32>(col + 8u, col + 9u, col + 10u, col + 11u), last);
    let c3 = min(vec4<u32>(col + 12u, col + 13u, col + 14u, col + 15u), last);
    let last_row = p.rows - 1u;
    let d0 = min(row, last_row);
    let d1 = min(row + 1u, last_row);
    let d2 = min(row + 2u, last_row);
    let d3 = min(row + 3u, last_row);
    let d4 = min(row + 4u, last_row);
    let d5 = min(row + 5u, last_row);
    let d6 = min(row + 6u, last_row);
    let d7 = min(row + 7u, last_row);
    let d8 = min(row + 8u, last_row);
    let d9 = min(row + 9u, last_row);
    let d10 = min(row + 10u, last_row);
    let d11 = min(row + 11u, last_row);
    let d12 = min(row + 12u, last_row);
    let d13 = min(row + 13u, last_row);
    let d14 = min(row + 14u, last_row);
    let d15 = min(row + 15u, last_row);
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
    for (var b = 0u; b < p.batch; b++) {
        let t = mat4x4<f32>(four(c0, b), four(c1, b), four(c2, b), four(c3, b));
        let d = b * p.rows;
        a0 += dy[d + d0] * t;
        a1 += dy[d + d1] * t;
        a2 += dy[d + d2] * t;
        a3 += dy[d + d3] * t;
        a4 += dy[d + d4] * t;
        a5 += dy[d + d5] * t;
        a6 += dy[d + d6] * t;
        a7 += dy[d + d7] * t;
        a8 += dy[d + d8] * t;
        a9 += dy[d + d9] * t;
        a10 += dy[d + d10] * t;
        a11 += dy[d + d11] * t;
        a12 += dy[d + d12] * t;
        a13 += dy[d + d13] * t;
        a14 += dy[d + d14] * t;
        a15 += dy[d + d15] * t;
    }
    store(row, col, a0);
    store(row + 1u, col, a1);
    store(row + 2u, col, a2);
    store(row + 3u, col, a3);
    store(row + 4u, col, a4);
    store(row + 5u, col, a5);
    store(row + 6u, col, a6);
    store(row + 7u, col, a7);
    store(row + 8u, col, a8);
    store(row + 9u, col, a9);
    store(row + 10u, col, a10);
    store(row + 11u, col, a11);
    store(row + 12u, col, a12);
    store(row + 13u, col, a13);
    store(row + 14u, col, a14);
    store(row + 15u, col, a15);
}
