// matmul_f32_dw — dw[r, c] = sum_b dy[b, r] x[b, c]
//
//   0  p   Params                 uniform
//   1  dy  f32  [batch, rows]     read
//   2  x   f32  [batch, cols]     read
//   3  dw  f32  [rows, cols]      write
//
// A dense product by the book: a workgroup computes a TILE_X x TILE_Y block of the output, 4 x 4 values per
// invocation, from slices of DEPTH terms that it shares in workgroup memory.
//
// Grid     x over cols, y over rows; one workgroup per block.
// Moves    4 * (batch * rows + batch * cols + rows * cols) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_f32_dw — within the rounding of a sum of batch terms.

const SIDE: u32 = 16u;          // invocations along x and along y
const TILE_X: u32 = 64u;
const TILE_Y: u32 = 64u;
const DEPTH: u32 = 16u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

var<workgroup> sh_y: array<array<f32, TILE_Y>, DEPTH>;
var<workgroup> sh_x: array<array<f32, TILE_X>, DEPTH>;

// Term k of output row row; zero past the end.
fn along_y(k: u32, row: u32) -> f32 {
    if k >= p.batch || row >= p.rows { return 0.0; }
    return dy[k * p.rows + row];
}

// Term k of output column col; zero past the end.
fn along_x(k: u32, col: u32) -> f32 {
    if k >= p.batch || col >= p.cols { return 0.0; }
    return x[k * p.cols + col];
}

fn store(out_y: u32, out_x: u32, value: vec4<f32>) {
    if out_y >= p.rows { return; }
    let i = out_y * p.cols + out_x;
    if out_x < p.cols { dw[i] = value.x; }
    if out_x + 1u < p.cols { dw[i + 1u] = value.y; }
    if out_x + 2u < p.cols { dw[i + 2u] = value.z; }
    if out_x + 3u < p.cols { dw[i + 3u] = value.w; }
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block_x = group.x * TILE_X;
    let block_y = group.y * TILE_Y;
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var slice = 0u; slice < p.batch; slice += DEPTH) {
        // Neighbouring lanes load neighbouring values where rows run along rows and columns.
        for (var i = lane; i < DEPTH * TILE_Y; i += SIDE * SIDE) {
            let k = i / TILE_Y;
            let out_y = i % TILE_Y;
            sh_y[k][out_y] = along_y(slice + k, block_y + out_y);
        }
        for (var i = lane; i < DEPTH * TILE_X; i += SIDE * SIDE) {
            let k = i / TILE_X;
            let out_x = i % TILE_X;
            sh_x[k][out_x] = along_x(slice + k, block_x + out_x);
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let wide = vec4<f32>(sh_x[k][4u * local.x], sh_x[k][4u * local.x + 1u],
                                 sh_x[k][4u * local.x + 2u], sh_x[k][4u * local.x + 3u]);
            a0 += sh_y[k][4u * local.y] * wide;
            a1 += sh_y[k][4u * local.y + 1u] * wide;
            a2 += sh_y[k][4u * local.y + 2u] * wide;
            a3 += sh_y[k][4u * local.y + 3u] * wide;
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
