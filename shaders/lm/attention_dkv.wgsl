// attention_dkv — the gradients of attention's keys and values
//
//   w[i, j] = exp(q[i] . k[j] / sqrt(e) - lse[i]),  i >= j
//   dv[j] = sum_i w[i, j] do[i],  dk[j] = sum_i w[i, j] (do[i] . v[j] - delta[i]) q[i] / sqrt(e)
//   of each head of k and v, the sums over the queries of all heads / kv_heads heads that read it.
//
//   0  p      Params                                     uniform
//   1  q      f32  [sequences * tokens, heads * e]       read
//   2  k      f32  [sequences * tokens, kv_heads * e]    read
//   3  v      f32  [sequences * tokens, kv_heads * e]    read
//   4  lse    f32  [sequences * tokens, heads]           read     from attention
//   5  delta  f32  [sequences * tokens, heads]           read     from attention_dq
//   6  dout   f32  [sequences * tokens, heads * e]       read     do: the gradient of o
//   7  dk     f32  [sequences * tokens, kv_heads * e]    write
//   8  dv     f32  [sequences * tokens, kv_heads * e]    write
//
// A workgroup walks the queries from its first key to the end, eight at a time, head after head: the order of every sum
// is fixed, without atomics.
//
// Grid     one workgroup per sequence, head of k and v and tile of WG / (e / 16) keys.
// Moves    4 * n * (2 * heads * e + 4 * kv_heads * e + 2 * heads) bytes, n = sequences * tokens.
// Does     8 * e operations for each pair of a query and a key it sees.
// Twin     reference::attention_dkv — within the rounding of sums of e and of all queries' terms, and of the exponentials.
// Source   FlashAttention, arXiv 2205.14135, algorithm 4; grouped heads, arXiv 2305.13245.

override WG: u32 = 64u;

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dk: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> dv: array<vec4<f32>>;

var<workgroup> sh_a: array<vec4<f32>, 256>;     // queries
var<workgroup> sh_b: array<vec4<f32>, 256>;     // gradients of their outputs
var<workgroup> sh_s: array<vec4<f32>, 4u * WG>;
var<workgroup> sh_lse: array<f32, 8>;
var<workgroup> sh_delta: array<f32, 8>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = WG / (p.width / 16u);
    let tiles = (p.tokens + rows - 1u) / rows;
    let index = group_index(group, groups);
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
