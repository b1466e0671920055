// gemv_f16_native — gemv_f16_subgroup by WGSL's own type
//
//   0  p  Params                    uniform
//   1  x  f16  [1, 8 * vectors]     read    zero past the last column
//   2  w  f16  [rows, 8 * vectors]  read    zero past the last column
//   3  y  f32  [1, rows]            write
//
// WGSL loads at most four halfs at once, eight bytes, where the others load sixteen and unpack: whether a driver
// makes one load of two is to be measured.
//
// Needs    f16 and subgroups of at least 4.
// Grid     one workgroup per TILE_Y rows.
// Moves    as gemv_f16.
// Does     as gemv_f16.
// Twin     reference::gemv_f16 — within the rounding of a sum of cols terms.

enable f16;

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f16>>;
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
    let w0 = 2u * row * p.vectors;
    let w1 = 2u * min(row + 1u, last) * p.vectors;
    let w2 = 2u * min(row + 2u, last) * p.vectors;
    let w3 = 2u * min(row + 3u, last) * p.vectors;
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    for (var k = lane; k < p.vectors; k += WG) {
        let low = vec4<f32>(x[2u * k]);
        let high = vec4<f32>(x[2u * k + 1u]);
        a0 += vec4<f32>(w[w0 + 2u * k]) * low + vec4<f32>(w[w0 + 2u * k + 1u]) * high;
        a1 += vec4<f32>(w[w1 + 2u * k]) * low + vec4<f32>(w[w1 + 2u * k + 1u]) * high;
        a2 += vec4<f32>(w[w2 + 2u * k]) * low + vec4<f32>(w[w2 + 2u * k + 1u]) * high;
        a3 += vec4<f32>(w[w3 + 2u * k]) * low + vec4<f32>(w[w3 + 2u * k + 1u]) * high;
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
