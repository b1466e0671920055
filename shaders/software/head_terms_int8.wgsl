// head_terms_int8 — thirty-two products of a row in int8

const VECTORS: u32 = 4u;

fn terms(at: u32, x: Eight) -> vec4<f32> {
    return term(at, Step(x.a, x.b, x.c, x.d)) + term(at + 1u, Step(x.e, x.f, x.g, x.h));
}

const UNIT: f32 = 0x1p-24f;

// Four codes times 2^24, which is exact: a byte at the top of a word needs no sign extension, and lavapipe has no
// instruction for that.
fn bytes(word: u32) -> vec4<f32> {
    let top = (vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) & vec4<u32>(0xff000000u);
    return vec4<f32>(bitcast<vec4<i32>>(top));
}
