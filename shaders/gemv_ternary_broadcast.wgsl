// gemv_ternary_broadcast — gemv_ternary with shared activations and two terms a multiplication
//
//   0  p    Params                  uniform
//   1  w    u32  [rows, words]      read    packed trits
//   2  q    u32  [1, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                read    sum of q
//   4  acc  i32  [1, rows]          write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8
// lanes loads 16 activations and spreads them into pairs, and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation.
// Moves    as gemv_ternary.
// Does     as gemv_ternary.
// Twin     reference::gemv_ternary — equal.

override WG: u32 = 8u;
const TILE_X: u32 = 2u;

struct Params { rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// A single word of a row that does not start at a vector.
fn word_at(i: u32) -> u32 {
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
    let row = (group_index(group, groups) * WG + lane) * TILE_X;
    let last = p.rows - 1u;
    let w0 = min(row, last) * p.words;
    let w1 = min(row + 1u, last) * p.words;
    let mine = subgroup_lane & 7u;
    // Rows start at vectors if and only if they are whole vectors.
    let shared_words = select(0u, p.words & ~7u, (p.words & 3u) == 0u);
    var a0 = 0;
    var a1 = 0;
    for (var k = 0u; k < shared_words; k += 8u) {
        let x = q[k + mine];
        let even = even_pairs(x);
        let odd = odd_pairs(x);
        let low0 = w[(w0 + k) >> 2u];
        let high0 = w[((w0 + k) >> 2u) + 1u];
        let low1 = w[(w1 + k) >> 2u];
        let high1 = w[((w1 + k) >> 2u) + 1u];
        let even0 = subgroupBroadcast(even, 0u);
        let odd0 = subgroupBroadcast(odd, 0u);
        let even1 = subgroupBroadcast(even, 1u);
        let odd1 = subgroupBroadcast(odd, 1u);
        let even2 = subgroupBroadcast(even, 2u);
        let odd2 = subgroupBroadcast(odd, 2u);
        let even3 = subgroupBroadcast(even, 3u);
        let odd3 = subgroupBroadcast(odd, 3u);
        let even4 = subgroupBroadcast(even, 4u);
        let odd4 = subgroupBroadcast(odd, 4u);
        let even5 = subgroupBroadcast(even, 5u);
        let odd5 = subgroupBroadcast(odd, 5u);
        let even6 = subgroupBroadcast(even, 6u);
        let odd6 = subgroupBroadcast(odd, 6u);
        let even7 = subgroupBroadcast(even, 7u);
        let odd7 = subgroupBroadcast(odd, 7u);
        a0 += pair_total(pair_products(low0.x, even0, odd0)
            + pair_products(low0.y, even1, odd1)
            + pair_products(low0.z, even2, odd2)
            + pair_products(low0.w, even3, odd3));
        a0 += pair_total(pair_products(high0.x, even4, odd4)
            + pair_products(high0.y, even5, odd5)
            + pair_products(high0.z, even6, odd6)
            + pair_products(high0.w, even7, odd7));
        a1 += pair_total(pair_products(low1.x, even0, odd0)
            + pair_products(low1.y, even1, odd1)
            + pair_products(low1.z, even2, odd2)
            + pair_products(low1.w, even3, odd3));
        a1 += pair_total(pair_products(high1.x, even4, odd4)
            + pair_products(high1.y, even5, odd5)
            + pair_products(high1.z, even6, odd6)
            + pair_products(high1.w, even7, odd7));
    }
    for (var k = shared_words; k < p.words; k++) {
        let even = even_pairs(q[k]);
        let odd = odd_pairs(q[k]);
        a0 += pair_total(pair_products(word_at(w0 + k), even, odd));
        a1 += pair_total(pair_products(word_at(w1 + k), even, odd));
    }
    if row < p.rows { acc[row] = a0 - sum[0]; }
    if row + 1u < p.rows { acc[row + 1u] = a1 - sum[0]; }
}
