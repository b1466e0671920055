// matmul_f32 — y[b, r] = sum_k x[b, k] W[r, k]
//
//   0  p   Params                 uniform
//   1  x   f32  [batch, cols]     read
//   2  w   f32  [rows, cols]      read
//   3  y   f32  [batch, rows]     write
//
// A workgroup computes 4 WG x 4 WG_Y outputs from slices of DEPTH terms in workgroup memory: two vectors of
// it feed 16 products. A row there is one vector longer than it need be, so that lanes which fill it meet
// different banks.
//
// Grid     x over rows, y over the batch; TILE_X x TILE_Y outputs per invocation, WG x WG_Y invocations
//          per workgroup.
// Moves    4 * (batch * cols + rows * cols + batch * rows) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 16u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> sh_x: array<vec4<f32>, DEPTH * (WG + 1u)>;
var<workgroup> sh_y: array<vec4<f32>, DEPTH * (WG_Y + 1u)>;

// Term k of four output rows from b on, four of x: those past the end repeat the last one and are not stored.
fn along_y(k: u32, b: u32) -> vec4<f32> {
    if k >= p.cols { return vec4<f32>(0.0); }
    let row = min(vec4<u32>(b, b + 1u, b + 2u, b + 3u), vec4<u32>(p.batch - 1u)) * p.cols + k;
    return vec4<f32>(x[row.x], x[row.y], x[row.z], x[row.w]);
}

// Term k of four output columns, rows of w.
fn along_x(k: u32, r: u32) -> vec4<f32> {
    if k >= p.cols { return vec4<f32>(0.0); }
    let row = min(vec4<u32>(r, r + 1u, r + 2u, r + 3u), vec4<u32>(p.rows - 1u)) * p.cols + k;
    return vec4<f32>(w[row.x], w[row.y], w[row.z], w[row.w]);
}

fn store(out_y: u32, out_x: u32, value: vec4<f32>) {
    if out_y >= p.batch { return; }
    let i = out_y * p.rows + out_x;
    if out_x < p.rows { y[i] = value.x; }
    if out_x + 1u < p.rows { y[i + 1u] = value.y; }
    if out_x + 2u < p.rows { y[i + 2u] = value.z; }
    if out_x + 3u < p.rows { y[i + 3u] = value.w; }
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
    for (var slice = 0u; slice < p.cols; slice += DEPTH) {
        for (var i = lane; i < DEPTH * WG_Y; i += WG * WG_Y) {
            let k = i % DEPTH;
            let four = i / DEPTH;
            sh_y[k * (WG_Y + 1u) + four] = along_y(slice + k, block_y + 4u * four);
        }
        for (var i = lane; i < DEPTH * WG; i += WG * WG_Y) {
            let k = i % DEPTH;
            let four = i / DEPTH;
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
