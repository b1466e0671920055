// attention_parts — tiles of queries whose rows lanes share, before keys and values in workgroup memory
//
// Grid     one workgroup per sequence, head and tile of WG / (e / 16) queries.

override WG: u32 = 64u;

var<workgroup> sh_a: array<vec4<f32>, 256>;     // keys
var<workgroup> sh_b: array<vec4<f32>, 256>;     // values
var<workgroup> sh_s: array<vec4<f32>, 2u * WG>;

fn run(group: u32, lane: u32) {
    let rows = WG / (p.width / 16u);
    let tiles = (p.tokens + rows - 1u) / rows;
    let index = group;
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
            sh_a[i] = key_at(source);
            sh_b[i] = value_at(source);
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
