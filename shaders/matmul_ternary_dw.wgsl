// matmul_ternary_dw — dw[r, c] = sum_b dy[b, r] step[b] q[b, c]
//
//   0  p     Params                      uniform
//   1  dy    f32  [batch, rows]          read
//   2  step  f32  [batch]                read    real value of one int8 step
//   3  q     u32  [batch, 4 * words]     read    int8, four a word
//   4  dw    f32  [rows, cols]           write
//
// The weight gradient of the straight-through estimator: of the float shadow weights, through the
// quantised activations that the forward pass used.
//
// Grid     x over cols, y over rows; TILE_X columns (one word of q) and TILE_Y rows per invocation.
// Moves    4 * (batch * (rows + 1 + 4 * words) + rows * cols) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_ternary_dw — within the rounding of a sum of `batch` terms.
// Source   straight-through estimator, arXiv 1308.3432; BitNet, arXiv 2310.11453, section 2.2.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> q: array<u32>;
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;

fn store(row: u32, col: u32, value: vec4<f32>) {
    if row >= p.rows { return; }
    let i = row * p.cols + col;
    dw[i] = value.x;
    if col + 1u < p.cols { dw[i + 1u] = value.y; }
    if col + 2u < p.cols { dw[i + 2u] = value.z; }
    if col + 3u < p.cols { dw[i + 3u] = value.w; }
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
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var b = 0u; b < p.batch; b++) {
        let x = vec4<f32>(unpack4xI8(q[b * 4u * p.words + id.x]));
        let s = step[b];
        let d = b * p.rows;
        a0 += (s * dy[d + row]) * x;
        a1 += (s * dy[d + r1]) * x;
        a2 += (s * dy[d + r2]) * x;
        a3 += (s * dy[d + r3]) * x;
    }
    store(row, col, a0);
    store(row + 1u, col, a1);
    store(row + 2u, col, a2);
    store(row + 3u, col, a3);
}
