// base3_nodot — eighty trits in base 3 times as many activations, two rows a multiplication
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older than
// 2019. Rows go in pairs as row_pairs says: a byte of each lies in a half, both are tripled at once, and their carries
// are a pair of codes already. AMD's compiler makes 3.4 vector instructions a weight of gemv_base3 with this for
// vega10, 60 registers and 4 waves; with base3_dot 4.8, 108 and 2.

fn bytes(i: u32) -> vec4<u32> {
    return int8s(i) ^ vec4<u32>(UNSIGNED);
}

// Sums of two rows: of terms and of codes.
struct Two { terms: u32, codes: u32 }

// Five terms of each row, from one byte of each: x holds a byte of five words of activations, the last one apart.
fn five(bytes: u32, x: vec4<u32>, last: u32) -> Two {
    let t0 = triple(bytes);
    let t1 = triple(t0);
    let t2 = triple(t1);
    let t3 = triple(t2);
    let t4 = triple(t3);
    let c0 = (t0 >> 8u) & PAIR;
    let c1 = (t1 >> 8u) & PAIR;
    let c2 = (t2 >> 8u) & PAIR;
    let c3 = (t3 >> 8u) & PAIR;
    let c4 = (t4 >> 8u) & PAIR;
    return Two(c0 * x.x + c1 * x.y + c2 * x.z + c3 * x.w + c4 * last, c0 + c1 + c2 + c3 + c4);
}

// Twenty terms of each row: a word of each, and five words of activations, the last one apart.
fn twenty(w0: u32, w1: u32, x: vec4<u32>, last: u32) -> Two {
    let low = low_halves(w0, w1);
    let high = high_halves(w0, w1);
    let byte = vec4<u32>(255u);
    let a = five(low, x & byte, last & 255u);
    let b = five(low >> 8u, (x >> vec4<u32>(8u)) & byte, (last >> 8u) & 255u);
    let c = five(high, (x >> vec4<u32>(16u)) & byte, (last >> 16u) & 255u);
    let d = five(high >> 8u, x >> vec4<u32>(24u), last >> 24u);
    return Two(a.terms + b.terms + c.terms + d.terms, a.codes + b.codes + c.codes + d.codes);
}

// Eighty terms of two rows: five vectors of activations, cut into four times five words.
fn pair(v0: vec4<u32>, v1: vec4<u32>, x: Step) -> vec2<i32> {
    let a = twenty(v0.x, v1.x, x[0], x[1].x);
    let b = twenty(v0.y, v1.y, vec4<u32>(x[1].yzw, x[2].x), x[2].y);
    let c = twenty(v0.z, v1.z, vec4<u32>(x[2].zw, x[3].xy), x[3].z);
    let d = twenty(v0.w, v1.w, vec4<u32>(x[3].w, x[4].xyz), x[4].w);
    return both(a.terms + b.terms + c.terms + d.terms) - 128 * both(a.codes + b.codes + c.codes + d.codes);
}

fn plus(a: Sums, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, x: Step) -> Sums {
    return a + vec4<i32>(pair(v0, v1, x), pair(v2, v3, x));
}
