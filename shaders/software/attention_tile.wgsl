// attention_tile — four queries an invocation, before thirty-two keys and values that lanes load for each other
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

struct Rows { a: Row, b: Row, c: Row, d: Row }

fn all_meet(before: Rows, s: Four) -> Rows {
    return Rows(meet(before.a, s.a), meet(before.b, s.b), meet(before.c, s.c), meet(before.d, s.d));
}

// Four columns of the sums of four queries, after sixteen more values.
fn summed(rows: Rows, sums: mat4x4<f32>, others: Sixteen) -> mat4x4<f32> {
    return mat4x4<f32>(
        rows.a.keep * sums[0] + weighted(rows.a.weights, others),
        rows.b.keep * sums[1] + weighted(rows.b.weights, others),
        rows.c.keep * sums[2] + weighted(rows.c.weights, others),
        rows.d.keep * sums[3] + weighted(rows.d.weights, others));
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
    let none = Row(-1e30, 0.0, 0.0, mat4x4<f32>());
    var met = Rows(none, none, none, none);
    var sums: array<mat4x4<f32>, 32>;
    for (var j = 0u; j <= last; j += 32u) {
        // Keys past the last repeat it: what lies there may be no number, and zero times that is none.
        let keys = vec4<u32>(sequence * p.capacity)
            + min(vec4<u32>(j + lane) + vec4<u32>(0u, 8u, 16u, 24u), vec4<u32>(last));
        let place = (keys * p.kv_heads + kv_head) * vectors;
        let s = scores(at, place, vectors);
        let near = all_meet(met, all_causal(s.near, j, seen));
        let far = all_meet(near, all_causal(s.far, j + 16u, seen));
        for (var c = 0u; c < vectors; c++) {
            let sum = summed(near, sums[c], sixteen(value_at(place.x + c), value_at(place.y + c)));
            sums[c] = summed(far, sum, sixteen(value_at(place.z + c), value_at(place.w + c)));
        }
        met = far;
    }
    let totals = vec4<f32>(met.a.total, met.b.total, met.c.total, met.d.total);
    let normal = vec4<f32>(met.a.most, met.b.most, met.c.most, met.d.most) + log(totals);
    let factor = 1.0 / totals;
    let stored = tokens < vec4<u32>(p.tokens);
    for (var c = 0u; c < vectors; c++) {
        let sum = sums[c];
        if stored.x { o[at.x + c] = factor.x * sum[0]; }
        if stored.y { o[at.y + c] = factor.y * sum[1]; }
        if stored.z { o[at.z + c] = factor.z * sum[2]; }
        if stored.w { o[at.w + c] = factor.w * sum[3]; }
    }
    if stored.x { lse[row.x] = normal.x; }
    if stored.y { lse[row.y] = normal.y; }
    if stored.z { lse[row.z] = normal.z; }
    if stored.w { lse[row.w] = normal.w; }
}
