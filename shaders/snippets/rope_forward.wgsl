// rope_forward — turns eight values and writes them to the queries, the keys or the values
//
// For kernels of the snippet rope that declare table, q, k and v.

fn turn(at: Eight, low: vec4<f32>, high: vec4<f32>) {
    let half = p.width / 8u;
    if part(at.head) == 2u {
        let i = cached(at);
        v[i] = low;
        v[i + half] = high;
        return;
    }
    let c = table[angles(at)];
    let s = table[angles(at) + half];
    let turned_low = low * c - high * s;
    let turned_high = high * c + low * s;
    if part(at.head) == 1u {
        let i = cached(at);
        k[i] = turned_low;
        k[i + half] = turned_high;
    } else {
        let i = query(at);
        q[i] = turned_low;
        q[i + half] = turned_high;
    }
}
