// gemv_base3_nodot — gemv_base3 without integer dot products
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    base-3 trits, eighty a vector
//   2  q    u32  [1, 4 * words]       read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                  read    sum of q
//   4  acc  i32  [1, rows]            write
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older
// than 2019. Rows go in pairs as row_pairs says: a byte of each lies in a half, both are tripled at once, and their
// carries are a pair of codes already. AMD's compiler makes 3.4 vector instructions a weight of this loop for vega10,
// 60 registers and 4 waves; of gemv_base3 4.8, 108 and 2.
//
// Grid     one workgroup per TILE_Y rows.
// Moves    as gemv_base3.
// Does     as gemv_base3.
// Twin     reference::gemv_base3 — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec4<i32>, WG>;

// Sixteen activations; zero past the last column, where a vector of weights may reach. Unsigned.
fn activations(i: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[min(i, p.words - 1u)], i < p.words) ^ vec4<u32>(UNSIGNED);
}

// Sums of two rows: of terms and of codes.
struct Sums { terms: u32, codes: u32 }

// Five terms of each row, from one byte of each: x holds a byte of five words of activations, the last one apart.
fn five(bytes: u32, x: vec4<u32>, last: u32) -> Sums {
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
    return Sums(c0 * x.x + c1 * x.y + c2 * x.z + c3 * x.w + c4 * last, c0 + c1 + c2 + c3 + c4);
}

// Twenty terms of each row: a word of each, and five words of activations, the last one apart.
fn twenty(w0: u32, w1: u32, x: vec4<u32>, last: u32) -> Sums {
    let low = low_halves(w0, w1);
    let high = high_halves(w0, w1);
    let byte = vec4<u32>(255u);
    let a = five(low, x & byte, last & 255u);
    let b = five(low >> 8u, (x >> vec4<u32>(8u)) & byte, (last >> 8u) & 255u);
    let c = five(high, (x >> vec4<u32>(16u)) & byte, (last >> 16u) & 255u);
    let d = five(high >> 8u, x >> vec4<u32>(24u), last >> 24u);
    return Sums(a.terms + b.terms + c.terms + d.terms, a.codes + b.codes + c.codes + d.codes);
}

// Eighty terms of two rows: five vectors of activations, cut into four times five words.
fn eighty(v0: vec4<u32>, v1: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>, x4: vec4<u32>) -> vec2<i32> {
    let a = twenty(v0.x, v1.x, x0, x1.x);
    let b = twenty(v0.y, v1.y, vec4<u32>(x1.yzw, x2.x), x2.y);
    let c = twenty(v0.z, v1.z, vec4<u32>(x2.zw, x3.xy), x3.z);
    let d = twenty(v0.w, v1.w, vec4<u32>(x3.w, x4.xyz), x4.w);
    return both(a.terms + b.terms + c.terms + d.terms) - 128 * both(a.codes + b.codes + c.codes + d.codes);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * TILE_Y;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    var a = vec4<i32>(0);
    for (var k = lane; k < p.vectors; k += WG) {
        let x0 = activations(5u * k);
        let x1 = activations(5u * k + 1u);
        let x2 = activations(5u * k + 2u);
        let x3 = activations(5u * k + 3u);
        let x4 = activations(5u * k + 4u);
        a += vec4<i32>(eighty(w[w0 + k], w[w1 + k], x0, x1, x2, x3, x4),
                       eighty(w[w2 + k], w[w3 + k], x0, x1, x2, x3, x4));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { acc[row + lane] = sh[0][lane] - sum[0]; }
}
