// head_terms_f32 — thirty-two products of a row in f32

const VECTORS: u32 = 1u;

fn terms(at: u32, x: Eight) -> vec4<f32> {
    return ((term(at, x.a) + term(at + 1u, x.b)) + (term(at + 2u, x.c) + term(at + 3u, x.d)))
        + ((term(at + 4u, x.e) + term(at + 5u, x.f)) + (term(at + 6u, x.g) + term(at + 7u, x.h)));
}
