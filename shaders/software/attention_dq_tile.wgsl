// attention_dq_tile — four queries an invocation, before sixteen keys and values that lanes load for each other
//
// Needs    subgroups of at least 8.
// Grid     one workgroup per sequence, head and tile of TILE_X * WG queries.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

// The delta of a query, its terms in the order of scored: before a single key the two cancel.
fn delta_of(at: u32) -> f32 {
    var sum = 0.0;
    for (var c = at; c < at + p.width / 4u; c++) {
        let up = dout[c];
        let down = o[c];
        sum = sum + up.x * down.x + up.y * down.y + up.z * down.z + up.w * down.w;
    }
    return sum;
}

// What a query's gradient takes of sixteen keys: weights times differences.
fn slopes(s: mat4x4<f32>, normal: f32, d: mat4x4<f32>, along: f32) -> mat4x4<f32> {
    return times(exponentials(minus(s, normal)), minus(d, along));
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
    let seen = min(tokens, vec4<u32>(p.tokens - 1u));
    let last = min(top + rows, p.tokens) - 1u;
    let row = (sequence * p.tokens + seen) * p.heads + head;
    let at = row * vectors;
    let normal = vec4<f32>(lse[row.x], lse[row.y], lse[row.z], lse[row.w]);
    let along = vec4<f32>(delta_of(at.x), delta_of(at.y), delta_of(at.z), delta_of(at.w));
    var sum0: array<vec4<f32>, 32>;
    var sum1: array<vec4<f32>, 32>;
    var sum2: array<vec4<f32>, 32>;
    var sum3: array<vec4<f32>, 32>;
    for (var j = 0u; j <= last; j += 16u) {
        // Keys past the last repeat it.
        let keys = vec2<u32>(sequence * p.tokens) + min(vec2<u32>(j + lane, j + 8u + lane), vec2<u32>(last));
        let place = (keys * p.kv_heads + kv_head) * vectors;
        let s = scores(at, place, vectors);
        var d0 = mat4x4<f32>();
        var d1 = mat4x4<f32>();
        var d2 = mat4x4<f32>();
        var d3 = mat4x4<f32>();
        for (var c = 0u; c < vectors; c++) {
            let others = sixteen(v[place.x + c], v[place.y + c]);
            d0 = scored(d0, dout[at.x + c], others);
            d1 = scored(d1, dout[at.y + c], others);
            d2 = scored(d2, dout[at.z + c], others);
            d3 = scored(d3, dout[at.w + c], others);
        }
        let w0 = slopes(causal(p.scale * s.a, j, seen.x), normal.x, d0, along.x);
        let w1 = slopes(causal(p.scale * s.b, j, seen.y), normal.y, d1, along.y);
        let w2 = slopes(causal(p.scale * s.c, j, seen.z), normal.z, d2, along.z);
        let w3 = slopes(causal(p.scale * s.d, j, seen.w), normal.w, d3, along.w);
        for (var c = 0u; c < vectors; c++) {
            let others = sixteen(k[place.x + c], k[place.y + c]);
            sum0[c] += weighted(w0, others);
            sum1[c] += weighted(w1, others);
            sum2[c] += weighted(w2, others);
            sum3[c] += weighted(w3, others);
        }
    }
    let stored = tokens < vec4<u32>(p.tokens);
    for (var c = 0u; c < vectors; c++) {
        if stored.x { dq[at.x + c] = p.scale * sum0[c]; }
        if stored.y { dq[at.y + c] = p.scale * sum1[c]; }
        if stored.z { dq[at.z + c] = p.scale * sum2[c]; }
        if stored.w { dq[at.w + c] = p.scale * sum3[c]; }
    }
    if stored.x { delta[row.x] = along.x; }
    if stored.y { delta[row.y] = along.y; }
    if stored.z { delta[row.z] = along.z; }
    if stored.w { delta[row.w] = along.w; }
}
