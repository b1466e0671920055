// attention_scores — products of an invocation's four queries with thirty-two keys, for attention_tile and attention_dq_tile

struct Scores { near: Four, far: Four }

// `at` is where each query begins in q, `place` where this lane's four keys begin in k: two near ones and two far ones.
fn scores(at: vec4<u32>, place: vec4<u32>, vectors: u32) -> Scores {
    var near = Four();
    var far = Four();
    for (var i = 0u; i < vectors; i++) {
        let rows = mat4x4<f32>(q[at.x + i], q[at.y + i], q[at.z + i], q[at.w + i]);
        near = all_scored(near, rows, sixteen(key_at(place.x + i), key_at(place.y + i)));
        far = all_scored(far, rows, sixteen(key_at(place.z + i), key_at(place.w + i)));
    }
    return Scores(near, far);
}

// Scores of four queries with keys from the first on.
fn all_causal(s: Four, first: u32, seen: vec4<u32>) -> Four {
    return Four(
        causal(p.scale * s.a, first, seen.x), causal(p.scale * s.b, first, seen.y),
        causal(p.scale * s.c, first, seen.z), causal(p.scale * s.d, first, seen.w));
}
