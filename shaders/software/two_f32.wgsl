// two_f32 — the sums of two rows whose terms are floats, four at a time until the end

alias Sum = f32;
alias Two = mat2x4<f32>;

fn both_sums(a: Two) -> vec2<f32> {
    return vec4<f32>(1.0) * a;
}
