// base3_dot — eighty trits in base 3 times as many activations, by integer dot products
//
// The bytes of a word are decoded 16 bits apart, and codes 4d .. 4d + 3 come out as four bytes.

fn bytes(i: u32) -> vec4<u32> {
    return int8s(i);
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

// Five vectors of activations, cut into four times five words.
fn term(v: vec4<u32>, x: Step) -> i32 {
    return dot20(v.x, x[0], x[1].x)
        + dot20(v.y, vec4<u32>(x[1].yzw, x[2].x), x[2].y)
        + dot20(v.z, vec4<u32>(x[2].zw, x[3].xy), x[3].z)
        + dot20(v.w, vec4<u32>(x[3].w, x[4].xyz), x[4].w);
}
