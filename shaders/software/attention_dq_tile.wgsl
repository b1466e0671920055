// attention_dq_tile — four queries an invocation, before thirty-two keys and values that lanes load for each other
//
// Needs    subgroups of at least 8.
// Grid     one workgroup per sequence, head and tile of TILE_X * WG queries.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

// The sum of a delta after four more columns. Its order is that of scored: with a single key the two sums must cancel.
fn along_more(sum: f32, up: vec4<f32>, out: vec4<f32>) -> f32 {
    return sum + up.x * out.x + up.y * out.y + up.z * out.z + up.w * out.w;
}

// What a query's gradient takes of sixteen keys: weights times differences.
fn slopes(s: mat4x4<f32>, normal: f32, d: mat4x4<f32>, along: f32) -> mat4x4<f32> {
    return times(exponentials(minus(s, normal)), minus(d, along));
}

fn all_slopes(s: Four, normal: vec4<f32>, d: Four, along: vec4<f32>) -> Four {
    return Four(
        slopes(s.a, normal.x, d.a, along.x), slopes(s.b, normal.y, d.b, along.y),
        slopes(s.c, normal.z, d.c, along.z), slopes(s.d, normal.w, d.d, along.w));
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
    var along = vec4<f32>();
    var sums: array<mat4x4<f32>, 32>;
    for (var j = 0u; j <= last; j += 32u) {
        // Keys past the last repeat it.
        let keys = vec4<u32>(sequence * p.tokens)
            + min(vec4<u32>(j + lane) + vec4<u32>(0u, 8u, 16u, 24u), vec4<u32>(last));
        let place = (keys * p.kv_heads + kv_head) * vectors;
        let s = scores(at, place, vectors);
        var near = Four();
        var far = Four();
        for (var c = 0u; c < vectors; c++) {
            let up = mat4x4<f32>(dout[at.x + c], dout[at.y + c], dout[at.z + c], dout[at.w + c]);
            // The first turn has the gradients at hand for the deltas.
            if j == 0u {
                along = vec4<f32>(
                    along_more(along.x, up[0], o[at.x + c]), along_more(along.y, up[1], o[at.y + c]),
                    along_more(along.z, up[2], o[at.z + c]), along_more(along.w, up[3], o[at.w + c]));
            }
            near = all_scored(near, up, sixteen(v[place.x + c], v[place.y + c]));
            far = all_scored(far, up, sixteen(v[place.z + c], v[place.w + c]));
        }
        near = all_slopes(all_causal(s.near, j, seen), normal, near, along);
        far = all_slopes(all_causal(s.far, j + 16u, seen), normal, far, along);
        for (var c = 0u; c < vectors; c++) {
            let sum = sums[c] + all_weighted(near, sixteen(k[place.x + c], k[place.y + c]));
            sums[c] = sum + all_weighted(far, sixteen(k[place.z + c], k[place.w + c]));
        }
    }
    let stored = tokens < vec4<u32>(p.tokens);
    for (var c = 0u; c < vectors; c++) {
        let sum = p.scale * sums[c];
        if stored.x { dq[at.x + c] = sum[0]; }
        if stored.y { dq[at.y + c] = sum[1]; }
        if stored.z { dq[at.z + c] = sum[2]; }
        if stored.w { dq[at.w + c] = sum[3]; }
    }
    if stored.x { delta[row.x] = along.x; }
    if stored.y { delta[row.y] = along.y; }
    if stored.z { delta[row.z] = along.z; }
    if stored.w { delta[row.w] = along.w; }
}
