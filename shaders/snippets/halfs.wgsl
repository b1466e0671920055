// halfs — how eight halfs of a vector are read, on every adapter: WGSL unpacks pairs of them without its type f16.

fn low_halfs(v: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}

fn high_halfs(v: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w));
}
