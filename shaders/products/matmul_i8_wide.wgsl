// matmul_i8_wide — matmul_i8 with a 4 x 4 register tile
//
//   0  p    Params                        uniform
//   1  w    u32  [rows, 4 * vectors]      read    int8, four a word, zero past the last column
//   2  q    u32  [batch, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [batch, rows]            write
//
// For adapters where a load costs as much as many operations and that have no subgroups of 8 (software rasterisers):
// 8 loads feed 16 dot products of 16.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.
// Moves    as matmul_i8.
// Does     as matmul_i8.
// Twin     reference::matmul_i8 — equal.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

// Four weights against four activation rows, as four accumulators.
fn dots(four: u32, x: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot4I8Packed(four, x.x), dot4I8Packed(four, x.y),
                     dot4I8Packed(four, x.z), dot4I8Packed(four, x.w));
}

fn dots16(v: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>) -> vec4<i32> {
    return dots(v.x, vec4<u32>(x0.x, x1.x, x2.x, x3.x))
        + dots(v.y, vec4<u32>(x0.y, x1.y, x2.y, x3.y))
        + dots(v.z, vec4<u32>(x0.z, x1.z, x2.z, x3.z))
        + dots(v.w, vec4<u32>(x0.w, x1.w, x2.w, x3.w));
}

fn store(b: u32, row: u32, value: vec4<i32>) {
    if row >= p.rows { return; }
    if b < p.batch { acc[b * p.rows + row] = value.x; }
    if b + 1u < p.batch { acc[(b + 1u) * p.rows + row] = value.y; }
    if b + 2u < p.batch { acc[(b + 2u) * p.rows + row] = value.z; }
    if b + 3u < p.batch { acc[(b + 3u) * p.rows + row] = value.w; }
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last_row = p.rows - 1u;
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last_row) * p.vectors;
    let w2 = min(row + 2u, last_row) * p.vectors;
    let w3 = min(row + 3u, last_row) * p.vectors;
    let last = p.batch - 1u;
    let q0 = b * p.vectors;
    let q1 = min(b + 1u, last) * p.vectors;
    let q2 = min(b + 2u, last) * p.vectors;
    let q3 = min(b + 3u, last) * p.vectors;
    var a0 = vec4<i32>(0);
    var a1 = vec4<i32>(0);
    var a2 = vec4<i32>(0);
    var a3 = vec4<i32>(0);
    for (var k = 0u; k < p.vectors; k++) {
        let x0 = q[q0 + k];
        let x1 = q[q1 + k];
        let x2 = q[q2 + k];
        let x3 = q[q3 + k];
        a0 += dots16(w[w0 + k], x0, x1, x2, x3);
        a1 += dots16(w[w1 + k], x0, x1, x2, x3);
        a2 += dots16(w[w2 + k], x0, x1, x2, x3);
        a3 += dots16(w[w3 + k], x0, x1, x2, x3);
    }
    store(b, row, a0);
    store(b, row + 1u, a1);
    store(b, row + 2u, a2);
    store(b, row + 3u, a3);
}
