// bitplane — the product of 64 trits with 64 trits as counts of bits.

// A vector: two words of bits that say which trits are not zero, two that say which of those are -1.
fn dot64(w: vec4<u32>, x: vec4<u32>) -> i32 {
    let nonzero = w.xy & x.xy;
    let negative = nonzero & (w.zw ^ x.zw);
    let terms = vec2<i32>(countOneBits(nonzero));
    let minus = vec2<i32>(countOneBits(negative));
    return (terms.x + terms.y) - 2 * (minus.x + minus.y);
}
