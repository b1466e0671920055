// gemv_f32_wide — gemv_f32 with 4 rows per invocation
//
//   0  p  Params               uniform
//   1  x  f32  [1, cols]       read
//   2  w  f32  [rows, cols]    read
//   3  y  f32  [1, rows]       write
//
// For software rasterisers without subgroups: 4 activations serve 4 rows, and no lane waits for another.
//
// Grid     TILE_X rows per invocation.
// Moves    as gemv_f32.
// Does     as gemv_f32.
// Twin     reference::gemv_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// A single weight of a row that does not start at a vector.
fn weight_at(i: u32) -> f32 {
    return w[i >> 2u][i & 3u];
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
    let w0 = row * p.cols;
    let w1 = min(row + 1u, last) * p.cols;
    let w2 = min(row + 2u, last) * p.cols;
    let w3 = min(row + 3u, last) * p.cols;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.cols >> 2u, (p.cols & 3u) == 0u);
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var k = 0u; k < vectors; k++) {
        let four = x[k];
        a0 += w[(w0 >> 2u) + k] * four;
        a1 += w[(w1 >> 2u) + k] * four;
        a2 += w[(w2 >> 2u) + k] * four;
        a3 += w[(w3 >> 2u) + k] * four;
    }
    let one = vec4<f32>(1.0);
    var a = vec4<f32>(dot(a0, one), dot(a1, one), dot(a2, one), dot(a3, one));
    for (var k = 4u * vectors; k < p.cols; k++) {
        let one = x[k >> 2u][k & 3u];
        a += one * vec4<f32>(weight_at(w0 + k), weight_at(w1 + k), weight_at(w2 + k), weight_at(w3 + k));
    }
    y[row] = a.x;
    if row + 1u < p.rows { y[row + 1u] = a.y; }
    if row + 2u < p.rows { y[row + 2u] = a.z; }
    if row + 3u < p.rows { y[row + 3u] = a.w; }
}
