// matmul_ternary_dx — dx[b, c] = beta sum_r dy[b, r] T[r, c]
//
//   0  p     Params                  uniform
//   1  w     u32  [rows, words]      read    packed trits
//   2  beta  f32  [1]                read
//   3  dy    f32  [batch, rows]      read
//   4  dx    f32  [batch, cols]      write
//
// The input gradient of the straight-through estimator reads the packed weights: no transposed copy.
//
// Grid     x over cols, y over the batch; TILE_X columns (one plane of a word) and TILE_Y batch
//          rows per invocation.
// Moves    4 * (rows * words + 1 + batch * (rows + cols)) bytes.
// Does     2 * batch * rows * cols operations (one add, one multiply by a trit).
// Twin     reference::matmul_ternary_dx — within the rounding of a sum of `rows` terms.
// Source   straight-through estimator, arXiv 1308.3432; BitNet, arXiv 2310.11453, section 2.2.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

fn store(b: u32, col: u32, value: vec4<f32>) {
    if b >= p.batch { return; }
    let i = b * p.cols + col;
    let scaled = beta[0] * value;
    dx[i] = scaled.x;
    if col + 1u < p.cols { dx[i + 1u] = scaled.y; }
    if col + 2u < p.cols { dx[i + 2u] = scaled.z; }
    if col + 3u < p.cols { dx[i + 3u] = scaled.w; }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * TILE_X;
    let b = id.y * TILE_Y;
    if col >= p.cols { return; }
    let word = id.x / 4u;
    let part = id.x % 4u;
    // Rows past the batch repeat its last one and are not stored.
    let last = p.batch - 1u;
    let d0 = b * p.rows;
    let d1 = min(b + 1u, last) * p.rows;
    let d2 = min(b + 2u, last) * p.rows;
    let d3 = min(b + 3u, last) * p.rows;
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var r = 0u; r < p.rows; r++) {
        let t = trits(w[r * p.words + word], part);
        a0 += dy[d0 + r] * t;
        a1 += dy[d1 + r] * t;
        a2 += dy[d2 + r] * t;
        a3 += dy[d3 + r] * t;
    }
    store(b, col, a0);
    store(b + 1u, col, a1);
    store(b + 2u, col, a2);
    store(b + 3u, col, a3);
}
