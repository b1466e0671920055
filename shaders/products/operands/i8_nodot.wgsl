// i8_nodot — sixteen bytes a step, as floats
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older than
// 2019, which multiply floats four times as fast as such integers. Sixteen products add up to less than 2^24, so their
// sum is exact as a float. AMD's compiler makes 2.8 vector instructions a weight of gemv_i8 with this for vega10, as
// many as with i8, but none of them slow: its estimate of the time is 0.48.

alias Step = mat4x4<f32>;

fn floats(four: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(four));
}

fn activations(k: u32) -> Step {
    let sixteen = q[k];
    return Step(floats(sixteen.x), floats(sixteen.y), floats(sixteen.z), floats(sixteen.w));
}

fn term(v: vec4<u32>, x: Step) -> i32 {
    let t = floats(v.x) * x[0] + floats(v.y) * x[1] + floats(v.z) * x[2] + floats(v.w) * x[3];
    return i32((t.x + t.y) + (t.z + t.w));
}
