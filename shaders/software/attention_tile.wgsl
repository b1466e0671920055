// attention_tile — four queries an invocation, before sixteen keys and values that lanes load for each other
//
// Needs    subgroups of at least 8.
// Grid     one workgroup per sequence, head and tile of TILE_X * WG queries.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

// A query before the keys so far: the largest score, the sum of the weights, what keeps earlier sums, the weights now.
struct Row { most: f32, total: f32, keep: f32, weights: mat4x4<f32> }

fn meet(before: Row, s: mat4x4<f32>) -> Row {
    let four = max(max(s[0], s[1]), max(s[2], s[3]));
    let most = max(before.most, max(max(four.x, four.y), max(four.z, four.w)));
    let weights = exponentials(minus(s, most));
    let keep = exp(before.most - most);
    let sum = (weights[0] + weights[1]) + (weights[2] + weights[3]);
    return Row(most, keep * before.total + ((sum.x + sum.y) + (sum.z + sum.w)), keep, weights);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let rows = TILE_X * WG;
    let tiles = (p.tokens + rows - 1u) / rows;
    let index = group_index(group, groups);
    let sequence = index / (tiles * p.heads);
    if sequence >= p.sequences { return; }
    let head = index / tiles % p.heads;
    let kv_head = head / (p.heads / p.kv_heads);
    let vectors = p.width / 4u;
    // Queries past the last repeat it and are not stored.
    let top = index % tiles * rows;
    let tokens = vec4<u32>(top + lane) + vec4<u32>(0u, 8u, 16u, 24u);
    let inside = min(tokens, vec4<u32>(p.tokens - 1u));
    let row = (sequence * p.tokens + inside) * p.heads + head;
    let at = row * vectors;
    // What comes from data is clamped: no position can lead outside the cache.
    let start = min(first[0], p.capacity - p.tokens);
    let seen = start + inside;
    let last = start + min(top + rows, p.tokens) - 1u;
    var row0 = Row(-1e30, 0.0, 0.0, mat4x4<f32>());
    var row1 = row0;
    var row2 = row0;
    var row3 = row0;
    var sum0: array<vec4<f32>, 32>;
    var sum1: array<vec4<f32>, 32>;
    var sum2: array<vec4<f32>, 32>;
    var sum3: array<vec4<f32>, 32>;
    for (var j = 0u; j <= last; j += 16u) {
        // Keys past the last repeat it: what lies there may be no number, and zero times that is none.
        let keys = vec2<u32>(sequence * p.capacity) + min(vec2<u32>(j + lane, j + 8u + lane), vec2<u32>(last));
        let place = (keys * p.kv_heads + kv_head) * vectors;
        let s = scores(at, place, vectors);
        row0 = meet(row0, causal(p.scale * s.a, j, seen.x));
        row1 = meet(row1, causal(p.scale * s.b, j, seen.y));
        row2 = meet(row2, causal(p.scale * s.c, j, seen.z));
        row3 = meet(row3, causal(p.scale * s.d, j, seen.w));
        for (var c = 0u; c < vectors; c++) {
            let others = sixteen(v[place.x + c], v[place.y + c]);
            sum0[c] = row0.keep * sum0[c] + weighted(row0.weights, others);
            sum1[c] = row1.keep * sum1[c] + weighted(row1.weights, others);
            sum2[c] = row2.keep * sum2[c] + weighted(row2.weights, others);
            sum3[c] = row3.keep * sum3[c] + weighted(row3.weights, others);
        }
    }
    let totals = vec4<f32>(row0.total, row1.total, row2.total, row3.total);
    let normal = vec4<f32>(row0.most, row1.most, row2.most, row3.most) + log(totals);
    let factor = 1.0 / totals;
    let stored = tokens < vec4<u32>(p.tokens);
    for (var c = 0u; c < vectors; c++) {
        if stored.x { o[at.x + c] = factor.x * sum0[c]; }
        if stored.y { o[at.y + c] = factor.y * sum1[c]; }
        if stored.z { o[at.z + c] = factor.z * sum2[c]; }
        if stored.w { o[at.w + c] = factor.w * sum3[c]; }
    }
    if stored.x { lse[row.x] = normal.x; }
    if stored.y { lse[row.y] = normal.y; }
    if stored.z { lse[row.z] = normal.z; }
    if stored.w { lse[row.w] = normal.w; }
}
