// small_base3 — eighty trits in base 3 of two rows a step of small

alias Each = vec2<i32>;
const TILE_Y: u32 = 2u;

struct Rows { r0: Eighty, r1: Eighty }

fn rows_at(starts: vec4<u32>, k: u32) -> Rows {
    return Rows(eighty(w[starts.x + k]), eighty(w[starts.y + k]));
}

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn int8s(start: u32, k: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[start + min(k, p.words - 1u)], k < p.words);
}

fn dot80(c: Eighty, x: Eighty) -> i32 {
    return dot16(c[0], x[0]) + dot16(c[1], x[1]) + dot16(c[2], x[2]) + dot16(c[3], x[3]) + dot16(c[4], x[4]);
}

fn terms(v: Rows, b: u32, k: u32) -> Each {
    let start = min(b, p.batch - 1u) * p.words;
    let i = 5u * k;
    let x = Eighty(int8s(start, i), int8s(start, i + 1u), int8s(start, i + 2u), int8s(start, i + 3u), int8s(start, i + 4u));
    return Each(dot80(v.r0, x), dot80(v.r1, x));
}
