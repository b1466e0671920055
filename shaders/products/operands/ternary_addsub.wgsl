// ternary_addsub — sixteen codes of a word times as many activations: each added, subtracted, or neither

fn bytes(k: u32) -> vec4<u32> {
    return q[k];
}

// Codes c = t + 1 of four elements, and their activations.
fn four(codes: u32, x: u32) -> vec4<i32> {
    let c = unpack4xU8(codes & CODES);
    let q = unpack4xI8(x);
    let none = vec4<i32>(0);
    return select(none, q, c == vec4<u32>(2u)) - select(none, q, c == vec4<u32>(0u));
}

fn sixteen(word: u32, x: vec4<u32>) -> i32 {
    let s = (four(word, x.x) + four(word >> 2u, x.y)) + (four(word >> 4u, x.z) + four(word >> 6u, x.w));
    return (s.x + s.y) + (s.z + s.w);
}

fn term(v: vec4<u32>, x: Step) -> i32 {
    return (sixteen(v.x, x[0]) + sixteen(v.y, x[1])) + (sixteen(v.z, x[2]) + sixteen(v.w, x[3]));
}

// A word of each of four rows.
fn sixteen_each(words: vec4<u32>, x: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(sixteen(words.x, x), sixteen(words.y, x), sixteen(words.z, x), sixteen(words.w, x));
}
