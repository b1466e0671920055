// matmul_f16_large — matmul_f16 with an 8 x 8 register tile
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// For large products: as matmul_f16, with 8 x 8 outputs per invocation. Four vectors of workgroup memory feed 64
// products.
//
// Grid     x over rows, y over the batch; TILE_X x TILE_Y outputs per invocation, WG x WG_Y invocations per
//          workgroup.
// Moves    as matmul_f16.
// Does     as matmul_f16.
// Twin     reference::matmul_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 8u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> sh_x: array<vec4<f32>, DEPTH * (2u * WG + 1u)>;
var<workgroup> sh_y: array<vec4<f32>, DEPTH * (2u * WG_Y + 1u)>;

// Two terms of four rows that start at words: the lower halves, and the upper ones.
fn lower(words: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x).x, unpack2x16float(words.y).x,
                     unpack2x16float(words.z).x, unpack2x16float(words.w).x);
}

fn upper(words: vec4<u32>) -> vec4<f32> {
    return lower(words >> vec4<u32>(16u));
}

// Word k of four output rows from b on; those past the end repeat the last one and are not stored.
fn along_y(k: u32, b: u32) -> vec4<u32> {
    if k >= 4u * p.vectors { return vec4<u32>(0u); }
    let row = min(vec4<u32>(b, b + 1u, b + 2u, b + 3u), vec4<u32>(p.batch - 1u)) * 4u * p.vectors + k;
    return vec4<u32>(x[row.x], x[row.y], x[row.z], x[row.w]);
}

// Word k of four output columns, rows of w.
fn along_x(k: u32, r: u32) -> vec4<u32> {
    if k >= 4u * p.vectors { return vec4<u32>(0u); }
    let row = min(vec4<u32>(r, r + 1u, r + 2u, r + 3u), vec4<u32>(p.rows - 1u)) * 4u * p.vectors + k;
    return vec4<u32>(w[row.x], w[row.y], w[row.z], w[row.w]);
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
    var left0 = vec4<f32>(0.0);
    var right0 = vec4<f32>(0.0);
    var left1 = vec4<f32>(0.0);
    var right1 = vec4<f32>(0.0);
    var left2 = vec4<f32>(0.0);
    var right2 = vec4<f32>(0.0);
    var left3 = vec4<f32>(0.0);
    var right3 = vec4<f32>(0.0);
    var left4 = vec4<f32>(0.0);
    var right4 = vec4<f32>(0.0);
    var left5 = vec4<f32>(0.0);
    var right5 = vec4<f32>(0.0);
    var left6 = vec4<f32>(0.0);
    var right6 = vec4<f32>(0.0);
    var left7 = vec4<f32>(0.0);
    var right7 = vec4<f32>(0.0);
    for (var slice = 0u; slice < 8u * p.vectors; slice += DEPTH) {
        for (var i = lane; i < DEPTH * WG_Y; i += WG * WG_Y) {
            let k = i % (DEPTH / 2u);
            let four = i / (DEPTH / 2u);
            let words = along_y(slice / 2u + k, block_y + 4u * four);
            sh_y[2u * k * (2u * WG_Y + 1u) + four] = lower(words);
            sh_y[(2u * k + 1u) * (2u * WG_Y + 1u) + four] = upper(words);
        }
        for (var i = lane; i < DEPTH * WG; i += WG * WG_Y) {
            let k = i % (DEPTH / 2u);
            let four = i / (DEPTH / 2u);
            let words = along_x(slice / 2u + k, block_x + 4u * four);
            sh_x[2u * k * (2u * WG + 1u) + four] = lower(words);
            sh_x[(2u * k + 1u) * (2u * WG + 1u) + four] = upper(words);
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let left = sh_x[k * (2u * WG + 1u) + local.x];
            let right = sh_x[k * (2u * WG + 1u) + WG + local.x];
            let low = sh_y[k * (2u * WG_Y + 1u) + local.y];
            let high = sh_y[k * (2u * WG_Y + 1u) + WG_Y + local.y];
            left0 += low.x * left;
            right0 += low.x * right;
            left1 += low.y * left;
            right1 += low.y * right;
            left2 += low.z * left;
            right2 += low.z * right;
            left3 += low.w * left;
            right3 += low.w * right;
            left4 += high.x * left;
            right4 += high.x * right;
            left5 += high.y * left;
            right5 += high.y * right;
            left6 += high.z * left;
            right6 += high.z * right;
            left7 += high.w * left;
            right7 += high.w * right;
        }
        workgroupBarrier();
    }
    // Left and right halves of the block, and its low and high ones: neighbours write neighbouring vectors.
    let out_x = block_x + 4u * local.x;
    let out_y = block_y + 4u * local.y;
    let far_x = out_x + 4u * WG;
    let far_y = out_y + 4u * WG_Y;
    store(out_y, out_x, left0);
    store(out_y, far_x, right0);
    store(out_y + 1u, out_x, left1);
    store(out_y + 1u, far_x, right1);
    store(out_y + 2u, out_x, left2);
    store(out_y + 2u, far_x, right2);
    store(out_y + 3u, out_x, left3);
    store(out_y + 3u, far_x, right3);
    store(far_y, out_x, left4);
    store(far_y, far_x, right4);
    store(far_y + 1u, out_x, left5);
    store(far_y + 1u, far_x, right5);
    store(far_y + 2u, out_x, left6);
    store(far_y + 2u, far_x, right6);
    store(far_y + 3u, out_x, left7);
    store(far_y + 3u, far_x, right7);
}
