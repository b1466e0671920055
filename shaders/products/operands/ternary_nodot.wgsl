// ternary_nodot — words of codes times activations, two rows a multiplication
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older than
// 2019. AMD's compiler makes 1.9 vector instructions a weight of gemv_ternary with this for vega10, 64 registers and 4
// waves; with ternary_dot 3.4, 128 and 2. Rows go in pairs as row_pairs says. A pair of codes two bits higher counts four
// times and has a sum of its own, which saves every second shift.

fn bytes(k: u32) -> vec4<u32> {
    return q[k] ^ vec4<u32>(UNSIGNED);
}

// Pairs of codes, two bits up in their halves.
const PAIR_4: u32 = 0x000c000cu;

// Sums of two rows, and those that count four times.
struct Two { once: u32, four: u32 }

// Eight terms of each row: half of a word's codes, times two bytes of each word of activations.
fn eight(t: u32, x: vec4<u32>, shift: u32) -> Two {
    let u = (x >> vec4<u32>(shift)) & vec4<u32>(255u);
    let v = (x >> vec4<u32>(shift + 8u)) & vec4<u32>(255u);
    return Two(
        (t & PAIR) * u.x + ((t >> 4u) & PAIR) * u.z + ((t >> 8u) & PAIR) * v.x + ((t >> 12u) & PAIR) * v.z,
        (t & PAIR_4) * u.y + ((t >> 4u) & PAIR_4) * u.w + ((t >> 8u) & PAIR_4) * v.y + ((t >> 12u) & PAIR_4) * v.w);
}

// Sixteen terms of each row.
fn sixteen(w0: u32, w1: u32, x: vec4<u32>) -> Two {
    let low = eight(low_halves(w0, w1), x, 0u);
    let high = eight(high_halves(w0, w1), x, 16u);
    return Two(low.once + high.once, low.four + high.four);
}

// Up to 64 terms: so many of those that count four times fill a half.
fn total(once: u32, four: u32, codes: vec2<u32>) -> vec2<i32> {
    return both(once + (four >> 2u)) - 128 * vec2<i32>(codes);
}

// Sixty-four terms of two rows.
fn pair(v0: vec4<u32>, v1: vec4<u32>, x: Step) -> vec2<i32> {
    let a = sixteen(v0.x, v1.x, x[0]);
    let b = sixteen(v0.y, v1.y, x[1]);
    let c = sixteen(v0.z, v1.z, x[2]);
    let d = sixteen(v0.w, v1.w, x[3]);
    let codes = vec2<u32>(code_sum(v0.x) + code_sum(v0.y) + code_sum(v0.z) + code_sum(v0.w),
                          code_sum(v1.x) + code_sum(v1.y) + code_sum(v1.z) + code_sum(v1.w));
    return total(a.once + b.once + c.once + d.once, a.four + b.four + c.four + d.four, codes);
}

fn plus(a: Sums, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, x: Step) -> Sums {
    return a + vec4<i32>(pair(v0, v1, x), pair(v2, v3, x));
}

// A word of each of four rows.
fn sixteen_each(words: vec4<u32>, x: vec4<u32>) -> vec4<i32> {
    let a = sixteen(words.x, words.y, x);
    let b = sixteen(words.z, words.w, x);
    return vec4<i32>(total(a.once, a.four, vec2<u32>(code_sum(words.x), code_sum(words.y))),
                     total(b.once, b.four, vec2<u32>(code_sum(words.z), code_sum(words.w))));
}
