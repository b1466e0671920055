// gemv_base3_wide — gemv_base3 with 4 rows per invocation and two terms a multiplication
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    base-3 trits, eighty a vector
//   2  q    u32  [1, 4 * words]       read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                  read    sum of q
//   4  acc  i32  [1, rows]            write
//
// For software rasterisers: 80 activations, spread into pairs once, serve 4 rows, and no lane waits for another.
// The two halves of a word in which base 3 is decoded are pairs of codes already.
//
// Grid     TILE_X rows per invocation.
// Moves    as gemv_base3.
// Does     as gemv_base3.
// Twin     reference::gemv_base3 — equal.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { rows: u32, vectors: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn activations(i: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[min(i, p.words - 1u)], i < p.words);
}

fn tripled(half: vec4<u32>) -> vec4<u32> {
    return 3u * (half & vec4<u32>(BYTES));
}

// Pairs of codes of the four rows, carried out of one half, times a pair of activations.
fn pairs(half: vec4<u32>, x: i32) -> vec4<i32> {
    return bitcast<vec4<i32>>((half >> vec4<u32>(8u)) & vec4<u32>(PAIR)) * x;
}

// Twenty terms of each of the four rows: a word of each, and five words of activations in pairs, the last one apart.
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
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    var a = vec4<i32>(0);
    for (var k = 0u; k < p.vectors; k++) {
        let v0 = w[w0 + k];
        let v1 = w[w1 + k];
        let v2 = w[w2 + k];
        let v3 = w[w3 + k];
        let x0 = activations(5u * k);
        let x1 = activations(5u * k + 1u);
        let x2 = activations(5u * k + 2u);
        let x3 = activations(5u * k + 3u);
        let x4 = activations(5u * k + 4u);
        let e0 = even_pairs(x0);
        let o0 = odd_pairs(x0);
        let e1 = even_pairs(x1);
        let o1 = odd_pairs(x1);
        let e2 = even_pairs(x2);
        let o2 = odd_pairs(x2);
        let e3 = even_pairs(x3);
        let o3 = odd_pairs(x3);
        let e4 = even_pairs(x4);
        let o4 = odd_pairs(x4);
        // Eighty terms, so many as a total may hold.
        var t = products(vec4<u32>(v0.x, v1.x, v2.x, v3.x), e0, e1.x, o0, o1.x);
        t += products(vec4<u32>(v0.y, v1.y, v2.y, v3.y), vec4<i32>(e1.yzw, e2.x), e2.y, vec4<i32>(o1.yzw, o2.x), o2.y);
        t += products(vec4<u32>(v0.z, v1.z, v2.z, v3.z), vec4<i32>(e2.zw, e3.xy), e3.z, vec4<i32>(o2.zw, o3.xy), o3.z);
        t += products(vec4<u32>(v0.w, v1.w, v2.w, v3.w), vec4<i32>(e3.w, e4.xyz), e4.w, vec4<i32>(o3.w, o4.xyz), o4.w);
        a += totals(t);
    }
    let whole = sum[0];
    acc[row] = a.x - whole;
    if row + 1u < p.rows { acc[row + 1u] = a.y - whole; }
    if row + 2u < p.rows { acc[row + 2u] = a.z - whole; }
    if row + 3u < p.rows { acc[row + 3u] = a.w - whole; }
}
