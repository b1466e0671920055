// gemv_f16_broadcast — gemv_f16 with a row per invocation and shared activations
//
//   0  p  Params                    uniform
//   1  x  u32  [1, 4 * vectors]     read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]  read    f16, two a word, zero past the last column
//   3  y  f32  [1, rows]            write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8
// lanes loads 8 activations and unpacks them, and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     a row per invocation.
// Moves    as gemv_f16.
// Does     as gemv_f16.
// Twin     reference::gemv_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;

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
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = group_index(group, groups) * WG + lane;
    let w0 = min(row, p.rows - 1u) * p.vectors;
    let mine = subgroup_lane & 7u;
    let shared_vectors = p.vectors & ~7u;
    var a = vec4<f32>(0.0);
    for (var k = 0u; k < shared_vectors; k += 8u) {
        let eight = x[k + mine];
        let low = low_halfs(eight);
        let high = high_halfs(eight);
        let v = w0 + k;
        a += terms(w[v], subgroupBroadcast(low, 0u), subgroupBroadcast(high, 0u));
        a += terms(w[v + 1u], subgroupBroadcast(low, 1u), subgroupBroadcast(high, 1u));
        a += terms(w[v + 2u], subgroupBroadcast(low, 2u), subgroupBroadcast(high, 2u));
        a += terms(w[v + 3u], subgroupBroadcast(low, 3u), subgroupBroadcast(high, 3u));
        a += terms(w[v + 4u], subgroupBroadcast(low, 4u), subgroupBroadcast(high, 4u));
        a += terms(w[v + 5u], subgroupBroadcast(low, 5u), subgroupBroadcast(high, 5u));
        a += terms(w[v + 6u], subgroupBroadcast(low, 6u), subgroupBroadcast(high, 6u));
        a += terms(w[v + 7u], subgroupBroadcast(low, 7u), subgroupBroadcast(high, 7u));
    }
    for (var k = shared_vectors; k < p.vectors; k++) {
        a += terms(w[w0 + k], low_halfs(x[k]), high_halfs(x[k]));
    }
    if row < p.rows { y[row] = dot(a, vec4<f32>(1.0)); }
}
