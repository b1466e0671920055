// sigmoid — 1 / (1 + exp(-x)). No exponential is larger than 1.

fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}
