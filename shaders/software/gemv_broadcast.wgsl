// gemv_broadcast — rows of a matrix times one row of activations, which eight lanes load for each other
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe).
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation.

override WG: u32 = 8u;
const TILE_X: u32 = 2u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = (group_index(group, groups) * WG + lane) * TILE_X;
    let rows = min(vec2<u32>(row, row + 1u), vec2<u32>(p.rows - 1u)) * row_length();
    let mine = subgroup_lane & 7u;
    let shared_steps = broadcasts() & ~7u;
    var a = Two();
    for (var k = 0u; k < shared_steps; k += 8u) { a = eight(a, rows, k, share(k + mine)); }
    let sums = finish(a, rows, shared_steps);
    if row < p.rows { store(row, sums.x); }
    if row + 1u < p.rows { store(row + 1u, sums.y); }
}
