// matmul_ternary_dw_subgroup — matmul_ternary_dw with a 16 x 8 register tile and shared loads
//
//   0  p     Params                      uniform
//   1  dy    f32  [batch, rows]          read
//   2  step  f32  [batch]                read    real value of one int8 step
//   3  q     u32  [batch, 4 * words]     read    int8, four a word
//   4  dw    f32  [rows, cols]           write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads the gradient of one row and the others take it from it.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over rows; TILE_X columns (four words of q) and TILE_Y rows per
//          invocation.
// Moves    as matmul_ternary_dw.
// Does     as matmul_ternary_dw.
// Twin     reference::matmul_ternary_dw — within the rounding of a sum of `batch` terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 8u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;

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
    let column = min(id.x, p.words - 1u);
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
        let four = q[b * p.words + column];
        let x = mat4x4<f32>(
            vec4<f32>(unpack4xI8(four.x)), vec4<f32>(unpack4xI8(four.y)),
            vec4<f32>(unpack4xI8(four.z)), vec4<f32>(unpack4xI8(four.w)));
        let d = step[b] * dy[b * p.rows + mine];
        a0 += subgroupBroadcast(d, 0u) * x;
        a1 += subgroupBroadcast(d, 1u) * x;
        a2 += subgroupBroadcast(d, 2u) * x;
        a3 += subgroupBroadcast(d, 3u) * x;
        a4 += subgroupBroadcast(d, 4u) * x;
        a5 += subgroupBroadcast(d, 5u) * x;
        a6 += subgroupBroadcast(d, 6u) * x;
        a7 += subgroupBroadcast(d, 7u) * x;
    }
    let col = id.x * TILE_X;
    store(row, col, a0);
    store(row + 1u, col, a1);
    store(row + 2u, col, a2);
    store(row + 3u, col, a3);
    store(row + 4u, col, a4);
    store(row + 5u, col, a5);
    store(row + 6u, col, a6);
    store(row + 7u, col, a7);
}
