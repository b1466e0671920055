// gemv_ternary_wide — gemv_ternary with 4 rows per invocation and two terms a multiplication
//
//   0  p    Params                  uniform
//   1  w    u32  [rows, words]      read    packed trits
//   2  q    u32  [1, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                read    sum of q
//   4  acc  i32  [1, rows]          write
//
// For software rasterisers: 64 activations, spread into pairs once, serve 4 rows, and no lane waits for
// another.
//
// Grid     TILE_X rows per invocation.
// Moves    as gemv_ternary.
// Does     as gemv_ternary.
// Twin     reference::gemv_ternary — equal.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// A single word of a row that does not start at a vector.
fn word_at(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
}

// Sixteen terms of each of the four rows.
fn products(words: vec4<u32>, even: vec4<i32>, odd: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(pair_products(words.x, even, odd), pair_products(words.y, even, odd),
                     pair_products(words.z, even, odd), pair_products(words.w, even, odd));
}

fn totals(t: vec4<i32>) -> vec4<i32> {
    return vec4<i32>(pair_total(t.x), pair_total(t.y), pair_total(t.z), pair_total(t.w));
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group_index(group, groups) * WG + lane) * TILE_X;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.words;
    let w1 = min(row + 1u, last) * p.words;
    let w2 = min(row + 2u, last) * p.words;
    let w3 = min(row + 3u, last) * p.words;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.words >> 2u, (p.words & 3u) == 0u);
    var a = vec4<i32>(0);
    for (var k = 0u; k < vectors; k++) {
        let four0 = w[(w0 >> 2u) + k];
        let four1 = w[(w1 >> 2u) + k];
        let four2 = w[(w2 >> 2u) + k];
        let four3 = w[(w3 >> 2u) + k];
        let x0 = q[4u * k];
        let even0 = even_pairs(x0);
        let odd0 = odd_pairs(x0);
        let x1 = q[4u * k + 1u];
        let even1 = even_pairs(x1);
        let odd1 = odd_pairs(x1);
        let x2 = q[4u * k + 2u];
        let even2 = even_pairs(x2);
        let odd2 = odd_pairs(x2);
        let x3 = q[4u * k + 3u];
        let even3 = even_pairs(x3);
        let odd3 = odd_pairs(x3);
        var t = vec4<i32>(0);
        t += products(vec4<u32>(four0.x, four1.x, four2.x, four3.x), even0, odd0);
        t += products(vec4<u32>(four0.y, four1.y, four2.y, four3.y), even1, odd1);
        t += products(vec4<u32>(four0.z, four1.z, four2.z, four3.z), even2, odd2);
        t += products(vec4<u32>(four0.w, four1.w, four2.w, four3.w), even3, odd3);
        a += totals(t);
    }
    for (var k = 4u * vectors; k < p.words; k++) {
        let x = q[k];
        let words = vec4<u32>(word_at(w0 + k), word_at(w1 + k), word_at(w2 + k), word_at(w3 + k));
        a += totals(products(words, even_pairs(x), odd_pairs(x)));
    }
    let whole = sum[0];
    acc[row] = a.x - whole;
    if row + 1u < p.rows { acc[row + 1u] = a.y - whole; }
    if row + 2u < p.rows { acc[row + 2u] = a.z - whole; }
    if row + 3u < p.rows { acc[row + 3u] = a.w - whole; }
}
