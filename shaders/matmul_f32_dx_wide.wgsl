// matmul_f32_dx_wide — matmul_f32_dx with a 16 x 16 register tile
//
//   0  p   Params                uniform
//   1  w   f32  [rows, cols]     read
//   2  dy  f32  [batch, rows]    read
//   3  dx  f32  [batch, cols]    write
//
// For adapters where a load costs as much as many operations (software rasterisers): 32 loads feed
// 256 products.
//
// Grid     x over cols, y over the batch; TILE_X columns and TILE_Y batch rows per invocation.
// Moves    as matmul_f32_dx.
// Does     as matmul_f32_dx.
// Twin     reference::matmul_f32_dx — within the rounding of a sum of rows terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 16u;

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

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * TILE_X;
    let b = id.y * TILE_Y;
    if col >= p.cols { return; }
    // What overhangs repeats the last one and is not stored.
    let last = vec4<u32>(p.cols - 1u);
    let c0 = min(vec4<u32>(col, col + 1u, col + 2u, col + 3u), last);
    let c1 = min(vec4<u32>(col + 4u, col + 5u, col + 6u, col + 7u), last);
    let c2 = min(vec4<u32>(col + 8u, col + 9u, col + 10u, col + 11u), last);
    let c3 = min(vec4<u32>(col + 12u, col + 13u, col + 14u, col + 15u), last);
    let last_b = p.batch - 1u;
    let d0 = min(b, last_b) * p.rows;
    let d1 = min(b + 1u, last_b) * p.rows;
    let d2 = min(b + 2u, last_b) * p.rows;
    let d3 = min(b + 3u, last_b) * p.rows;
    let d4 = min(b + 4u, last_b) * p.rows;
    let d5 = min(b + 5u, last_b) * p.rows;
    let d6 = min(b + 6u, last_b) * p.rows;
    let d7 = min(b + 7u, last_b) * p.rows;
    let d8 = min(b + 8u, last_b) * p.rows;
    let d9 = min(b + 9u, last_b) * p.rows;
    let d10 = min(b + 10u, last_b) * p.rows;
    let d11 = min(b + 11u, last_b) * p.rows;
    let d12 = min(b + 12u, last_b) * p.rows;
    let d13 = min(b + 13u, last_b) * p.rows;
    let d14 = min(b + 14u, last_b) * p.rows;
    let d15 = min(b + 15u, last_b) * p.rows;
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
    for (var r = 0u; r < p.rows; r++) {
        let t = mat4x4<f32>(four(c0, r), four(c1, r), four(c2, r), four(c3, r));
        a0 += dy[d0 + r] * t;
        a1 += dy[d1 + r] * t;
        a2 += dy[d2 + r] * t;
        a3 += dy[d3 + r] * t;
        a4 += dy[d4 + r] * t;
        a5 += dy[d5 + r] * t;
        a6 += dy[d6 + r] * t;
        a7 += dy[d7 + r] * t;
        a8 += dy[d8 + r] * t;
        a9 += dy[d9 + r] * t;
        a10 += dy[d10 + r] * t;
        a11 += dy[d11 + r] * t;
        a12 += dy[d12 + r] * t;
        a13 += dy[d13 + r] * t;
        a14 += dy[d14 + r] * t;
        a15 += dy[d15 + r] * t;
    }
    store(b, col, a0);
    store(b + 1u, col, a1);
    store(b + 2u, col, a2);
    store(b + 3u, col, a3);
    store(b + 4u, col, a4);
    store(b + 5u, col, a5);
    store(b + 6u, col, a6);
    store(b + 7u, col, a7);
    store(b + 8u, col, a8);
    store(b + 9u, col, a9);
    store(b + 10u, col, a10);
    store(b + 11u, col, a11);
    store(b + 12u, col, a12);
    store(b + 13u, col, a13);
    store(b + 14u, col, a14);
    store(b + 15u, col, a15);
}
