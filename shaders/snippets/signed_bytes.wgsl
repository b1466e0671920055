// signed_bytes — four int8 of a word as floats, in units of UNIT

const UNIT: f32 = 1.0;

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}
