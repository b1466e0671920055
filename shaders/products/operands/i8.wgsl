// i8 — sixteen bytes a step

alias Step = vec4<u32>;

fn activations(k: u32) -> Step {
    return q[k];
}

fn term(v: vec4<u32>, x: Step) -> i32 {
    return dot4I8Packed(v.x, x.x) + dot4I8Packed(v.y, x.y) + dot4I8Packed(v.z, x.z) + dot4I8Packed(v.w, x.w);
}
