// f32 — four floats a step, or one of a row that does not start at a vector

alias Vector = vec4<f32>;
alias Step = vec4<f32>;

fn row_length() -> u32 {
    return p.length;
}

// Rows start at vectors if and only if they are whole vectors.
fn steps() -> u32 {
    return select(0u, p.length >> 2u, (p.length & 3u) == 0u);
}

fn weights(row: u32, k: u32) -> vec4<f32> {
    return w[(row >> 2u) + k];
}

fn activations(k: u32) -> Step {
    return x[k];
}

fn term(v: Vector, x: Step) -> vec4<f32> {
    return v * x;
}

fn weight_at(i: u32) -> f32 {
    return w[i >> 2u][i & 3u];
}

fn rest(rows: vec4<u32>, lane: u32, stride: u32) -> vec4<f32> {
    var a = vec4<f32>(0.0);
    for (var k = 4u * steps() + lane; k < p.length; k += stride) {
        let one = x[k >> 2u][k & 3u];
        a += one * vec4<f32>(weight_at(rows.x + k), weight_at(rows.y + k), weight_at(rows.z + k), weight_at(rows.w + k));
    }
    return a;
}
