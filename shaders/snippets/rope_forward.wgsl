// rope_forward — turns the queries and the keys of a token, and writes them and the values
//
// For kernels of the snippet rope that declare WG, HALF, table, q, k, v, unit(token, part) and value(i, unit). Part 0 are the
// queries, 1 the keys and 2 the values. A unit is what one unit of the inputs of a part is worth; value is vector i of
// the inputs, where the three parts stand side by side.

fn keep_key(i: u32, x: vec4<f32>) {
    if HALF == 1u {
        k[i] = half_words(x);
    } else {
        let words = bitcast<vec4<u32>>(x);
        k[2u * i] = words.xy;
        k[2u * i + 1u] = words.zw;
    }
}

fn keep_value(i: u32, x: vec4<f32>) {
    if HALF == 1u {
        v[i] = half_words(x);
    } else {
        let words = bitcast<vec4<u32>>(x);
        v[2u * i] = words.xy;
        v[2u * i + 1u] = words.zw;
    }
}

fn turn(token: Token, lane: u32) {
    let keys = stacked(token) + p.heads * 2u * half();
    let values = keys + p.kv_heads * 2u * half();
    let unit_q = unit(token, 0u);
    for (var i = lane; i < p.heads * half(); i += WG) {
        let at = pair(token, i);
        let low = value(stacked(token) + at.low, unit_q);
        let high = value(stacked(token) + at.low + half(), unit_q);
        let c = table[at.angles];
        let s = table[at.angles + half()];
        q[queries(token) + at.low] = low * c - high * s;
        q[queries(token) + at.low + half()] = high * c + low * s;
    }
    let unit_k = unit(token, 1u);
    for (var i = lane; i < p.kv_heads * half(); i += WG) {
        let at = pair(token, i);
        let low = value(keys + at.low, unit_k);
        let high = value(keys + at.low + half(), unit_k);
        let c = table[at.angles];
        let s = table[at.angles + half()];
        keep_key(cached(token) + at.low, low * c - high * s);
        keep_key(cached(token) + at.low + half(), high * c + low * s);
    }
    let unit_v = unit(token, 2u);
    for (var i = lane; i < p.kv_heads * 2u * half(); i += WG) {
        keep_value(cached(token) + i, value(values + i, unit_v));
    }
}
