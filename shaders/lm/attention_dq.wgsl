// attention_dq — the gradients of attention's queries, and what its keys' need
//
//   delta[i] = do[i] . o[i],  w[i, j] = exp(q[i] . k[j] / sqrt(e) - lse[i]),  j <= i
//   dq[i] = sum_j w[i, j] (do[i] . v[j] - delta[i]) k[j] / sqrt(e)
//   of each head; head h of q reads head h / (heads / kv_heads) of k and v.
//
//   0  p      Params                                     uniform
//   1  q      f32  [sequences * tokens, heads * e]       read
//   2  k      f32  [sequences * tokens, kv_heads * e]    read
//   3  v      f32  [sequences * tokens, kv_heads * e]    read
//   4  o      f32  [sequences * tokens, heads * e]       read
//   5  lse    f32  [sequences * tokens, heads]           read     from attention
//   6  dout   f32  [sequences * tokens, heads * e]       read     do: the gradient of o
//   7  dq     f32  [sequences * tokens, heads * e]       write
//   8  delta  f32  [sequences * tokens, heads]           write
//
// The scores are computed again: to keep them would take memory in the square of the tokens.
//
// Grid     one workgroup per sequence, head and tile of WG / (e / 16) queries.
// Moves    4 * n * (4 * heads * e + 2 * kv_heads * e + 2 * heads) bytes, n = sequences * tokens.
// Does     6 * e operations for each pair of a query and a key it sees.
// Twin     reference::attention_dq — within the rounding of sums of e and of position + 1 terms, and of the exponentials.
// Source   FlashAttention, arXiv 2205.14135, algorithm 4; grouped heads, arXiv 2305.13245.

override WG: u32 = 64u;

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> o: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;
@group(0) @binding(6) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;

var<workgroup> sh_a: array<vec4<f32>, 256>;     // keys
var<workgroup> sh_b: array<vec4<f32>, 256>;     // values
var<workgroup> sh_s: array<vec4<f32>, 4u * WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = WG / (p.width / 16u);
    let tiles = (p.tokens + rows - 1u) / rows;
    let index = group_index(group, groups);
    let sequence = index / (tiles * p.heads);
    if sequence >= p.sequences { return; }
    let head = index / tiles % p.heads;
    let kv_head = head / (p.heads / p.kv_heads);
    let vectors = p.width / 4u;
    let l = lane_of(lane);
    // Lanes past the last query repeat it and store nothing.
    let top = index % tiles * rows;
    let seen = min(top + l.row, p.tokens - 1u);
    let row = (sequence * p.tokens + seen) * p.heads + head;
    let at = row * vectors + l.part;
    let query = p.scale * mat4x4<f32>(q[at], q[at + l.parts], q[at + 2u * l.parts], q[at + 3u * l.parts]);
    let up = mat4x4<f32>(dout[at], dout[at + l.parts], dout[at + 2u * l.parts], dout[at + 3u * l.parts]);
    let out = mat4x4<f32>(o[at], o[at + l.parts], o[at + 2u * l.parts], o[at + 3u * l.parts]);
    leave(lane, 0u, Scores(vec4<f32>(product(up, out)), vec4<f32>(0.0)));
    workgroupBarrier();
    let along = collect(l, 0u).low.x;
    let normal = lse[row];
    workgroupBarrier();
    let last = min(top + rows, p.tokens) - 1u;
    var sum = mat4x4<f32>();
    for (var j = 0u; j <= last; j += OTHERS) {
        for (var i = lane; i < OTHERS * vectors; i += WG) {
            // Keys past the last repeat it.
            let key = sequence * p.tokens + min(j + i / vectors, last);
            let source = (key * p.kv_heads + kv_head) * vectors + i % vectors;
            sh_a[i] = k[source];
            sh_b[i] = v[source];
        }
        workgroupBarrier();
        leave(lane, 0u, scores_a(l, query));
        leave(lane, 1u, scores_b(l, up));
        workgroupBarrier();
        let s = collect(l, 0u);
        let d = collect(l, 1u);
        let keys = vec4<u32>(j) + vec4<u32>(0u, 1u, 2u, 3u);
        let low = exp(select(vec4<f32>(-1e30), s.low - normal, keys <= vec4<u32>(seen)));
        let high = exp(select(vec4<f32>(-1e30), s.high - normal, keys + 4u <= vec4<u32>(seen)));
        sum = sum + weighted_a(l, Scores(low * (d.low - along), high * (d.high - along)));
        workgroupBarrier();
    }
    if l.idle || top + l.row >= p.tokens { return; }
    dq[at] = p.scale * sum[0];
    dq[at + l.parts] = p.scale * sum[1];
    dq[at + 2u * l.parts] = p.scale * sum[2];
    dq[at + 3u * l.parts] = p.scale * sum[3];
    if l.part == 0u { delta[row] = along; }
}
