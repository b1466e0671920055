// matmul_f32_dw_subgroup — matmul_f32_dw with a 16 x 8 register tile and shared loads
//
//   0  p   Params                 uniform
//   1  dy  f32  [batch, rows]     read
//   2  x   f32  [batch, cols]     read
//   3  dw  f32  [rows, cols]      write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the gradient of one row and the others take it from it.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over rows; TILE_X columns and TILE_Y rows per invocation.
// Moves    as matmul_f32_dw.
// Does     as matmul_f32_dw.
// Twin     reference::matmul_f32_dw — within the rounding of a sum of `batch` terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 8u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

// Elements i to i + 3. Rows are aligned to vectors where cols is a multiple of 4: then it is one load.
fn four(i: u32) -> vec4<f32> {
    let last = arrayLength(&x) - 1u;
    let low = x[min(i / 4u, last)];
    let shift = i % 4u;
    if shift == 0u { return low; }
    let high = x[min(i / 4u + 1u, last)];
    if shift == 1u { return vec4<f32>(low.yzw, high.x); }
    if shift == 2u { return vec4<f32>(low.zw, high.xy); }
    return vec4<f32>(low.w, high.xyz);
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
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let col = id.x * TILE_X;
    let row = id.y * TILE_Y;
    let mine = min(row + lane % TILE_Y, p.rows - 1u);
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    for (var b = 0u; b < p.batch; b++) {
        let i = b * p.cols + col;
        let values = mat4x4<f32>(four(i), four(i + 4u), four(i + 8u), four(i + 12u));
        let d = dy[b * p.rows + mine];
        a0 += subgroupBroadcast(d, 0u) * values;
        a1 += subgroupBroadcast(d, 1u) * values;
        a2 += subgroupBroadcast(d, 2u) * values;
        a3 += subgroupBroadcast(d, 3u) * values;
        a4 += subgroupBroadcast(d, 4u) * values;
        a5 += subgroupBroadcast(d, 5u) * values;
        a6 += subgroupBroadcast(d, 6u) * values;
        a7 += subgroupBroadcast(d, 7u) * values;
    }
    store(row, col, a0);
    store(row + 1u, col, a1);
    store(row + 2u, col, a2);
    store(row + 3u, col, a3);
    store(row + 4u, col, a4);
    store(row + 5u, col, a5);
    store(row + 6u, col, a6);
    store(row + 7u, col, a7);
}
