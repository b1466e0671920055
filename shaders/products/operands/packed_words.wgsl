// packed_words — rows of words of sixteen codes: four words a step, or one of a row that does not start at a vector

alias Step = array<vec4<u32>, 4>;

fn row_length() -> u32 {
    return p.length;
}

// Rows start at vectors if and only if they are whole vectors.
fn steps() -> u32 {
    return select(0u, p.length >> 2u, (p.length & 3u) == 0u);
}

fn weights(row: u32, k: u32) -> vec4<u32> {
    return w[(row >> 2u) + k];
}

fn activations(k: u32) -> Step {
    let x = k << 2u;
    return Step(bytes(x), bytes(x + 1u), bytes(x + 2u), bytes(x + 3u));
}

fn word_at(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
}

fn rest(rows: vec4<u32>, lane: u32, stride: u32) -> vec4<i32> {
    var a = vec4<i32>(0);
    for (var k = (steps() << 2u) + lane; k < p.length; k += stride) {
        let x = bytes(k);
        let words = vec4<u32>(word_at(rows.x + k), word_at(rows.y + k), word_at(rows.z + k), word_at(rows.w + k));
        a += sixteen_each(words, x);
    }
    return a;
}
