// f16 — eight halfs a step

alias Vector = vec4<u32>;
struct Step { low: vec4<f32>, high: vec4<f32> }

fn activations(k: u32) -> Step {
    let eight = x[k];
    return Step(low_halfs(eight), high_halfs(eight));
}

fn term(v: Vector, x: Step) -> vec4<f32> {
    return low_halfs(v) * x.low + high_halfs(v) * x.high;
}
