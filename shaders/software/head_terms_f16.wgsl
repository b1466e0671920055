// head_terms_f16 — thirty-two products of a row in f16

const VECTORS: u32 = 2u;

fn terms(at: u32, x: Eight) -> vec4<f32> {
    return (term(at, Step(x.a, x.b)) + term(at + 1u, Step(x.c, x.d)))
        + (term(at + 2u, Step(x.e, x.f)) + term(at + 3u, Step(x.g, x.h)));
}
