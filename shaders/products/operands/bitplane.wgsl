// bitplane — sixty-four trits times as many, as counts of bits
//
// Of a vector two words of bits say which trits are not zero, and two which of those are -1.

alias Step = vec4<u32>;

fn activations(k: u32) -> Step {
    return x[k];
}

fn term(v: vec4<u32>, x: Step) -> i32 {
    let nonzero = v.xy & x.xy;
    let negative = nonzero & (v.zw ^ x.zw);
    let terms = vec2<i32>(countOneBits(nonzero));
    let minus = vec2<i32>(countOneBits(negative));
    return (terms.x + terms.y) - 2 * (minus.x + minus.y);
}
