// pinned — a product that is rounded where it stands.
//
// WGSL allows drivers to multiply floats in another order than is written, which rounds otherwise. No product can be
// moved past a bound that the compiler cannot prove to be idle.

// x, which lies within the bound.
fn pinned(x: vec4<f32>, bound: f32) -> vec4<f32> {
    return clamp(x, vec4<f32>(-bound), vec4<f32>(bound));
}
