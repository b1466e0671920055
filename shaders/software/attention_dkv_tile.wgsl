// attention_dkv_tile — four keys an invocation, before sixteen queries and gradients that lanes load for each other
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
    var k0: array<vec4<f32>, 32>;
    var k1: array<vec4<f32>, 32>;
    var k2: array<vec4<f32>, 32>;
    var k3: array<vec4<f32>, 32>;
    var v0: array<vec4<f32>, 32>;
    var v1: array<vec4<f32>, 32>;
    var v2: array<vec4<f32>, 32>;
    var v3: array<vec4<f32>, 32>;
    for (var head = kv_head * group_heads; head < (kv_head + 1u) * group_heads; head++) {
        for (var i = top; i < p.tokens; i += 16u) {
            // Queries past the last repeat it.
            let queries = vec2<u32>(sequence * p.tokens)
                + min(vec2<u32>(i + lane, i + 8u + lane), vec2<u32>(p.tokens - 1u));
            let row = queries * p.heads + head;
            let place = row * vectors;
            var s0 = mat4x4<f32>();
            var s1 = mat4x4<f32>();
            var s2 = mat4x4<f32>();
            var s3 = mat4x4<f32>();
            for (var c = 0u; c < vectors; c++) {
                let others = sixteen(q[place.x + c], q[place.y + c]);
                s0 = scored(s0, k[at.x + c], others);
                s1 = scored(s1, k[at.y + c], others);
                s2 = scored(s2, k[at.z + c], others);
                s3 = scored(s3, k[at.w + c], others);
            }
            let normal = spread(lse[row.x], lse[row.y]);
            let w0 = weights_of(p.scale * s0, normal, i, token.x);
            let w1 = weights_of(p.scale * s1, normal, i, token.y);
            let w2 = weights_of(p.scale * s2, normal, i, token.z);
            let w3 = weights_of(p.scale * s3, normal, i, token.w);
            var d0 = mat4x4<f32>();
            var d1 = mat4x4<f32>();
            var d2 = mat4x4<f32>();
            var d3 = mat4x4<f32>();
            for (var c = 0u; c < vectors; c++) {
                let others = sixteen(dout[place.x + c], dout[place.y + c]);
                d0 = scored(d0, v[at.x + c], others);
                d1 = scored(d1, v[at.y + c], others);
                d2 = scored(d2, v[at.z + c], others);
                d3 = scored(d3, v[at.w + c], others);
                v0[c] += weighted(w0, others);
                v1[c] += weighted(w1, others);
                v2[c] += weighted(w2, others);
                v3[c] += weighted(w3, others);
            }
            let along = spread(delta[row.x], delta[row.y]);
            d0 = times(w0, d0 - along);
            d1 = times(w1, d1 - along);
            d2 = times(w2, d2 - along);
            d3 = times(w3, d3 - along);
            for (var c = 0u; c < vectors; c++) {
                let others = sixteen(q[place.x + c], q[place.y + c]);
                k0[c] += weighted(d0, others);
                k1[c] += weighted(d1, others);
                k2[c] += weighted(d2, others);
                k3[c] += weighted(d3, others);
            }
        }
    }
    let stored = tokens < vec4<u32>(p.tokens);
    for (var c = 0u; c < vectors; c++) {
        if stored.x { dk[at.x + c] = p.scale * k0[c]; dv[at.x + c] = v0[c]; }
        if stored.y { dk[at.y + c] = p.scale * k1[c]; dv[at.y + c] = v1[c]; }
        if stored.z { dk[at.z + c] = p.scale * k2[c]; dv[at.z + c] = v2[c]; }
        if stored.w { dk[at.w + c] = p.scale * k3[c]; dv[at.w + c] = v3[c]; }
    }
}
