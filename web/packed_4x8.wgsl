
// The built-in functions of the WGSL feature packed_4x8_integer_dot_product, for browsers without it. A page appends
// this text to a shader there. A function of a module hides the built-in function of the same name.

fn sterna_byte(x: u32, i: u32) -> i32 {
    return bitcast<i32>(x << (24u - 8u * i)) >> 24u;
}

fn unpack4xI8(x: u32) -> vec4<i32> {
    return vec4<i32>(sterna_byte(x, 0u), sterna_byte(x, 1u), sterna_byte(x, 2u), sterna_byte(x, 3u));
}

fn unpack4xU8(x: u32) -> vec4<u32> {
    return vec4<u32>(x & 0xffu, (x >> 8u) & 0xffu, (x >> 16u) & 0xffu, x >> 24u);
}

fn pack4xI8(v: vec4<i32>) -> u32 {
    let b = bitcast<vec4<u32>>(v) & vec4<u32>(0xffu);
    return b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
}

fn dot4I8Packed(x: u32, y: u32) -> i32 {
    let a = unpack4xI8(x);
    let b = unpack4xI8(y);
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}
