// matmul_f16_wide — matmul_f16 with an 8 x 16 register tile
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// For adapters where a load costs as much as many operations and that have no subgroups of 8 (software rasterisers):
// 24 loads of eight feed 1024 products.
//
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

// Eight columns of a batch row; a row past the batch repeats its last one.
fn eight(b: u32, k: u32) -> vec4<u32> {
    return x[min(b, p.batch - 1u) * p.vectors + k];
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
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.vectors;
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
        let b0 = array<vec4<u32>, 4>(eight(b + 0u, k), eight(b + 1u, k), eight(b + 2u, k), eight(b + 3u, k));
        let b1 = array<vec4<u32>, 4>(eight(b + 4u, k), eight(b + 5u, k), eight(b + 6u, k), eight(b + 7u, k));
        let b2 = array<vec4<u32>, 4>(eight(b + 8u, k), eight(b + 9u, k), eight(b + 10u, k), eight(b + 11u, k));
        let b3 = array<vec4<u32>, 4>(eight(b + 12u, k), eight(b + 13u, k), eight(b + 14u, k), eight(b + 15u, k));
        let low_0 = transpose(mat4x4<f32>(low_halfs(b0[0]), low_halfs(b0[1]), low_halfs(b0[2]), low_halfs(b0[3])));
        let low_1 = transpose(mat4x4<f32>(low_halfs(b1[0]), low_halfs(b1[1]), low_halfs(b1[2]), low_halfs(b1[3])));
        let low_2 = transpose(mat4x4<f32>(low_halfs(b2[0]), low_halfs(b2[1]), low_halfs(b2[2]), low_halfs(b2[3])));
        let low_3 = transpose(mat4x4<f32>(low_halfs(b3[0]), low_halfs(b3[1]), low_halfs(b3[2]), low_halfs(b3[3])));
        let high_0 = transpose(mat4x4<f32>(high_halfs(b0[0]), high_halfs(b0[1]), high_halfs(b0[2]), high_halfs(b0[3])));
        let high_1 = transpose(mat4x4<f32>(high_halfs(b1[0]), high_halfs(b1[1]), high_halfs(b1[2]), high_halfs(b1[3])));
        let high_2 = transpose(mat4x4<f32>(high_halfs(b2[0]), high_halfs(b2[1]), high_halfs(b2[2]), high_halfs(b2[3])));
        let high_3 = transpose(mat4x4<f32>(high_halfs(b3[0]), high_halfs(b3[1]), high_halfs(b3[2]), high_halfs(b3[3])));
        let low0 = mat4x4<f32>(low_0[0], low_1[0], low_2[0], low_3[0]);
        let low1 = mat4x4<f32>(low_0[1], low_1[1], low_2[1], low_3[1]);
        let low2 = mat4x4<f32>(low_0[2], low_1[2], low_2[2], low_3[2]);
        let low3 = mat4x4<f32>(low_0[3], low_1[3], low_2[3], low_3[3]);
        let high0 = mat4x4<f32>(high_0[0], high_1[0], high_2[0], high_3[0]);
        let high1 = mat4x4<f32>(high_0[1], high_1[1], high_2[1], high_3[1]);
        let high2 = mat4x4<f32>(high_0[2], high_1[2], high_2[2], high_3[2]);
        let high3 = mat4x4<f32>(high_0[3], high_1[3], high_2[3], high_3[3]);
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
