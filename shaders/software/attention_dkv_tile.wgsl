// attention_dkv_tile — four keys an invocation, before thirty-two queries and gradients that lanes load for each other
//
// Needs    subgroups of at least 8.
// Grid     one workgroup per sequence, head of k and v and tile of TILE_X * WG keys.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

// Weights of sixteen queries from the first on, 0 where one does not see the key or is past the last.
fn weights_of(s: mat4x4<f32>, normal: mat4x4<f32>, first: u32, key: u32) -> mat4x4<f32> {
    let i = numbers(first);
    let least = vec4<f32>(-1e30);
    let low = vec4<u32>(key);
    let end = vec4<u32>(p.tokens);
    return exponentials(mat4x4<f32>(
        select(least, s[0] - normal[0], (i.a >= low) & (i.a < end)),
        select(least, s[1] - normal[1], (i.b >= low) & (i.b < end)),
        select(least, s[2] - normal[2], (i.c >= low) & (i.c < end)),
        select(least, s[3] - normal[3], (i.d >= low) & (i.d < end))));
}

fn all_weights(s: Four, normal: mat4x4<f32>, first: u32, key: vec4<u32>) -> Four {
    return Four(
        weights_of(p.scale * s.a, normal, first, key.x), weights_of(p.scale * s.b, normal, first, key.y),
        weights_of(p.scale * s.c, normal, first, key.z), weights_of(p.scale * s.d, normal, first, key.w));
}

// What four keys' gradients take of sixteen queries: weights times differences.
fn slopes(w: Four, d: Four, along: mat4x4<f32>) -> Four {
    return Four(
        times(w.a, d.a - along), times(w.b, d.b - along), times(w.c, d.c - along), times(w.d, d.d - along));
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
    let sequence = index / (tiles * p.kv_heads);
    if sequence >= p.sequences { return; }
    let kv_head = index / tiles % p.kv_heads;
    let group_heads = p.heads / p.kv_heads;
    let vectors = p.width / 4u;
    // Keys past the last repeat it and are not stored.
    let top = index % tiles * rows;
    let tokens = vec4<u32>(top + lane) + vec4<u32>(0u, 8u, 16u, 24u);
    let token = min(tokens, vec4<u32>(p.tokens - 1u));
    let at = ((sequence * p.tokens + token) * p.kv_heads + kv_head) * vectors;
    var keys: array<mat4x4<f32>, 32>;
    var values: array<mat4x4<f32>, 32>;
    // Both loops test at their end: a rasteriser walks one that tests at its start once more, with no lane at work.
    var head = kv_head * group_heads;
    loop {
        var i = top;
        loop {
            // Queries past the last repeat it.
            let queries = vec4<u32>(sequence * p.tokens)
                + min(vec4<u32>(i + lane) + vec4<u32>(0u, 8u, 16u, 24u), vec4<u32>(p.tokens - 1u));
            let row = queries * p.heads + head;
            let place = row * vectors;
            var near = Four();
            var far = Four();
            for (var c = 0u; c < vectors; c++) {
                let rows = mat4x4<f32>(k[at.x + c], k[at.y + c], k[at.z + c], k[at.w + c]);
                near = all_scored(near, rows, sixteen(q[place.x + c], q[place.y + c]));
                far = all_scored(far, rows, sixteen(q[place.z + c], q[place.w + c]));
            }
            near = all_weights(near, spread(lse[row.x], lse[row.y]), i, token);
            far = all_weights(far, spread(lse[row.z], lse[row.w]), i + 16u, token);
            var near_d = Four();
            var far_d = Four();
            for (var c = 0u; c < vectors; c++) {
                let rows = mat4x4<f32>(v[at.x + c], v[at.y + c], v[at.z + c], v[at.w + c]);
                let near_up = sixteen(dout[place.x + c], dout[place.y + c]);
                near_d = all_scored(near_d, rows, near_up);
                let sum = values[c] + all_weighted(near, near_up);
                let far_up = sixteen(dout[place.z + c], dout[place.w + c]);
                far_d = all_scored(far_d, rows, far_up);
                values[c] = sum + all_weighted(far, far_up);
            }
            near = slopes(near, near_d, spread(delta[row.x], delta[row.y]));
            far = slopes(far, far_d, spread(delta[row.z], delta[row.w]));
            for (var c = 0u; c < vectors; c++) {
                let sum = keys[c] + all_weighted(near, sixteen(q[place.x + c], q[place.y + c]));
                keys[c] = sum + all_weighted(far, sixteen(q[place.z + c], q[place.w + c]));
            }
            continuing { i += 32u; break if i >= p.tokens; }
        }
        continuing { head++; break if head >= (kv_head + 1u) * group_heads; }
    }
    let stored = tokens < vec4<u32>(p.tokens);
    for (var c = 0u; c < vectors; c++) {
        let key = p.scale * keys[c];
        let value = values[c];
        if stored.x { dk[at.x + c] = key[0]; dv[at.x + c] = value[0]; }
        if stored.y { dk[at.y + c] = key[1]; dv[at.y + c] = value[1]; }
        if stored.z { dk[at.z + c] = key[2]; dv[at.z + c] = value[2]; }
        if stored.w { dk[at.w + c] = key[3]; dv[at.w + c] = value[3]; }
    }
}
