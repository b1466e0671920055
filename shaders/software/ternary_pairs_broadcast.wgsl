// ternary_pairs_broadcast — words of codes of two rows times activations that are broadcast as pairs
//
// Two terms a multiplication, as ternary_pairs says. Four words at a time: so many as a total may hold.

alias Two = vec2<i32>;
struct Pairs { even: vec4<i32>, odd: vec4<i32> }

fn row_length() -> u32 {
    return p.length;
}

// Rows start at vectors if and only if they are whole vectors.
fn broadcasts() -> u32 {
    return select(0u, p.length, (p.length & 3u) == 0u);
}

fn share(k: u32) -> Pairs {
    return Pairs(even_pairs(q[k]), odd_pairs(q[k]));
}

fn products(word: u32, x: Pairs) -> i32 {
    return pair_products(word, x.even, x.odd);
}

fn four(v: vec4<u32>, x0: Pairs, x1: Pairs, x2: Pairs, x3: Pairs) -> i32 {
    return pair_total(products(v.x, x0) + products(v.y, x1) + products(v.z, x2) + products(v.w, x3));
}

fn eight(a: Two, rows: vec2<u32>, k: u32, x: Pairs) -> Two {
    let i = (rows + k) >> vec2<u32>(2u);
    let low = w[i.x];
    let high = w[i.x + 1u];
    let next_low = w[i.y];
    let next_high = w[i.y + 1u];
    let x0 = Pairs(subgroupBroadcast(x.even, 0u), subgroupBroadcast(x.odd, 0u));
    let x1 = Pairs(subgroupBroadcast(x.even, 1u), subgroupBroadcast(x.odd, 1u));
    let x2 = Pairs(subgroupBroadcast(x.even, 2u), subgroupBroadcast(x.odd, 2u));
    let x3 = Pairs(subgroupBroadcast(x.even, 3u), subgroupBroadcast(x.odd, 3u));
    let x4 = Pairs(subgroupBroadcast(x.even, 4u), subgroupBroadcast(x.odd, 4u));
    let x5 = Pairs(subgroupBroadcast(x.even, 5u), subgroupBroadcast(x.odd, 5u));
    let x6 = Pairs(subgroupBroadcast(x.even, 6u), subgroupBroadcast(x.odd, 6u));
    let x7 = Pairs(subgroupBroadcast(x.even, 7u), subgroupBroadcast(x.odd, 7u));
    return Two(a.x + four(low, x0, x1, x2, x3) + four(high, x4, x5, x6, x7),
               a.y + four(next_low, x0, x1, x2, x3) + four(next_high, x4, x5, x6, x7));
}

fn word_at(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
}

fn finish(a: Two, rows: vec2<u32>, first: u32) -> vec2<i32> {
    var sums = a;
    for (var k = first; k < p.length; k++) {
        let x = share(k);
        sums += Two(pair_total(products(word_at(rows.x + k), x)), pair_total(products(word_at(rows.y + k), x)));
    }
    return sums;
}
