// matmul_ternary_dw — dw[r, c] = sum_b dy[b, r] step[b] q[b, c]
//
//   0  p     Params                      uniform
//   1  dy    f32  [batch, rows]          read
//   2  step  f32  [batch]                read    real value of one int8 step
//   3  q     u32  [batch, 4 * words]     read    int8, four a word
//   4  dw    f32  [rows, cols]           write
//
// The weight gradient of the straight-through estimator: of the float shadow weights, through the
// quantised activations that the forward pass used. A workgroup computes 4 WG x 4 WG_Y outputs from slices of
// DEPTH batch rows in workgroup memory, scaled and unpacked once: two vectors of it feed 16 products. Every
// output is the sum of one invocation, in the order of the batch: no atomics, the same bits in every run.
//
// Grid     x over cols, y over rows; TILE_X columns (one word of q) and TILE_Y rows per invocation,
//          WG x WG_Y invocations per workgroup.
// Moves    4 * (batch * (rows + 1 + 4 * words) + rows * cols) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_ternary_dw — within the rounding of a sum of `batch` terms.
// Source   straight-through estimator, arXiv 1308.3432; BitNet, arXiv 2310.11453, section 2.2.

override WG: u32 = 8u;
override WG_Y: u32 = 8u;
override DEPTH: u32 = 32u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> q: array<u32>;
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;

var<workgroup> sh_x: array<vec4<f32>, DEPTH * (WG + 1u)>;
var<workgroup> sh_y: array<vec4<f32>, DEPTH * (WG_Y + 1u)>;

// Term k of four output rows from r on: those past the end repeat the last one and are not stored.
fn along_y(k: u32, r: u32) -> vec4<f32> {
    if k >= p.batch { return vec4<f32>(0.0); }
    let at = k * p.rows + min(vec4<u32>(r, r + 1u, r + 2u, r + 3u), vec4<u32>(p.rows - 1u));
    return step[k] * vec4<f32>(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
}

// Term k of four output columns, a word; words past the end repeat the last one.
fn along_x(k: u32, col: u32) -> vec4<f32> {
    if k >= p.batch { return vec4<f32>(0.0); }
    return vec4<f32>(unpack4xI8(q[k * 4u * p.words + min(col / 4u, 4u * p.words - 1u)]));
}

fn store(out_y: u32, out_x: u32, value: vec4<f32>) {
    if out_y >= p.rows { return; }
    let i = out_y * p.cols + out_x;
    if out_x < p.cols { dw[i] = value.x; }
    if out_x + 1u < p.cols { dw[i + 1u] = value.y; }
    if out_x + 2u < p.cols { dw[i + 2u] = value.z; }
    if out_x + 3u < p.cols { dw[i + 3u] = value.w; }
}

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block_x = group.x * TILE_X * WG;
    let block_y = group.y * TILE_Y * WG_Y;
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var slice = 0u; slice < p.batch; slice += DEPTH) {
        for (var i = lane; i < DEPTH * WG_Y; i += WG * WG_Y) {
            let k = i / WG_Y;
            let four = i % WG_Y;
            sh_y[k * (WG_Y + 1u) + four] = along_y(slice + k, block_y + 4u * four);
        }
        for (var i = lane; i < DEPTH * WG; i += WG * WG_Y) {
            let k = i / WG;
            let four = i % WG;
            sh_x[k * (WG + 1u) + four] = along_x(slice + k, block_x + 4u * four);
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let wide = sh_x[k * (WG + 1u) + local.x];
            let tall = sh_y[k * (WG_Y + 1u) + local.y];
            a0 += tall.x * wide;
            a1 += tall.y * wide;
            a2 += tall.z * wide;
            a3 += tall.w * wide;
        }
        workgroupBarrier();
    }
    let out_x = block_x + 4u * local.x;
    let out_y = block_y + 4u * local.y;
    store(out_y, out_x, a0);
    store(out_y + 1u, out_x, a1);
    store(out_y + 2u, out_x, a2);
    store(out_y + 3u, out_x, a3);
}
