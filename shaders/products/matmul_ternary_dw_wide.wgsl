// matmul_ternary_dw_wide — matmul_ternary_dw with a 16 x 8 register tile
//
//   0  p     Params                      uniform
//   1  dy    f32  [batch, rows]          read
//   2  step  f32  [batch]                read    real value of one int8 step
//   3  q     u32  [batch, 4 * words]     read    int8, four a word
//   4  dw    f32  [rows, cols]           write
//
// For adapters where a load costs as much as many operations (software rasterisers): 16 activations
// unpacked once serve 8 rows.
//
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
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * TILE_X;
    let row = id.y * TILE_Y;
    if col >= p.cols { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let r1 = min(row + 1u, last);
    let r2 = min(row + 2u, last);
    let r3 = min(row + 3u, last);
    let r4 = min(row + 4u, last);
    let r5 = min(row + 5u, last);
    let r6 = min(row + 6u, last);
    let r7 = min(row + 7u, last);
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    for (var b = 0u; b < p.batch; b++) {
        let four = q[b * p.words + id.x];
        let x = mat4x4<f32>(
            vec4<f32>(unpack4xI8(four.x)), vec4<f32>(unpack4xI8(four.y)),
            vec4<f32>(unpack4xI8(four.z)), vec4<f32>(unpack4xI8(four.w)));
        let s = step[b];
        let d = b * p.rows;
        a0 += (s * dy[d + row]) * x;
        a1 += (s * dy[d + r1]) * x;
        a2 += (s * dy[d + r2]) * x;
        a3 += (s * dy[d + r3]) * x;
        a4 += (s * dy[d + r4]) * x;
        a5 += (s * dy[d + r5]) * x;
        a6 += (s * dy[d + r6]) * x;
        a7 += (s * dy[d + r7]) * x;
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
