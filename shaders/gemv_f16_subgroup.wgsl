// gemv_f16_subgroup — gemv_f16 whose lanes meet in subgroups
//
//   0  p  Params                    uniform
//   1  x  u32  [1, 4 * vectors]     read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]  read    f16, two a word, zero past the last column
//   3  y  f32  [1, rows]            write
//
// The lanes of a workgroup walk along TILE_Y rows together: neighbours read neighbouring vectors, and
// eight activations in registers serve every row. A product of two f16 is exact as f32, and so are the sums.
//
// Needs    subgroups of at least 4.
// Grid     one workgroup per TILE_Y rows.
// Moves    as gemv_f16.
// Does     as gemv_f16.
// Twin     reference::gemv_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> sh: array<vec4<f32>, WG / 4u>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let row = group_index(group, groups) * TILE_Y;
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
    for (var k = lane; k < p.vectors; k += WG) {
        let v0 = w[w0 + k];
        let v1 = w[w1 + k];
        let v2 = w[w2 + k];
        let v3 = w[w3 + k];
        let eight = x[k];
        let low = low_halfs(eight);
        let high = high_halfs(eight);
        a0 += low_halfs(v0) * low + high_halfs(v0) * high;
        a1 += low_halfs(v1) * low + high_halfs(v1) * high;
        a2 += low_halfs(v2) * low + high_halfs(v2) * high;
        a3 += low_halfs(v3) * low + high_halfs(v3) * high;
    }
    let one = vec4<f32>(1.0);
    // Of whatever size the subgroups are, each leaves its sum, and one lane a row adds those.
    let part = subgroupAdd(vec4<f32>(dot(a0, one), dot(a1, one), dot(a2, one), dot(a3, one)));
    if subgroup_lane == 0u { sh[subgroup] = part; }
    workgroupBarrier();
    if lane >= TILE_Y || row + lane >= p.rows { return; }
    var total = sh[0][lane];
    for (var i = 1u; i < subgroups; i++) { total += sh[i][lane]; }
    y[row + lane] = total;
}
