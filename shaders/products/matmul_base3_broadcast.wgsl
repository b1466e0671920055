// matmul_base3_broadcast — matmul_base3 with 4 rows per invocation and shared activations
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, 4 * vectors]    read    base-3 trits, eighty a vector
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes
// loads 80 activations of one batch row, spreads them into pairs, and the others take them from it. The two halves
// of a word in which base 3 is decoded are pairs of codes already, and are decoded once for COLUMNS batch rows.
// With 2, 4 or 8 of those the lanes hold the activations of 4, 2 or 1 vectors.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation, COLUMNS batch rows per workgroup.
// Moves    as matmul_base3.
// Does     as matmul_base3.
// Twin     reference::matmul_base3 — equal.

override WG: u32 = 8u;
// 2, 4 or 8.
override COLUMNS: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { batch: u32, rows: u32, vectors: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// A vector of each of four rows.
struct Rows { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

// Those of up to four places that follow each other.
alias Weights = array<Rows, 4>;

// Both halves of one word of each of the four rows, as far as they are decoded.
struct Halves { even: vec4<u32>, odd: vec4<u32> }

// Those of each place.
alias Words = array<Halves, 4>;

// Four sums, one a row, for each lane whose activations are broadcast.
alias Sums = array<vec4<i32>, 8>;

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
    let i = starts + min(k, p.vectors - 1u);
    return Rows(w[i.x], w[i.y], w[i.z], w[i.w]);
}

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn activations(start: u32, k: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[start + min(k, p.words - 1u)], k < p.words);
}

fn store(b: u32, row: u32, value: vec4<i32>) {
    if b >= p.batch { return; }
    let at = b * p.rows + row;
    let whole = sum[b];
    if row < p.rows { acc[at] = value.x - whole; }
    if row + 1u < p.rows { acc[at + 1u] = value.y - whole; }
    if row + 2u < p.rows { acc[at + 2u] = value.z - whole; }
    if row + 3u < p.rows { acc[at + 3u] = value.w - whole; }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let index = group_index(group, groups);
    let blocks = (p.batch + COLUMNS - 1u) / COLUMNS;
    let row = (index / blocks * WG + lane) * TILE_X;
    let b = index % blocks * COLUMNS;
    let starts = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * p.vectors;
    let mine = subgroup_lane & 7u;
    let start = min(b + mine % COLUMNS, p.batch - 1u) * p.words;
    let share = mine / COLUMNS;
    var a = Sums();
    for (var k = 0u; k < p.vectors; k += 8u / COLUMNS) {
        var v = Weights();
        v[0] = rows_at(starts, k);
        if COLUMNS < 8u { v[1] = rows_at(starts, k + 1u); }
        if COLUMNS < 4u {
            v[2] = rows_at(starts, k + 2u);
            v[3] = rows_at(starts, k + 3u);
        }
        let at = 5u * (k + share);
        add(&a, &v, activations(start, at), activations(start, at + 1u), activations(start, at + 2u),
            activations(start, at + 3u), activations(start, at + 4u));
    }
    store(b, row, a[0]);
    store(b + 1u, row, a[1]);
    if COLUMNS > 2u {
        store(b + 2u, row, a[2]);
        store(b + 3u, row, a[3]);
    }
    if COLUMNS > 4u {
        store(b + 4u, row, a[4]);
        store(b + 5u, row, a[5]);
        store(b + 6u, row, a[6]);
        store(b + 7u, row, a[7]);
    }
}
