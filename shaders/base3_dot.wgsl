// base3_dot — eighty trits in base 3 times as many activations, for lanes that each take a vector of weights.
//
// For kernels with base3 that declare p { words } and q, vectors of int8 activations.

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn activations(i: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[min(i, p.words - 1u)], i < p.words);
}

// Twenty terms: x is the activations' words, the last one apart.
fn dot20(word: u32, x: vec4<u32>, last: u32) -> i32 {
    var even = triple(word);
    var odd = triple(word >> 8u);
    var total = dot4I8Packed(carries(even, odd), x.x);
    even = triple(even);
    odd = triple(odd);
    total += dot4I8Packed(carries(even, odd), x.y);
    even = triple(even);
    odd = triple(odd);
    total += dot4I8Packed(carries(even, odd), x.z);
    even = triple(even);
    odd = triple(odd);
    total += dot4I8Packed(carries(even, odd), x.w);
    even = triple(even);
    odd = triple(odd);
    return total + dot4I8Packed(carries(even, odd), last);
}

// Eighty terms: five vectors of activations, cut into four times five words.
fn dot80(v: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>, x4: vec4<u32>) -> i32 {
    return dot20(v.x, x0, x1.x)
        + dot20(v.y, vec4<u32>(x1.yzw, x2.x), x2.y)
        + dot20(v.z, vec4<u32>(x2.zw, x3.xy), x3.z)
        + dot20(v.w, vec4<u32>(x3.w, x4.xyz), x4.w);
}
