// head_broadcast — rows of an embedding times one row of activations, which eight lanes load for each other
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe).
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation and row of x. Neighbours share the rows of e.

override WG: u32 = 8u;
const TILE_X: u32 = 2u;

// Thirty-two activations.
struct Eight {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

fn shared_by_lanes(x: vec4<f32>) -> Eight {
    return Eight(
        subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u), subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u),
        subgroupBroadcast(x, 4u), subgroupBroadcast(x, 5u), subgroupBroadcast(x, 6u), subgroupBroadcast(x, 7u));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let index = group_index(group, groups);
    let batch = index % p.batch;
    let row = (index / p.batch * WG + lane) * TILE_X;
    let rows = min(vec2<u32>(row, row + 1u), vec2<u32>(p.rows - 1u)) * p.steps;
    let mine = subgroup_lane & 7u;
    let vectors = p.steps * VECTORS;
    let whole = vectors & ~7u;
    var low = vec4<f32>(0.0);
    var high = vec4<f32>(0.0);
    for (var i = 0u; i < whole; i += 8u) {
        let x = shared_by_lanes(x[batch * vectors + i + mine]);
        low += terms(rows.x + i / VECTORS, x);
        high += terms(rows.y + i / VECTORS, x);
    }
    for (var k = whole / VECTORS; k < p.steps; k++) {
        let x = activations(batch * p.steps + k);
        low += term(rows.x + k, x);
        high += term(rows.y + k, x);
    }
    let one = vec4<f32>(1.0);
    let out = batch * p.classes + p.first + row;
    if row < p.rows { y[out] = factor(row) * dot(low, one); }
    if row + 1u < p.rows { y[out + 1u] = factor(row + 1u) * dot(high, one); }
}
