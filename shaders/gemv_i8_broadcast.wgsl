// gemv_i8_broadcast — gemv_i8 with 2 rows per invocation and shared activations
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    int8, four a word, zero past the last column
//   2  q    u32  [1, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [1, rows]            write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8
// lanes loads 16 activations and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation.
// Moves    as gemv_i8.
// Does     as gemv_i8.
// Twin     reference::gemv_i8 — equal.

override WG: u32 = 8u;
const TILE_X: u32 = 2u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

fn dot16(v: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(v.x, x.x) + dot4I8Packed(v.y, x.y) + dot4I8Packed(v.z, x.z) + dot4I8Packed(v.w, x.w);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = (group_index(group, groups) * WG + lane) * TILE_X;
    let last = p.rows - 1u;
    let w0 = min(row, last) * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let mine = subgroup_lane & 7u;
    let shared_vectors = p.vectors & ~7u;
    var a0 = 0;
    var a1 = 0;
    for (var k = 0u; k < shared_vectors; k += 8u) {
        let sixteen = q[k + mine];
        let x0 = subgroupBroadcast(sixteen, 0u);
        a0 += dot16(w[w0 + k], x0);
        a1 += dot16(w[w1 + k], x0);
        let x1 = subgroupBroadcast(sixteen, 1u);
        a0 += dot16(w[w0 + k + 1u], x1);
        a1 += dot16(w[w1 + k + 1u], x1);
        let x2 = subgroupBroadcast(sixteen, 2u);
        a0 += dot16(w[w0 + k + 2u], x2);
        a1 += dot16(w[w1 + k + 2u], x2);
        let x3 = subgroupBroadcast(sixteen, 3u);
        a0 += dot16(w[w0 + k + 3u], x3);
        a1 += dot16(w[w1 + k + 3u], x3);
        let x4 = subgroupBroadcast(sixteen, 4u);
        a0 += dot16(w[w0 + k + 4u], x4);
        a1 += dot16(w[w1 + k + 4u], x4);
        let x5 = subgroupBroadcast(sixteen, 5u);
        a0 += dot16(w[w0 + k + 5u], x5);
        a1 += dot16(w[w1 + k + 5u], x5);
        let x6 = subgroupBroadcast(sixteen, 6u);
        a0 += dot16(w[w0 + k + 6u], x6);
        a1 += dot16(w[w1 + k + 6u], x6);
        let x7 = subgroupBroadcast(sixteen, 7u);
        a0 += dot16(w[w0 + k + 7u], x7);
        a1 += dot16(w[w1 + k + 7u], x7);
    }
    for (var k = shared_vectors; k < p.vectors; k++) {
        a0 += dot16(w[w0 + k], q[k]);
        a1 += dot16(w[w1 + k], q[k]);
    }
    if row < p.rows { acc[row] = a0; }
    if row + 1u < p.rows { acc[row + 1u] = a1; }
}
