// ternary_pairs — two terms of a ternary dot product by one 32-bit multiplication.
//
// Codes i = 0 and i = 2 of a plane lie 16 bits apart, and so do 1 and 3. A pair of them, c0 + c2 B with
// B = 2^16, times a pair of activations, x2 + x0 B, is c0 x2 + (c0 x0 + c2 x2) B modulo B^2: the sum of two
// products stands in the upper half, and c0 x2 below is too small to disturb it. Eight such products
// make a word. The upper half grows by at most 4096 a word and the lower by 2048, so four words go
// into one total before it must be read. For adapters where dot4I8Packed is many operations.

const PAIR: u32 = 0x00030003u;

// x2 + x0 B of each plane's four activations x0 .. x3, packed.
fn even_pairs(x: vec4<u32>) -> vec4<i32> {
    let four = bitcast<vec4<i32>>(x);
    return ((four << vec4<u32>(24u)) >> vec4<u32>(8u)) + ((four << vec4<u32>(8u)) >> vec4<u32>(24u));
}

// x3 + x1 B of each plane's.
fn odd_pairs(x: vec4<u32>) -> vec4<i32> {
    return even_pairs(x >> vec4<u32>(8u));
}

fn pair(word: u32, shift: u32) -> i32 {
    return bitcast<i32>((word >> shift) & PAIR);
}

// Sixteen terms, to be added up by fours and then read.
fn pair_products(word: u32, even: vec4<i32>, odd: vec4<i32>) -> i32 {
    return pair(word, 0u) * even.x + pair(word, 8u) * odd.x
        + pair(word, 2u) * even.y + pair(word, 10u) * odd.y
        + pair(word, 4u) * even.z + pair(word, 12u) * odd.z
        + pair(word, 6u) * even.w + pair(word, 14u) * odd.w;
}

// The upper half of a total, rounded: what stands below it may be negative.
fn pair_total(products: i32) -> i32 {
    return (products + 0x8000) >> 16u;
}
