// matmul_ternary_dx_wide — matmul_ternary_dx with a 16 x 8 register tile
//
//   0  p     Params                  uniform
//   1  w     u32  [rows, words]      read    packed trits
//   2  beta  f32  [1]                read
//   3  dy    f32  [batch, rows]      read
//   4  dx    f32  [batch, cols]      write
//
// For adapters where a load costs as much as many operations (software rasterisers): one word
// unpacked once, 16 trits, serves 8 batch rows.
//
// Grid     x over cols, y over the batch; TILE_X columns (one word) and TILE_Y batch rows per
//          invocation.
// Moves    as matmul_ternary_dx.
// Does     as matmul_ternary_dx.
// Twin     reference::matmul_ternary_dx — within the rounding of a sum of `rows` terms.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 8u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

// The matrix holds four columns of 4 trits: element [plane][i] is column 4 plane + i.
fn store(b: u32, col: u32, tile: mat4x4<f32>) {
    if b >= p.batch { return; }
    let i = b * p.cols;
    let scaled = beta[0] * tile;
    for (var part = 0u; part < 4u; part++) {
        let c = col + 4u * part;
        if c < p.cols { dx[i + c] = scaled[part].x; }
        if c + 1u < p.cols { dx[i + c + 1u] = scaled[part].y; }
        if c + 2u < p.cols { dx[i + c + 2u] = scaled[part].z; }
        if c + 3u < p.cols { dx[i + c + 3u] = scaled[part].w; }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * TILE_X;
    let b = id.y * TILE_Y;
    if col >= p.cols { return; }
    // Rows past the batch repeat its last one and are not stored.
    let last = p.batch - 1u;
    let d0 = b * p.rows;
    let d1 = min(b + 1u, last) * p.rows;
    let d2 = min(b + 2u, last) * p.rows;
    let d3 = min(b + 3u, last) * p.rows;
    let d4 = min(b + 4u, last) * p.rows;
    let d5 = min(b + 5u, last) * p.rows;
    let d6 = min(b + 6u, last) * p.rows;
    let d7 = min(b + 7u, last) * p.rows;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    for (var r = 0u; r < p.rows; r++) {
        let word = w[r * p.words + id.x];
        let t = mat4x4<f32>(trits(word, 0u), trits(word, 1u), trits(word, 2u), trits(word, 3u));
        a0 += dy[d0 + r] * t;
        a1 += dy[d1 + r] * t;
        a2 += dy[d2 + r] * t;
        a3 += dy[d3 + r] * t;
        a4 += dy[d4 + r] * t;
        a5 += dy[d5 + r] * t;
        a6 += dy[d6 + r] * t;
        a7 += dy[d7 + r] * t;
    }
    store(b, col, a0);
    store(b + 1u, col, a1);
    store(b + 2u, col, a2);
    store(b + 3u, col, a3);
    store(b + 4u, col, a4);
    store(b + 5u, col, a5);
    store(b + 6u, col, a6);
    store(b + 7u, col, a7);
}
