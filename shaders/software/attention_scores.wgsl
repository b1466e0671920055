// attention_scores — the products of an invocation's four queries with sixteen keys, for attention_tile and attention_dq_tile

// What each of four queries has for sixteen keys.
struct Four { a: mat4x4<f32>, b: mat4x4<f32>, c: mat4x4<f32>, d: mat4x4<f32> }

// `at` is where each query begins in q, `place` where this lane's two keys begin in k.
fn scores(at: vec4<u32>, place: vec2<u32>, vectors: u32) -> Four {
    var s = Four();
    for (var i = 0u; i < vectors; i++) {
        let others = sixteen(k[place.x + i], k[place.y + i]);
        s.a = scored(s.a, q[at.x + i], others);
        s.b = scored(s.b, q[at.y + i], others);
        s.c = scored(s.c, q[at.z + i], others);
        s.d = scored(s.d, q[at.w + i], others);
    }
    return s;
}
