// dot16 — sixteen products of int8, by integer dot products

fn dot16(v: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(v.x, x.x) + dot4I8Packed(v.y, x.y) + dot4I8Packed(v.z, x.z) + dot4I8Packed(v.w, x.w);
}
