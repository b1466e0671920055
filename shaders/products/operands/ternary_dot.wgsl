// ternary_dot — sixteen codes of a word times as many activations, by integer dot products

fn bytes(k: u32) -> vec4<u32> {
    return q[k];
}

fn dot16(word: u32, x: vec4<u32>) -> i32 {
    return dot4I8Packed(plane(word, 0u), x.x) + dot4I8Packed(plane(word, 1u), x.y)
        + dot4I8Packed(plane(word, 2u), x.z) + dot4I8Packed(plane(word, 3u), x.w);
}

fn term(v: vec4<u32>, x: Step) -> i32 {
    return dot16(v.x, x[0]) + dot16(v.y, x[1]) + dot16(v.z, x[2]) + dot16(v.w, x[3]);
}

// A word of each of four rows.
fn sixteen_each(words: vec4<u32>, x: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot16(words.x, x), dot16(words.y, x), dot16(words.z, x), dot16(words.w, x));
}
