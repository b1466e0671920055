// matmul_ternary_dx — dx[b, c] = beta sum_r dy[b, r] T[r, c]
//
//   0  p     Params                  uniform
//   1  w     u32  [rows, words]      read    packed trits
//   2  beta  f32  [1]                read
//   3  dy    f32  [batch, rows]      read
//   4  dx    f32  [batch, cols]      write
//
// The input gradient of the straight-through estimator reads the packed weights: no transposed copy. A
// workgroup computes 4 WG x 4 WG_Y outputs from slices of DEPTH matrix rows in workgroup memory, trits unpacked
// once for all of its batch: two vectors of it feed 16 products. A row there is one vector longer than it
// need be, so that lanes which fill it meet different banks.
//
// Grid     x over cols, y over the batch; TILE_X columns (one plane of a word) and TILE_Y batch
//          rows per invocation, WG x WG_Y invocations per workgroup, WG a multiple of 4.
// Moves    4 * (rows * words + 1 + batch * (rows + cols)) bytes.
// Does     2 * batch * rows * cols operations (one add, one multiply by a trit).
// Twin     reference::matmul_ternary_dx — within the rounding of a sum of `rows` terms.
// Source   straight-through estimator, arXiv 1308.3432; BitNet, arXiv 2310.11453, section 2.2.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 16u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

var<workgroup> sh_x: array<vec4<f32>, DEPTH * (WG + 1u)>;
var<workgroup> sh_y: array<vec4<f32>, DEPTH * (WG_Y + 1u)>;

// Term k of four output rows from b on: those past the end repeat the last one and are not stored.
fn along_y(k: u32, b: u32) -> vec4<f32> {
    if k >= p.rows { return vec4<f32>(0.0); }
    let row = min(vec4<u32>(b, b + 1u, b + 2u, b + 3u), vec4<u32>(p.batch - 1u)) * p.rows + k;
    return vec4<f32>(dy[row.x], dy[row.y], dy[row.z], dy[row.w]);
}

// Term k of four output columns, a plane of a word; words past the end repeat the last one.
fn along_x(k: u32, col: u32) -> vec4<f32> {
    if k >= p.rows { return vec4<f32>(0.0); }
    return trits(w[k * p.words + min(col / 16u, p.words - 1u)], col / 4u % 4u);
}

fn store(out_y: u32, out_x: u32, value: vec4<f32>) {
    if out_y >= p.batch { return; }
    let i = out_y * p.cols + out_x;
    if out_x < p.cols { dx[i] = value.x; }
    if out_x + 1u < p.cols { dx[i + 1u] = value.y; }
    if out_x + 2u < p.cols { dx[i + 2u] = value.z; }
    if out_x + 3u < p.cols { dx[i + 3u] = value.w; }
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
    for (var slice = 0u; slice < p.rows; slice += DEPTH) {
        for (var i = lane; i < DEPTH * WG_Y; i += WG * WG_Y) {
            let k = i % DEPTH;
            let four = i / DEPTH;
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
    store(out_y, out_x, beta[0] * a0);
    store(out_y + 1u, out_x, beta[0] * a1);
    store(out_y + 2u, out_x, beta[0] * a2);
    store(out_y + 3u, out_x, beta[0] * a3);
}
