// small_ternary_broadcast — four words of codes of four rows, two terms a multiplication of small_broadcast

alias Four = vec4<i32>;

fn row_length() -> u32 {
    return p.length;
}

fn batch_length() -> u32 {
    return p.length;
}

// One word of each of four rows, for four words that follow each other.
alias Words = array<vec4<u32>, 4>;

// One word of each of the four rows that start at these, 0 past their end.
fn words_at(starts: vec4<u32>, k: u32) -> vec4<u32> {
    let i = starts + min(k, p.length - 1u);
    let words = vec4<u32>(w[i.x >> 2u][i.x & 3u], w[i.y >> 2u][i.y & 3u],
                          w[i.z >> 2u][i.z & 3u], w[i.w >> 2u][i.w & 3u]);
    return select(vec4<u32>(0u), words, k < p.length);
}

// Sixteen terms of each of the four rows.
fn products(words: vec4<u32>, even: vec4<i32>, odd: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(pair_products(words.x, even, odd), pair_products(words.y, even, odd),
                     pair_products(words.z, even, odd), pair_products(words.w, even, odd));
}

fn totals(t: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(pair_total(t.x), pair_total(t.y), pair_total(t.z), pair_total(t.w));
}

// Sixteen activations of each of eight lanes times the words they belong to: lane j holds word j / COLUMNS after
// the first.
fn add_eight(t: ptr<function, Sums>, c: ptr<function, Words>, first: u32, x: vec4<u32>) {
    let even = even_pairs(x);
    let odd = odd_pairs(x);
    (*t)[0] += products((*c)[first], subgroupBroadcast(even, 0u), subgroupBroadcast(odd, 0u));
    (*t)[1] += products((*c)[first + 1u / COLUMNS], subgroupBroadcast(even, 1u), subgroupBroadcast(odd, 1u));
    (*t)[2] += products((*c)[first + 2u / COLUMNS], subgroupBroadcast(even, 2u), subgroupBroadcast(odd, 2u));
    (*t)[3] += products((*c)[first + 3u / COLUMNS], subgroupBroadcast(even, 3u), subgroupBroadcast(odd, 3u));
    (*t)[4] += products((*c)[first + 4u / COLUMNS], subgroupBroadcast(even, 4u), subgroupBroadcast(odd, 4u));
    (*t)[5] += products((*c)[first + 5u / COLUMNS], subgroupBroadcast(even, 5u), subgroupBroadcast(odd, 5u));
    (*t)[6] += products((*c)[first + 6u / COLUMNS], subgroupBroadcast(even, 6u), subgroupBroadcast(odd, 6u));
    (*t)[7] += products((*c)[first + 7u / COLUMNS], subgroupBroadcast(even, 7u), subgroupBroadcast(odd, 7u));
}

// This lane's activations, of word k plus its own share; those past the end meet words that are 0.
fn activations(start: u32, k: u32) -> vec4<u32> {
    return q[start + min(k, p.length - 1u)];
}

// Four words of each row, from word k on, for every batch row: so many as a total may hold.
fn add(a: ptr<function, Sums>, c: ptr<function, Words>, start: u32, k: u32) {
    var t = Sums();
    add_eight(&t, c, 0u, activations(start, k));
    if COLUMNS == 2u {
        (*a)[0] += totals((t[0] + t[2]) + (t[4] + t[6]));
        (*a)[1] += totals((t[1] + t[3]) + (t[5] + t[7]));
    } else if COLUMNS == 4u {
        add_eight(&t, c, 2u, activations(start, k + 2u));
        (*a)[0] += totals(t[0] + t[4]);
        (*a)[1] += totals(t[1] + t[5]);
        (*a)[2] += totals(t[2] + t[6]);
        (*a)[3] += totals(t[3] + t[7]);
    } else {
        add_eight(&t, c, 1u, activations(start, k + 1u));
        add_eight(&t, c, 2u, activations(start, k + 2u));
        add_eight(&t, c, 3u, activations(start, k + 3u));
        (*a)[0] += totals(t[0]);
        (*a)[1] += totals(t[1]);
        (*a)[2] += totals(t[2]);
        (*a)[3] += totals(t[3]);
        (*a)[4] += totals(t[4]);
        (*a)[5] += totals(t[5]);
        (*a)[6] += totals(t[6]);
        (*a)[7] += totals(t[7]);
    }
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, start: u32, share: u32) {
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.length >> 2u, (p.length & 3u) == 0u);
    let v = starts >> vec4<u32>(2u);
    for (var k = 0u; k < vectors; k++) {
        let four0 = w[v.x + k];
        let four1 = w[v.y + k];
        let four2 = w[v.z + k];
        let four3 = w[v.w + k];
        var c = Words(vec4<u32>(four0.x, four1.x, four2.x, four3.x), vec4<u32>(four0.y, four1.y, four2.y, four3.y),
                      vec4<u32>(four0.z, four1.z, four2.z, four3.z), vec4<u32>(four0.w, four1.w, four2.w, four3.w));
        add(a, &c, start, 4u * k + share);
    }
    for (var k = 4u * vectors; k < p.length; k += 4u) {
        var c = Words(words_at(starts, k), words_at(starts, k + 1u), words_at(starts, k + 2u), words_at(starts, k + 3u));
        add(a, &c, start, k + share);
    }
}
