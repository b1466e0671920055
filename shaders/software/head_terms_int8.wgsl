// head_terms_int8 — thirty-two products of a row in int8

const VECTORS: u32 = 4u;

fn terms(at: u32, x: Eight) -> vec4<f32> {
    return term(at, Step(x.a, x.b, x.c, x.d)) + term(at + 1u, Step(x.e, x.f, x.g, x.h));
}
