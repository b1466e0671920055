// matmul_f32_subgroup — matmul_f32 with an 8 x 8 register tile and shared loads
//
//   0  p   Params                 uniform
//   1  x   f32  [batch, cols]     read
//   2  w   f32  [rows, cols]      read
//   3  y   f32  [batch, rows]     write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe):
// each of 8 lanes loads four inputs of one batch row and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_f32.
// Does     as matmul_f32.
// Twin     reference::matmul_f32 — within the rounding of a sum of `cols` terms.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 8u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four inputs of four batch rows, as they were loaded.
struct Four { x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32> }

fn shifted(low: vec4<f32>, high: vec4<f32>, shift: u32) -> vec4<f32> {
    if shift == 1u { return vec4<f32>(low.yzw, high.x); }
    if shift == 2u { return vec4<f32>(low.zw, high.xy); }
    return vec4<f32>(low.w, high.xyz);
}

// Elements i to i + 3. Rows are aligned to vectors where cols is a multiple of 4: then it is one load.
fn weights(i: u32) -> vec4<f32> {
    if i % 4u == 0u { return w[i / 4u]; }
    return shifted(w[i / 4u], w[min(i / 4u + 1u, arrayLength(&w) - 1u)], i % 4u);
}

fn inputs(i: u32) -> vec4<f32> {
    if i % 4u == 0u { return x[i / 4u]; }
    return shifted(x[i / 4u], x[min(i / 4u + 1u, arrayLength(&x) - 1u)], i % 4u);
}

fn dots(v: vec4<f32>, x: Four) -> vec4<f32> {
    return vec4<f32>(dot(v, x.x0), dot(v, x.x1), dot(v, x.x2), dot(v, x.x3));
}

fn store_four(b: u32, row: u32, value: vec4<f32>) {
    if row >= p.rows { return; }
    if b < p.batch { y[b * p.rows + row] = value.x; }
    if b + 1u < p.batch { y[(b + 1u) * p.rows + row] = value.y; }
    if b + 2u < p.batch { y[(b + 2u) * p.rows + row] = value.z; }
    if b + 3u < p.batch { y[(b + 3u) * p.rows + row] = value.w; }
}

fn store(b: u32, row: u32, low: vec4<f32>, high: vec4<f32>) {
    store_four(b, row, low);
    store_four(b + 4u, row, high);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let mine = min(b + lane % TILE_Y, p.batch - 1u) * p.cols;
    let last = p.rows - 1u;
    let w0 = min(row, last) * p.cols;
    let w1 = min(row + 1u, last) * p.cols;
    let w2 = min(row + 2u, last) * p.cols;
    let w3 = min(row + 3u, last) * p.cols;
    let w4 = min(row + 4u, last) * p.cols;
    let w5 = min(row + 5u, last) * p.cols;
    let w6 = min(row + 6u, last) * p.cols;
    let w7 = min(row + 7u, last) * p.cols;
    var low0 = vec4<f32>(0.0);
    var high0 = vec4<f32>(0.0);
    var low1 = vec4<f32>(0.0);
    var high1 = vec4<f32>(0.0);
    var low2 = vec4<f32>(0.0);
    var high2 = vec4<f32>(0.0);
    var low3 = vec4<f32>(0.0);
    var high3 = vec4<f32>(0.0);
    var low4 = vec4<f32>(0.0);
    var high4 = vec4<f32>(0.0);
    var low5 = vec4<f32>(0.0);
    var high5 = vec4<f32>(0.0);
    var low6 = vec4<f32>(0.0);
    var high6 = vec4<f32>(0.0);
    var low7 = vec4<f32>(0.0);
    var high7 = vec4<f32>(0.0);
    for (var k = 0u; k < p.cols; k += 4u) {
        // Past the last column the inputs are zero; the weights read there are those of the next row.
        let inside = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(p.cols);
        let four = select(vec4<f32>(0.0), inputs(mine + k), inside);
        let low = Four(subgroupBroadcast(four, 0u), subgroupBroadcast(four, 1u), subgroupBroadcast(four, 2u), subgroupBroadcast(four, 3u));
        let high = Four(subgroupBroadcast(four, 4u), subgroupBroadcast(four, 5u), subgroupBroadcast(four, 6u), subgroupBroadcast(four, 7u));
        let v0 = weights(w0 + k);
        low0 += dots(v0, low);
        high0 += dots(v0, high);
        let v1 = weights(w1 + k);
        low1 += dots(v1, low);
        high1 += dots(v1, high);
        let v2 = weights(w2 + k);
        low2 += dots(v2, low);
        high2 += dots(v2, high);
        let v3 = weights(w3 + k);
        low3 += dots(v3, low);
        high3 += dots(v3, high);
        let v4 = weights(w4 + k);
        low4 += dots(v4, low);
        high4 += dots(v4, high);
        let v5 = weights(w5 + k);
        low5 += dots(v5, low);
        high5 += dots(v5, high);
        let v6 = weights(w6 + k);
        low6 += dots(v6, low);
        high6 += dots(v6, high);
        let v7 = weights(w7 + k);
        low7 += dots(v7, low);
        high7 += dots(v7, high);
    }
    store(b, row, low0, high0);
    store(b, row + 1u, low1, high1);
    store(b, row + 2u, low2, high2);
    store(b, row + 3u, low3, high3);
    store(b, row + 4u, low4, high4);
    store(b, row + 5u, low5, high5);
    store(b, row + 6u, low6, high6);
    store(b, row + 7u, low7, high7);
}
