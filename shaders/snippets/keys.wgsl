// keys — how keys and values are read: vectors of four values, in f32 or in f16
//
// For kernels that declare HALF, k and v, vectors of words. With HALF = 1 a word holds two values in f16.

fn quarter(words: vec4<u32>, i: u32) -> vec4<f32> {
    let two = select(words.xy, words.zw, (i & 1u) == 1u);
    return vec4<f32>(unpack2x16float(two.x), unpack2x16float(two.y));
}

fn key_at(i: u32) -> vec4<f32> {
    if HALF == 1u { return quarter(k[i >> 1u], i); }
    return bitcast<vec4<f32>>(k[i]);
}

fn value_at(i: u32) -> vec4<f32> {
    if HALF == 1u { return quarter(v[i >> 1u], i); }
    return bitcast<vec4<f32>>(v[i]);
}
