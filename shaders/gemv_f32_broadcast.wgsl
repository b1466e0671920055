// gemv_f32_broadcast — gemv_f32 with a row per invocation and shared activations
//
//   0  p  Params               uniform
//   1  x  f32  [1, cols]       read
//   2  w  f32  [rows, cols]    read
//   3  y  f32  [1, rows]       write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8
// lanes loads 4 activations and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     a row per invocation.
// Moves    as gemv_f32.
// Does     as gemv_f32.
// Twin     reference::gemv_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;

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
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = group_index(group, groups) * WG + lane;
    let w0 = min(row, p.rows - 1u) * p.cols;
    let mine = subgroup_lane & 7u;
    // Rows start at vectors if and only if they are whole vectors.
    let shared_vectors = select(0u, (p.cols >> 2u) & ~7u, (p.cols & 3u) == 0u);
    var a = vec4<f32>(0.0);
    for (var k = 0u; k < shared_vectors; k += 8u) {
        let four = x[k + mine];
        let v = (w0 >> 2u) + k;
        a += w[v] * subgroupBroadcast(four, 0u);
        a += w[v + 1u] * subgroupBroadcast(four, 1u);
        a += w[v + 2u] * subgroupBroadcast(four, 2u);
        a += w[v + 3u] * subgroupBroadcast(four, 3u);
        a += w[v + 4u] * subgroupBroadcast(four, 4u);
        a += w[v + 5u] * subgroupBroadcast(four, 5u);
        a += w[v + 6u] * subgroupBroadcast(four, 6u);
        a += w[v + 7u] * subgroupBroadcast(four, 7u);
    }
    var total = dot(a, vec4<f32>(1.0));
    for (var k = 4u * shared_vectors; k < p.cols; k++) {
        total += weight_at(w0 + k) * x[k >> 2u][k & 3u];
    }
    if row < p.rows { y[row] = total; }
}
