// attention — causal attention with grouped heads, in tiles
//
//   s[i, j] = q[i] . k[j] / sqrt(e),  j <= first + i
//   lse[i] = log sum_j exp(s[i, j]),  o[i] = sum_j exp(s[i, j] - lse[i]) v[j]
//   of each head; head h of q reads head h / (heads / kv_heads) of k and v, both in the rows of their positions.
//
//   0  p      Params                                     uniform
//   1  q      f32  [sequences * tokens, heads * e]       read
//   2  k      f32  [sequences * capacity, kv_heads * e]  read
//   3  v      f32  [sequences * capacity, kv_heads * e]  read
//   4  first  u32  [1]                                   read     position of the first query
//   5  o      f32  [sequences * tokens, heads * e]       write
//   6  lse    f32  [sequences * tokens, heads]           write    for the backward kernels
//
// A workgroup walks the keys of its queries eight at a time and stops at the last that any of them sees. It keeps the
// largest score, the sum and the output of each query, and scales them down when a larger score comes.
//
// Grid     one workgroup per sequence, head and tile of WG / (e / 16) queries.
// Moves    4 * (2 * n * heads * e + 2 * sequences * capacity * kv_heads * e + n * heads + 1) bytes, n = sequences * tokens.
// Does     4 * e operations for each pair of a query and a key it sees.
// Twin     reference::attention — within the rounding of sums of e and of position + 1 terms, and of the exponentials.
// Source   FlashAttention, arXiv 2205.14135, algorithm 1; grouped heads, arXiv 2305.13245.

override WG: u32 = 64u;

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> first: array<u32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

var<workgroup> sh_a: array<vec4<f32>, 256>;     // keys
var<workgroup> sh_b: array<vec4<f32>, 256>;     // values
var<workgroup> sh_s: array<vec4<f32>, 2u * WG>;

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
    let token = top + l.row;
    let row = (sequence * p.tokens + min(token, p.tokens - 1u)) * p.heads + head;
    let at = row * vectors + l.part;
    let query = p.scale * mat4x4<f32>(q[at], q[at + l.parts], q[at + 2u * l.parts], q[at + 3u * l.parts]);
    // What comes from data is clamped: no position can lead outside the cache.
    let start = min(first[0], p.capacity - p.tokens);
    let seen = start + min(token, p.tokens - 1u);
    let last = start + min(top + rows, p.tokens) - 1u;
    var most = -1e30;
    var total = 0.0;
    var sum = mat4x4<f32>();
    for (var j = 0u; j <= last; j += OTHERS) {
        for (var i = lane; i < OTHERS * vectors; i += WG) {
            // Keys past the last repeat it: what lies there may be no number, and zero times that is none.
            let key = sequence * p.capacity + min(j + i / vectors, last);
            let source = (key * p.kv_heads + kv_head) * vectors + i % vectors;
            sh_a[i] = k[source];
            sh_b[i] = v[source];
        }
        workgroupBarrier();
        leave(lane, 0u, scores_a(l, query));
        workgroupBarrier();
        let s = collect(l, 0u);
        let keys = vec4<u32>(j) + vec4<u32>(0u, 1u, 2u, 3u);
        let low = select(vec4<f32>(-1e30), s.low, keys <= vec4<u32>(seen));
        let high = select(vec4<f32>(-1e30), s.high, keys + 4u <= vec4<u32>(seen));
        let now = max(most, largest_of(max(low, high)));
        let keep = exp(most - now);
        let w = Scores(exp(low - now), exp(high - now));
        total = keep * total + (sum_of(w.low) + sum_of(w.high));
        sum = keep * sum + weighted_b(l, w);
        most = now;
        workgroupBarrier();
    }
    if l.idle || token >= p.tokens { return; }
    let factor = 1.0 / total;
    o[at] = factor * sum[0];
    o[at + l.parts] = factor * sum[1];
    o[at + 2u * l.parts] = factor * sum[2];
    o[at + 3u * l.parts] = factor * sum[3];
    if l.part == 0u { lse[row] = most + log(total); }
}
