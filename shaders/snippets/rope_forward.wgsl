// rope_forward — turns eight values and writes them to the queries, the keys or the values
//
// For kernels of the snippet rope that declare table, first, q, k and v.

fn position_of(at: Eight) -> u32 {
    // What comes from data is clamped: no position can lead outside the cache or the table.
    return min(first[0] + at.token % p.tokens, p.capacity - 1u);
}

fn turn(at: Eight, low: vec4<f32>, high: vec4<f32>) {
    let half = p.width / 8u;
    let position = position_of(at);
    if part(at.head) == 2u {
        let i = cached(at, position);
        v[i] = low;
        v[i + half] = high;
        return;
    }
    let c = table[angles(at, position)];
    let s = table[angles(at, position) + half];
    let turned_low = low * c - high * s;
    let turned_high = high * c + low * s;
    if part(at.head) == 1u {
        let i = cached(at, position);
        k[i] = turned_low;
        k[i + half] = turned_high;
    } else {
        let i = query(at);
        q[i] = turned_low;
        q[i + half] = turned_high;
    }
}
