// gemv_ternary_nodot — gemv_ternary without integer dot products
//
//   0  p    Params                  uniform
//   1  w    u32  [rows, words]      read    packed trits
//   2  q    u32  [1, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                read    sum of q
//   4  acc  i32  [1, rows]          write
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older
// than 2019. AMD's compiler makes 1.9 vector instructions a weight of this loop for vega10, 64 registers and 4 waves;
// of gemv_ternary 3.4, 128 and 2. Rows go in pairs as row_pairs says. A pair of codes two bits higher counts four
// times and has a sum of its own, which saves every second shift.
//
// Grid     one workgroup per TILE_Y rows.
// Moves    as gemv_ternary.
// Does     as gemv_ternary.
// Twin     reference::gemv_ternary — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;
struct Params { rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec4<i32>, WG>;

// Pairs of codes, two bits up in their halves.
const PAIR_4: u32 = 0x000c000cu;

// Sums of two rows, and those that count four times.
struct Sums { once: u32, four: u32 }

// Eight terms of each row: half of a word's codes, times two bytes of each word of activations.
fn eight(t: u32, x: vec4<u32>, shift: u32) -> Sums {
    let u = (x >> vec4<u32>(shift)) & vec4<u32>(255u);
    let v = (x >> vec4<u32>(shift + 8u)) & vec4<u32>(255u);
    return Sums(
        (t & PAIR) * u.x + ((t >> 4u) & PAIR) * u.z + ((t >> 8u) & PAIR) * v.x + ((t >> 12u) & PAIR) * v.z,
        (t & PAIR_4) * u.y + ((t >> 4u) & PAIR_4) * u.w + ((t >> 8u) & PAIR_4) * v.y + ((t >> 12u) & PAIR_4) * v.w);
}

// Sixteen terms of each row.
fn sixteen(w0: u32, w1: u32, x: vec4<u32>) -> Sums {
    let low = eight(low_halves(w0, w1), x, 0u);
    let high = eight(high_halves(w0, w1), x, 16u);
    return Sums(low.once + high.once, low.four + high.four);
}

// Up to 64 terms: so many of those that count four times fill a half.
fn total(once: u32, four: u32, codes: vec2<u32>) -> vec2<i32> {
    return both(once + (four >> 2u)) - 128 * vec2<i32>(codes);
}

// Sixty-four terms of two rows.
fn sixty_four(v0: vec4<u32>, v1: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>) -> vec2<i32> {
    let a = sixteen(v0.x, v1.x, x0);
    let b = sixteen(v0.y, v1.y, x1);
    let c = sixteen(v0.z, v1.z, x2);
    let d = sixteen(v0.w, v1.w, x3);
    let codes = vec2<u32>(code_sum(v0.x) + code_sum(v0.y) + code_sum(v0.z) + code_sum(v0.w),
                          code_sum(v1.x) + code_sum(v1.y) + code_sum(v1.z) + code_sum(v1.w));
    return total(a.once + b.once + c.once + d.once, a.four + b.four + c.four + d.four, codes);
}

// Sixteen terms of two rows that do not start at vectors.
fn single(i0: u32, i1: u32, x: vec4<u32>) -> vec2<i32> {
    let v0 = word_at(i0);
    let v1 = word_at(i1);
    let a = sixteen(v0, v1, x);
    return total(a.once, a.four, vec2<u32>(code_sum(v0), code_sum(v1)));
}

// A single word of a row that does not start at a vector.
fn word_at(i: u32) -> u32 {
    return w[i >> 2u][i & 3u];
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
    let w0 = row * p.words;
    let w1 = min(row + 1u, last) * p.words;
    let w2 = min(row + 2u, last) * p.words;
    let w3 = min(row + 3u, last) * p.words;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.words >> 2u, (p.words & 3u) == 0u);
    var a = vec4<i32>(0);
    for (var k = lane; k < vectors; k += WG) {
        let v0 = w[(w0 >> 2u) + k];
        let v1 = w[(w1 >> 2u) + k];
        let v2 = w[(w2 >> 2u) + k];
        let v3 = w[(w3 >> 2u) + k];
        let x0 = q[4u * k] ^ vec4<u32>(UNSIGNED);
        let x1 = q[4u * k + 1u] ^ vec4<u32>(UNSIGNED);
        let x2 = q[4u * k + 2u] ^ vec4<u32>(UNSIGNED);
        let x3 = q[4u * k + 3u] ^ vec4<u32>(UNSIGNED);
        a += vec4<i32>(sixty_four(v0, v1, x0, x1, x2, x3), sixty_four(v2, v3, x0, x1, x2, x3));
    }
    for (var k = 4u * vectors + lane; k < p.words; k += WG) {
        let x = q[k] ^ vec4<u32>(UNSIGNED);
        a += vec4<i32>(single(w0 + k, w1 + k, x), single(w2 + k, w3 + k, x));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { acc[row + lane] = sh[0][lane] - sum[0]; }
}
