// matmul_f32_wide — matmul_f32 with an 8 x 16 register tile
//
//   0  p   Params                 uniform
//   1  x   f32  [batch, cols]     read
//   2  w   f32  [rows, cols]      read
//   3  y   f32  [batch, rows]     write
//
// For adapters where a load costs as much as many operations (software rasterisers):
// 24 loads of four feed 512 products.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_f32.
// Does     as matmul_f32.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four terms of each sum at once, so that the accumulators are touched once for four products; in order.
fn plus(a: mat4x4<f32>, v: vec4<f32>, m0: mat4x4<f32>, m1: mat4x4<f32>, m2: mat4x4<f32>, m3: mat4x4<f32>) -> mat4x4<f32> {
    return a + v.x * m0 + v.y * m1 + v.z * m2 + v.w * m3;
}

fn x_at(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
}

fn w_at(i: u32) -> f32 {
    return w[i / 4u][i % 4u];
}

// Four columns of four batch rows, [term][row]; rows past the batch repeat its last one.
fn four(b: u32, k: u32) -> mat4x4<f32> {
    let last = p.batch - 1u;
    return transpose(mat4x4<f32>(
        x[(min(b, last) * p.cols + k) / 4u],
        x[(min(b + 1u, last) * p.cols + k) / 4u],
        x[(min(b + 2u, last) * p.cols + k) / 4u],
        x[(min(b + 3u, last) * p.cols + k) / 4u]));
}

// One of them.
fn one(b: u32, k: u32) -> vec4<f32> {
    let last = p.batch - 1u;
    return vec4<f32>(
        x_at(min(b, last) * p.cols + k),
        x_at(min(b + 1u, last) * p.cols + k),
        x_at(min(b + 2u, last) * p.cols + k),
        x_at(min(b + 3u, last) * p.cols + k));
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
    let w0 = row * p.cols;
    let w1 = min(row + 1u, last) * p.cols;
    let w2 = min(row + 2u, last) * p.cols;
    let w3 = min(row + 3u, last) * p.cols;
    let w4 = min(row + 4u, last) * p.cols;
    let w5 = min(row + 5u, last) * p.cols;
    let w6 = min(row + 6u, last) * p.cols;
    let w7 = min(row + 7u, last) * p.cols;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    // Loads of four need rows that start at multiples of four; other rows go one by one.
    let whole = select(0u, p.cols, p.cols % 4u == 0u);
    for (var k = 0u; k < whole; k += 4u) {
        let b0 = four(b, k);
        let b1 = four(b + 4u, k);
        let b2 = four(b + 8u, k);
        let b3 = four(b + 12u, k);
        let x0 = mat4x4<f32>(b0[0], b1[0], b2[0], b3[0]);
        let x1 = mat4x4<f32>(b0[1], b1[1], b2[1], b3[1]);
        let x2 = mat4x4<f32>(b0[2], b1[2], b2[2], b3[2]);
        let x3 = mat4x4<f32>(b0[3], b1[3], b2[3], b3[3]);
        a0 = plus(a0, w[(w0 + k) / 4u], x0, x1, x2, x3);
        a1 = plus(a1, w[(w1 + k) / 4u], x0, x1, x2, x3);
        a2 = plus(a2, w[(w2 + k) / 4u], x0, x1, x2, x3);
        a3 = plus(a3, w[(w3 + k) / 4u], x0, x1, x2, x3);
        a4 = plus(a4, w[(w4 + k) / 4u], x0, x1, x2, x3);
        a5 = plus(a5, w[(w5 + k) / 4u], x0, x1, x2, x3);
        a6 = plus(a6, w[(w6 + k) / 4u], x0, x1, x2, x3);
        a7 = plus(a7, w[(w7 + k) / 4u], x0, x1, x2, x3);
    }
    for (var k = whole; k < p.cols; k++) {
        let x0 = mat4x4<f32>(one(b, k), one(b + 4u, k), one(b + 8u, k), one(b + 12u, k));
        a0 += w_at(w0 + k) * x0;
        a1 += w_at(w1 + k) * x0;
        a2 += w_at(w2 + k) * x0;
        a3 += w_at(w3 + k) * x0;
        a4 += w_at(w4 + k) * x0;
        a5 += w_at(w5 + k) * x0;
        a6 += w_at(w6 + k) * x0;
        a7 += w_at(w7 + k) * x0;
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
