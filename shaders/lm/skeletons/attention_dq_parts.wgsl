// attention_dq_parts — tiles of queries whose rows lanes share, before keys and values in workgroup memory
//
// Grid     one workgroup per sequence, head and tile of WG / (e / 16) queries.

override WG: u32 = 64u;

var<workgroup> sh_a: array<vec4<f32>, 256>;     // keys
var<workgroup> sh_b: array<vec4<f32>, 256>;     // values
var<workgroup> sh_s: array<vec4<f32>, 4u * WG>;

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
