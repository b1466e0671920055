// gemv_ternary_splitk — gemv_ternary whose rows are cut into PARTS, for matrices of few rows
//
//   0  p    Params                  uniform
//   1  w    u32  [rows, words]      read    packed trits
//   2  q    u32  [1, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                read    sum of q
//   4  met  i32  [rows]             read and write    zero before and after
//   5  acc  i32  [1, rows]          write
//
// Few rows are few workgroups, and a large GPU idles. Here PARTS of them share each four rows and meet in an
// atomic word a row: its upper 26 bits add up the sums, its lower 6 count who came. The one that completes the
// count has the whole sum in its hands, stores it and leaves zero for the next dispatch. Integers add up to the
// same in any order, and modulo 2^26 no sum of 132,104 products is lost.
//
// Grid     PARTS workgroups per TILE_Y rows.
// Moves    as gemv_ternary.
// Does     as gemv_ternary.
// Twin     reference::gemv_ternary — equal.

override WG: u32 = 64u;
// At most 63: the count has six bits.
override PARTS: u32 = 8u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> met: array<atomic<i32>>;
@group(0) @binding(5) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec4<i32>, WG>;

fn dot16(word: u32, x: vec4<u32>) -> i32 {
    return dot4I8Packed(plane(word, 0u), x.x) + dot4I8Packed(plane(word, 1u), x.y)
        + dot4I8Packed(plane(word, 2u), x.z) + dot4I8Packed(plane(word, 3u), x.w);
}

fn dot64(four: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>) -> i32 {
    return dot16(four.x, x0) + dot16(four.y, x1) + dot16(four.z, x2) + dot16(four.w, x3);
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
    let index = group_index(group, groups);
    let row = index / PARTS * TILE_Y;
    if row >= p.rows { return; }
    let part = index % PARTS;
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.words;
    let w1 = min(row + 1u, last) * p.words;
    let w2 = min(row + 2u, last) * p.words;
    let w3 = min(row + 3u, last) * p.words;
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.words >> 2u, (p.words & 3u) == 0u);
    var a = vec4<i32>(0);
    for (var k = part * WG + lane; k < vectors; k += PARTS * WG) {
        let four0 = w[(w0 >> 2u) + k];
        let four1 = w[(w1 >> 2u) + k];
        let four2 = w[(w2 >> 2u) + k];
        let four3 = w[(w3 >> 2u) + k];
        let x0 = q[4u * k];
        let x1 = q[4u * k + 1u];
        let x2 = q[4u * k + 2u];
        let x3 = q[4u * k + 3u];
        a += vec4<i32>(dot64(four0, x0, x1, x2, x3), dot64(four1, x0, x1, x2, x3),
                       dot64(four2, x0, x1, x2, x3), dot64(four3, x0, x1, x2, x3));
    }
    for (var k = 4u * vectors + part * WG + lane; k < p.words; k += PARTS * WG) {
        let x = q[k];
        a += vec4<i32>(dot16(word_at(w0 + k), x), dot16(word_at(w1 + k), x),
                       dot16(word_at(w2 + k), x), dot16(word_at(w3 + k), x));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane >= TILE_Y || row + lane >= p.rows { return; }
    // Every sum of codes lacks the sum of q: the first part takes it off.
    let mine = ((sh[0][lane] - select(0, sum[0], part == 0u)) << 6u) + 1;
    let whole = atomicAdd(&met[row + lane], mine) + mine;
    if (whole & 63) == i32(PARTS) {
        acc[row + lane] = whole >> 6u;
        atomicStore(&met[row + lane], 0);
    }
}
