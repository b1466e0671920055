// gemv_base3_subgroup — gemv_base3 whose lanes meet in subgroups
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    base-3 trits, eighty a vector
//   2  q    u32  [1, 4 * words]       read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                  read    sum of q
//   4  acc  i32  [1, rows]            write
//
// Decoded as in gemv_base3. The lanes of a workgroup walk along TILE_Y rows together: neighbours read neighbouring
// vectors, and 80 activations in registers serve every row.
//
// Needs    subgroups of at least 4.
// Grid     one workgroup per TILE_Y rows.
// Moves    as gemv_base3.
// Does     as gemv_base3.
// Twin     reference::gemv_base3 — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec4<i32>, WG / 4u>;

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
    var a = vec4<i32>(0);
    for (var k = lane; k < p.vectors; k += WG) {
        let x0 = activations(5u * k);
        let x1 = activations(5u * k + 1u);
        let x2 = activations(5u * k + 2u);
        let x3 = activations(5u * k + 3u);
        let x4 = activations(5u * k + 4u);
        a += vec4<i32>(dot80(w[w0 + k], x0, x1, x2, x3, x4), dot80(w[w1 + k], x0, x1, x2, x3, x4),
                       dot80(w[w2 + k], x0, x1, x2, x3, x4), dot80(w[w3 + k], x0, x1, x2, x3, x4));
    }
    // Of whatever size the subgroups are, each leaves its sum, and one lane a row adds those.
    let part = subgroupAdd(a);
    if subgroup_lane == 0u { sh[subgroup] = part; }
    workgroupBarrier();
    if lane >= TILE_Y || row + lane >= p.rows { return; }
    var total = sh[0][lane];
    for (var i = 1u; i < subgroups; i++) { total += sh[i][lane]; }
    acc[row + lane] = total - sum[0];
}
