// attention_dkv_parts — tiles of keys whose rows lanes share, before queries and gradients in workgroup memory
//
// Grid     one workgroup per sequence, head of k and v and tile of WG / (e / 16) keys.

override WG: u32 = 64u;

var<workgroup> sh_a: array<vec4<f32>, 256>;     // queries
var<workgroup> sh_b: array<vec4<f32>, 256>;     // gradients of their outputs
var<workgroup> sh_s: array<vec4<f32>, 4u * WG>;
var<workgroup> sh_lse: array<f32, 8>;
var<workgroup> sh_delta: array<f32, 8>;

fn run(group: u32, lane: u32) {
    let rows = WG / (p.width / 16u);
    let tiles = (p.tokens + rows - 1u) / rows;
    let index = group;
    let sequence = index / (tiles * p.kv_heads);
    if sequence >= p.sequences { return; }
    let kv_head = index / tiles % p.kv_heads;
    let group_heads = p.heads / p.kv_heads;
    let vectors = p.width / 4u;
    let l = lane_of(lane);
    // Lanes past the last key repeat it and store nothing.
    let top = index % tiles * rows;
    let token = min(top + l.row, p.tokens - 1u);
    let at = ((sequence * p.tokens + token) * p.kv_heads + kv_head) * vectors + l.part;
    let key = p.scale * mat4x4<f32>(k[at], k[at + l.parts], k[at + 2u * l.parts], k[at + 3u * l.parts]);
    let value = mat4x4<f32>(v[at], v[at + l.parts], v[at + 2u * l.parts], v[at + 3u * l.parts]);
    var sum_k = mat4x4<f32>();
    var sum_v = mat4x4<f32>();
    for (var head = kv_head * group_heads; head < (kv_head + 1u) * group_heads; head++) {
        for (var j = top; j < p.tokens; j += OTHERS) {
            for (var i = lane; i < OTHERS * vectors; i += WG) {
                // Queries past the last repeat it.
                let query = sequence * p.tokens + min(j + i / vectors, p.tokens - 1u);
                let source = (query * p.heads + head) * vectors + i % vectors;
                sh_a[i] = q[source];
                sh_b[i] = dout[source];
            }
            if lane < OTHERS {
                let query = (sequence * p.tokens + min(j + lane, p.tokens - 1u)) * p.heads + head;
                sh_lse[lane] = lse[query];
                sh_delta[lane] = delta[query];
            }
            workgroupBarrier();
            leave(lane, 0u, scores_a(l, key));
            leave(lane, 1u, scores_b(l, value));
            workgroupBarrier();
            let s = collect(l, 0u);
            let d = collect(l, 1u);
            let low = vec4<u32>(j) + vec4<u32>(0u, 1u, 2u, 3u);
            let high = low + 4u;
            let sees_low = (low >= vec4<u32>(token)) & (low < vec4<u32>(p.tokens));
            let sees_high = (high >= vec4<u32>(token)) & (high < vec4<u32>(p.tokens));
            let normal_low = vec4<f32>(sh_lse[0], sh_lse[1], sh_lse[2], sh_lse[3]);
            let normal_high = vec4<f32>(sh_lse[4], sh_lse[5], sh_lse[6], sh_lse[7]);
            let along_low = vec4<f32>(sh_delta[0], sh_delta[1], sh_delta[2], sh_delta[3]);
            let along_high = vec4<f32>(sh_delta[4], sh_delta[5], sh_delta[6], sh_delta[7]);
            let w = Scores(
                exp(select(vec4<f32>(-1e30), s.low - normal_low, sees_low)),
                exp(select(vec4<f32>(-1e30), s.high - normal_high, sees_high)));
            sum_v = sum_v + weighted_b(l, w);
            sum_k = sum_k + weighted_a(l, Scores(w.low * (d.low - along_low), w.high * (d.high - along_high)));
            workgroupBarrier();
        }
    }
    if l.idle || top + l.row >= p.tokens { return; }
    dk[at] = p.scale * sum_k[0];
    dk[at + l.parts] = p.scale * sum_k[1];
    dk[at + 2u * l.parts] = p.scale * sum_k[2];
    dk[at + 3u * l.parts] = p.scale * sum_k[3];
    dv[at] = sum_v[0];
    dv[at + l.parts] = sum_v[1];
    dv[at + 2u * l.parts] = sum_v[2];
    dv[at + 3u * l.parts] = sum_v[3];
}
