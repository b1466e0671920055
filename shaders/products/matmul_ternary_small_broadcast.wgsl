// matmul_ternary_small_broadcast — matmul_ternary_small with 4 rows per invocation and shared activations
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes
// loads 16 activations of one batch row, spreads them into pairs, and the others take them from it. With 2, 4
// or 8 COLUMNS the lanes hold 4, 2 or 1 words of each batch row. A larger batch comes in blocks; past 16 rows the tile
// of 8 of them is the default.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation, COLUMNS batch rows per workgroup.
// Moves    as matmul_ternary.
// Does     as matmul_ternary.
// Twin     reference::matmul_ternary — equal.

override WG: u32 = 8u;
// 2, 4 or 8.
override COLUMNS: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { batch: u32, rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// One word of each of four rows, for four words that follow each other.
alias Words = array<vec4<u32>, 4>;

// Four sums, one a row, for each lane whose activations are broadcast.
alias Sums = array<vec4<i32>, 8>;

// One word of each of the four rows that start at these, 0 past their end.
fn words_at(starts: vec4<u32>, k: u32) -> vec4<u32> {
    let i = starts + min(k, p.words - 1u);
    let words = vec4<u32>(w[i.x >> 2u][i.x & 3u], w[i.y >> 2u][i.y & 3u],
                          w[i.z >> 2u][i.z & 3u], w[i.w >> 2u][i.w & 3u]);
    return select(vec4<u32>(0u), words, k < p.words);
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
    return q[start + min(k, p.words - 1u)];
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
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * p.words;
    let mine = subgroup_lane & 7u;
    let start = min(b + mine % COLUMNS, p.batch - 1u) * p.words;
    let share = mine / COLUMNS;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.words >> 2u, (p.words & 3u) == 0u);
    let v = rows >> vec4<u32>(2u);
    var a = Sums();
    for (var k = 0u; k < vectors; k++) {
        let four0 = w[v.x + k];
        let four1 = w[v.y + k];
        let four2 = w[v.z + k];
        let four3 = w[v.w + k];
        var c = Words(vec4<u32>(four0.x, four1.x, four2.x, four3.x), vec4<u32>(four0.y, four1.y, four2.y, four3.y),
                      vec4<u32>(four0.z, four1.z, four2.z, four3.z), vec4<u32>(four0.w, four1.w, four2.w, four3.w));
        add(&a, &c, start, 4u * k + share);
    }
    for (var k = 4u * vectors; k < p.words; k += 4u) {
        var c = Words(words_at(rows, k), words_at(rows, k + 1u), words_at(rows, k + 2u), words_at(rows, k + 3u));
        add(&a, &c, start, k + share);
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
