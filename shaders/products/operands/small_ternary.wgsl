// small_ternary — a word of codes of four rows a step of small

alias Each = vec4<i32>;
const TILE_Y: u32 = 4u;

struct Rows { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

fn row_length() -> u32 {
    return p.length;
}

fn codes(words: vec4<u32>) -> Rows {
    return Rows(planes(words.x), planes(words.y), planes(words.z), planes(words.w));
}

fn terms(c: Rows, b: u32, k: u32) -> Each {
    let x = q[min(b, p.batch - 1u) * p.length + k];
    return Each(dot16(c.r0, x), dot16(c.r1, x), dot16(c.r2, x), dot16(c.r3, x));
}

fn word_at(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, b: u32, lane: u32) {
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.length >> 2u, (p.length & 3u) == 0u);
    let v = starts >> vec4<u32>(2u);
    for (var k = lane; k < vectors; k += WG) {
        var four0 = w[v.x + k];
        var four1 = w[v.y + k];
        var four2 = w[v.z + k];
        var four3 = w[v.w + k];
        // By turning the vectors: an index would not be known, and four copies of the body are much code.
        for (var i = 0u; i < 4u; i++) {
            add(a, codes(vec4<u32>(four0.x, four1.x, four2.x, four3.x)), b, 4u * k + i);
            four0 = four0.yzwx;
            four1 = four1.yzwx;
            four2 = four2.yzwx;
            four3 = four3.yzwx;
        }
    }
    for (var k = 4u * vectors + lane; k < p.length; k += WG) {
        let i = starts + k;
        add(a, codes(vec4<u32>(word_at(i.x), word_at(i.y), word_at(i.z), word_at(i.w))), b, k);
    }
}
