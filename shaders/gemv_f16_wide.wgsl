// gemv_f16_wide — gemv_f16 with 4 rows per invocation
//
//   0  p  Params                    uniform
//   1  x  u32  [1, 4 * vectors]     read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]  read    f16, two a word, zero past the last column
//   3  y  f32  [1, rows]            write
//
// For software rasterisers without subgroups: 8 activations, unpacked once, serve 4 rows, and no lane waits for
// another.
//
// Grid     TILE_X rows per invocation.
// Moves    as gemv_f16.
// Does     as gemv_f16.
// Twin     reference::gemv_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Eight terms, four and four.
fn terms(v: vec4<u32>, low: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
    return low_halfs(v) * low + high_halfs(v) * high;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group_index(group, groups) * WG + lane) * TILE_X;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var k = 0u; k < p.vectors; k++) {
        let low = low_halfs(x[k]);
        let high = high_halfs(x[k]);
        a0 += terms(w[w0 + k], low, high);
        a1 += terms(w[w1 + k], low, high);
        a2 += terms(w[w2 + k], low, high);
        a3 += terms(w[w3 + k], low, high);
    }
    let one = vec4<f32>(1.0);
    let a = vec4<f32>(dot(a0, one), dot(a1, one), dot(a2, one), dot(a3, one));
    y[row] = a.x;
    if row + 1u < p.rows { y[row + 1u] = a.y; }
    if row + 2u < p.rows { y[row + 2u] = a.z; }
    if row + 3u < p.rows { y[row + 3u] = a.w; }
}
