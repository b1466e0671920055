// small_base3_broadcast — eighty trits in base 3 of four rows a place, two terms a multiplication of small_broadcast

alias Four = vec4<i32>;

fn row_length() -> u32 {
    return p.length;
}

fn batch_length() -> u32 {
    return p.words;
}

// A vector of each of four rows.
struct Rows { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

// Those of up to four places that follow each other.
alias Weights = array<Rows, 4>;

// Both halves of one word of each of the four rows, as far as they are decoded.
struct Halves { even: vec4<u32>, odd: vec4<u32> }

// Those of each place.
alias Words = array<Halves, 4>;

fn tripled(h: Halves) -> Halves {
    return Halves(3u * (h.even & vec4<u32>(BYTES)), 3u * (h.odd & vec4<u32>(BYTES)));
}

// Four terms of each of the four rows: a pair of the even bytes and one of the odd ones.
fn products(h: Halves, even: i32, odd: i32) -> vec4<i32> {
    return bitcast<vec4<i32>>((h.even >> vec4<u32>(8u)) & vec4<u32>(PAIR)) * even
        + bitcast<vec4<i32>>((h.odd >> vec4<u32>(8u)) & vec4<u32>(PAIR)) * odd;
}

// The next digit of the words times the activations of eight lanes: lane j holds those of place j / COLUMNS.
fn add_digit(t: ptr<function, Sums>, h: ptr<function, Words>, even: i32, odd: i32) {
    (*h)[0] = tripled((*h)[0]);
    if COLUMNS < 8u { (*h)[1] = tripled((*h)[1]); }
    if COLUMNS < 4u {
        (*h)[2] = tripled((*h)[2]);
        (*h)[3] = tripled((*h)[3]);
    }
    (*t)[0] += products((*h)[0], subgroupBroadcast(even, 0u), subgroupBroadcast(odd, 0u));
    (*t)[1] += products((*h)[0], subgroupBroadcast(even, 1u), subgroupBroadcast(odd, 1u));
    (*t)[2] += products((*h)[2u / COLUMNS], subgroupBroadcast(even, 2u), subgroupBroadcast(odd, 2u));
    (*t)[3] += products((*h)[3u / COLUMNS], subgroupBroadcast(even, 3u), subgroupBroadcast(odd, 3u));
    (*t)[4] += products((*h)[4u / COLUMNS], subgroupBroadcast(even, 4u), subgroupBroadcast(odd, 4u));
    (*t)[5] += products((*h)[5u / COLUMNS], subgroupBroadcast(even, 5u), subgroupBroadcast(odd, 5u));
    (*t)[6] += products((*h)[6u / COLUMNS], subgroupBroadcast(even, 6u), subgroupBroadcast(odd, 6u));
    (*t)[7] += products((*h)[7u / COLUMNS], subgroupBroadcast(even, 7u), subgroupBroadcast(odd, 7u));
}

// A word of each of the four rows: all five digits, which meet four words of activations and a last one.
fn add_word(t: ptr<function, Sums>, h: ptr<function, Words>, even: vec4<i32>, last_even: i32, odd: vec4<i32>, last_odd: i32) {
    add_digit(t, h, even.x, odd.x);
    add_digit(t, h, even.y, odd.y);
    add_digit(t, h, even.z, odd.z);
    add_digit(t, h, even.w, odd.w);
    add_digit(t, h, last_even, last_odd);
}

fn halves(x: u32, y: u32, z: u32, w: u32) -> Halves {
    let words = vec4<u32>(x, y, z, w);
    return Halves(words, words >> vec4<u32>(8u));
}

// Eighty terms of each row at each place, so many as a total may hold: 80 of at most 256 in its upper half.
fn add(a: ptr<function, Sums>, v: ptr<function, Weights>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>, x4: vec4<u32>) {
    let even0 = even_pairs(x0);
    let odd0 = odd_pairs(x0);
    let even1 = even_pairs(x1);
    let odd1 = odd_pairs(x1);
    let even2 = even_pairs(x2);
    let odd2 = odd_pairs(x2);
    let even3 = even_pairs(x3);
    let odd3 = odd_pairs(x3);
    let even4 = even_pairs(x4);
    let odd4 = odd_pairs(x4);
    var t = Sums();
    var h = Words();
    for (var s = 0u; s < 8u / COLUMNS; s++) { h[s] = halves((*v)[s].r0.x, (*v)[s].r1.x, (*v)[s].r2.x, (*v)[s].r3.x); }
    add_word(&t, &h, even0, even1.x, odd0, odd1.x);
    for (var s = 0u; s < 8u / COLUMNS; s++) { h[s] = halves((*v)[s].r0.y, (*v)[s].r1.y, (*v)[s].r2.y, (*v)[s].r3.y); }
    add_word(&t, &h, vec4<i32>(even1.yzw, even2.x), even2.y, vec4<i32>(odd1.yzw, odd2.x), odd2.y);
    for (var s = 0u; s < 8u / COLUMNS; s++) { h[s] = halves((*v)[s].r0.z, (*v)[s].r1.z, (*v)[s].r2.z, (*v)[s].r3.z); }
    add_word(&t, &h, vec4<i32>(even2.zw, even3.xy), even3.z, vec4<i32>(odd2.zw, odd3.xy), odd3.z);
    for (var s = 0u; s < 8u / COLUMNS; s++) { h[s] = halves((*v)[s].r0.w, (*v)[s].r1.w, (*v)[s].r2.w, (*v)[s].r3.w); }
    add_word(&t, &h, vec4<i32>(even3.w, even4.xyz), even4.w, vec4<i32>(odd3.w, odd4.xyz), odd4.w);
    (*a)[0] += totals(t[0]);
    (*a)[1] += totals(t[1]);
    (*a)[2u % COLUMNS] += totals(t[2]);
    (*a)[3u % COLUMNS] += totals(t[3]);
    (*a)[4u % COLUMNS] += totals(t[4]);
    (*a)[5u % COLUMNS] += totals(t[5]);
    (*a)[6u % COLUMNS] += totals(t[6]);
    (*a)[7u % COLUMNS] += totals(t[7]);
}

fn totals(t: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(pair_total(t.x), pair_total(t.y), pair_total(t.z), pair_total(t.w));
}

// A vector of each of the rows that start at these; past their end the last one, which meets activations of 0.
fn rows_at(starts: vec4<u32>, k: u32) -> Rows {
    let i = starts + min(k, p.length - 1u);
    return Rows(w[i.x], w[i.y], w[i.z], w[i.w]);
}

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn activations(start: u32, k: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[start + min(k, p.words - 1u)], k < p.words);
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, start: u32, share: u32) {
    for (var k = 0u; k < p.length; k += 8u / COLUMNS) {
        var v = Weights();
        v[0] = rows_at(starts, k);
        if COLUMNS < 8u { v[1] = rows_at(starts, k + 1u); }
        if COLUMNS < 4u {
            v[2] = rows_at(starts, k + 2u);
            v[3] = rows_at(starts, k + 3u);
        }
        let at = 5u * (k + share);
        add(a, &v, activations(start, at), activations(start, at + 1u), activations(start, at + 2u),
            activations(start, at + 3u), activations(start, at + 4u));
    }
}
