// gemv_bitplane_broadcast — gemv_bitplane with a row per invocation and shared activations
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    bit planes of the matrix
//   2  x    u32  [1, 4 * vectors]     read    bit planes of the activations
//   3  acc  i32  [1, rows]            write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8
// lanes loads 64 activations and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     a row per invocation.
// Moves    as gemv_bitplane.
// Does     as gemv_bitplane.
// Twin     reference::gemv_bitplane — equal.

override WG: u32 = 8u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = group_index(group, groups) * WG + lane;
    let w0 = min(row, p.rows - 1u) * p.vectors;
    let mine = subgroup_lane & 7u;
    let shared_vectors = p.vectors & ~7u;
    var a = 0;
    for (var k = 0u; k < shared_vectors; k += 8u) {
        let trits = x[k + mine];
        let v = w0 + k;
        a += dot64(w[v], subgroupBroadcast(trits, 0u));
        a += dot64(w[v + 1u], subgroupBroadcast(trits, 1u));
        a += dot64(w[v + 2u], subgroupBroadcast(trits, 2u));
        a += dot64(w[v + 3u], subgroupBroadcast(trits, 3u));
        a += dot64(w[v + 4u], subgroupBroadcast(trits, 4u));
        a += dot64(w[v + 5u], subgroupBroadcast(trits, 5u));
        a += dot64(w[v + 6u], subgroupBroadcast(trits, 6u));
        a += dot64(w[v + 7u], subgroupBroadcast(trits, 7u));
    }
    for (var k = shared_vectors; k < p.vectors; k++) { a += dot64(w[w0 + k], x[k]); }
    if row < p.rows { acc[row] = a; }
}
