// terms_i32 — a step of four rows, a term of each

fn plus(a: Sums, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, x: Step) -> Sums {
    return a + vec4<i32>(term(v0, x), term(v1, x), term(v2, x), term(v3, x));
}
