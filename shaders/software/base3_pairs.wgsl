// base3_pairs — eighty trits in base 3 of four rows times as many activations, two terms a multiplication
//
// The two halves of a word in which base 3 is decoded are pairs of codes already, as ternary_pairs multiplies them.

alias Sum = i32;
alias Sums = vec4<i32>;
alias Each = vec4<i32>;
struct Step { even: array<vec4<i32>, 5>, odd: array<vec4<i32>, 5> }

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn int8s(i: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[min(i, p.words - 1u)], i < p.words);
}

fn activations(k: u32) -> Step {
    let x0 = int8s(5u * k);
    let x1 = int8s(5u * k + 1u);
    let x2 = int8s(5u * k + 2u);
    let x3 = int8s(5u * k + 3u);
    let x4 = int8s(5u * k + 4u);
    return Step(
        array<vec4<i32>, 5>(even_pairs(x0), even_pairs(x1), even_pairs(x2), even_pairs(x3), even_pairs(x4)),
        array<vec4<i32>, 5>(odd_pairs(x0), odd_pairs(x1), odd_pairs(x2), odd_pairs(x3), odd_pairs(x4)));
}

fn tripled(half: vec4<u32>) -> vec4<u32> {
    return 3u * (half & vec4<u32>(BYTES));
}

// Pairs of codes of four rows, carried out of one half, times a pair of activations.
fn pairs(half: vec4<u32>, x: i32) -> vec4<i32> {
    return bitcast<vec4<i32>>((half >> vec4<u32>(8u)) & vec4<u32>(PAIR)) * x;
}

// Twenty terms of each of four rows: a word of each, and five words of activations in pairs, the last one apart.
fn products(words: vec4<u32>, even: vec4<i32>, last_even: i32, odd: vec4<i32>, last_odd: i32) -> vec4<i32> {
    var e = tripled(words);
    var o = tripled(words >> vec4<u32>(8u));
    var total = pairs(e, even.x) + pairs(o, odd.x);
    e = tripled(e);
    o = tripled(o);
    total += pairs(e, even.y) + pairs(o, odd.y);
    e = tripled(e);
    o = tripled(o);
    total += pairs(e, even.z) + pairs(o, odd.z);
    e = tripled(e);
    o = tripled(o);
    total += pairs(e, even.w) + pairs(o, odd.w);
    e = tripled(e);
    o = tripled(o);
    return total + (pairs(e, last_even) + pairs(o, last_odd));
}


// Eighty terms of each, so many as a total may hold.
fn plus(a: Sums, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, x: Step) -> Sums {
    let e = x.even;
    let o = x.odd;
    var t = products(vec4<u32>(v0.x, v1.x, v2.x, v3.x), e[0], e[1].x, o[0], o[1].x);
    t += products(vec4<u32>(v0.y, v1.y, v2.y, v3.y), vec4<i32>(e[1].yzw, e[2].x), e[2].y, vec4<i32>(o[1].yzw, o[2].x), o[2].y);
    t += products(vec4<u32>(v0.z, v1.z, v2.z, v3.z), vec4<i32>(e[2].zw, e[3].xy), e[3].z, vec4<i32>(o[2].zw, o[3].xy), o[3].z);
    t += products(vec4<u32>(v0.w, v1.w, v2.w, v3.w), vec4<i32>(e[3].w, e[4].xyz), e[4].w, vec4<i32>(o[3].w, o[4].xyz), o[4].w);
    return a + vec4<i32>(pair_total(t.x), pair_total(t.y), pair_total(t.z), pair_total(t.w));
}

fn totals(a: Sums) -> Each {
    return a;
}

fn each(rows: vec4<i32>) -> Each {
    return rows;
}
