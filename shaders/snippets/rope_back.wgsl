// rope_back — the gradients of a token's queries and keys before they were turned, and those of its values
//
// For kernels of the snippet rope that declare WG, dq, dk, dv, table, worth(part) and put(i, d, worth). Part 0 are the
// queries, 1 the keys and 2 the values. worth is what a trit of a part is worth; put takes the gradients d of vector i
// of the inputs, where the three parts stand side by side.

fn turn_back(token: Token, lane: u32) {
    let keys = stacked(token) + p.heads * 2u * half();
    let values = keys + p.kv_heads * 2u * half();
    let worth_q = worth(0u);
    for (var i = lane; i < p.heads * half(); i += WG) {
        let at = pair(token, i);
        let low = dq[queries(token) + at.low];
        let high = dq[queries(token) + at.low + half()];
        let c = table[at.angles];
        let s = table[at.angles + half()];
        put(stacked(token) + at.low, low * c + high * s, worth_q);
        put(stacked(token) + at.low + half(), high * c - low * s, worth_q);
    }
    let worth_k = worth(1u);
    for (var i = lane; i < p.kv_heads * half(); i += WG) {
        let at = pair(token, i);
        let low = dk[cached(token) + at.low];
        let high = dk[cached(token) + at.low + half()];
        let c = table[at.angles];
        let s = table[at.angles + half()];
        put(keys + at.low, low * c + high * s, worth_k);
        put(keys + at.low + half(), high * c - low * s, worth_k);
    }
    let worth_v = worth(2u);
    for (var i = lane; i < p.kv_heads * 2u * half(); i += WG) {
        put(values + i, dv[cached(token) + i], worth_v);
    }
}
