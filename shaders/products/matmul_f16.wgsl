// matmul_f16 — y[b, r] = sum_k x[b, k] W[r, k], both stored as f16
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// What is stored in half precision is summed in single: a product of two f16 is exact as f32.
//
// A workgroup computes 4 WG x 4 WG_Y outputs from slices of DEPTH terms, an even number, in workgroup memory: two vectors of
// it feed 16 products. A row there is one vector longer than it need be, so that lanes which fill it meet
// different banks.
//
// Grid     x over rows, y over the batch; TILE_X x TILE_Y outputs per invocation, WG x WG_Y invocations
//          per workgroup.
// Moves    4 * (4 * batch * vectors + 4 * rows * vectors + batch * rows) bytes.
// Does     16 * batch * rows * vectors operations.
// Twin     reference::matmul_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 16u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> sh_x: array<vec4<f32>, DEPTH * (WG + 1u)>;
var<workgroup> sh_y: array<vec4<f32>, DEPTH * (WG_Y + 1u)>;

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
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var slice = 0u; slice < 8u * p.vectors; slice += DEPTH) {
        for (var i = lane; i < DEPTH / 2u * WG_Y; i += WG * WG_Y) {
            let k = i % (DEPTH / 2u);
            let four = i / (DEPTH / 2u);
            let words = along_y(slice / 2u + k, block_y + 4u * four);
            sh_y[2u * k * (WG_Y + 1u) + four] = lower(words);
            sh_y[(2u * k + 1u) * (WG_Y + 1u) + four] = upper(words);
        }
        for (var i = lane; i < DEPTH / 2u * WG; i += WG * WG_Y) {
            let k = i % (DEPTH / 2u);
            let four = i / (DEPTH / 2u);
            let words = along_x(slice / 2u + k, block_x + 4u * four);
            sh_x[2u * k * (WG + 1u) + four] = lower(words);
            sh_x[(2u * k + 1u) * (WG + 1u) + four] = upper(words);
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
