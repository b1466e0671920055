// matmul_ternary — acc[b, r] = sum_k T[r, k] q[b, k]
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// Codes are t + 1, so sum t q = sum c q - sum q: the dot product runs on the codes as they lie. A workgroup
// computes 4 WG x 4 WG_Y outputs from slices of DEPTH words in workgroup memory, where they are unpacked once:
// eight vectors of it feed 64 dot products of four, and an invocation runs 64 DEPTH of those between two
// barriers beside some 20 DEPTH other instructions.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation, WG x WG_Y
//          invocations per workgroup.
// Moves    4 * (rows * words + batch * (4 * words + 1 + rows)) bytes.
// Does     2 * batch * rows * cols operations (one add, one multiply by a trit).
// Twin     reference::matmul_ternary — equal.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 4u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

struct Params { batch: u32, rows: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

// Rows of slices: one vector longer than it need be, so that neighbouring lanes meet different banks.
var<workgroup> sh_w: array<vec4<u32>, TILE_X * WG * (DEPTH + 1u)>;
var<workgroup> sh_q: array<vec4<u32>, TILE_Y * WG_Y * (DEPTH + 1u)>;

fn dot16(codes: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(codes.x, x.x) + dot4I8Packed(codes.y, x.y)
        + dot4I8Packed(codes.z, x.z) + dot4I8Packed(codes.w, x.w);
}

fn dots(codes: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot16(codes, x0), dot16(codes, x1), dot16(codes, x2), dot16(codes, x3));
}

fn store(b: u32, row: u32, value: i32) {
    if b < p.batch && row < p.rows { acc[b * p.rows + row] = value - sum[b]; }
}

// The same row of four batch rows, WG_Y apart.
fn store_four(b: u32, row: u32, value: vec4<i32>) {
    store(b, row, value.x);
    store(b + WG_Y, row, value.y);
    store(b + 2u * WG_Y, row, value.z);
    store(b + 3u * WG_Y, row, value.w);
}

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_row = group.x * TILE_X * WG;
    let first_b = group.y * TILE_Y * WG_Y;
    var a0 = vec4<i32>(0);
    var a1 = vec4<i32>(0);
    var a2 = vec4<i32>(0);
    var a3 = vec4<i32>(0);
    for (var slice = 0u; slice < p.words; slice += DEPTH) {
        // Words past the end count as zeros, rows past the end repeat the last one and are not stored.
        for (var i = lane; i < TILE_X * WG * DEPTH; i += WG * WG_Y) {
            let k = i % DEPTH;
            let row = i / DEPTH;
            var word = 0u;
            if slice + k < p.words { word = w[min(first_row + row, p.rows - 1u) * p.words + slice + k]; }
            sh_w[row * (DEPTH + 1u) + k] =
                vec4<u32>(plane(word, 0u), plane(word, 1u), plane(word, 2u), plane(word, 3u));
        }
        for (var i = lane; i < TILE_Y * WG_Y * DEPTH; i += WG * WG_Y) {
            let k = i % DEPTH;
            let b = i / DEPTH;
            var x = vec4<u32>(0u);
            if slice + k < p.words { x = q[min(first_b + b, p.batch - 1u) * p.words + slice + k]; }
            sh_q[b * (DEPTH + 1u) + k] = x;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let at_w = local.x * (DEPTH + 1u) + k;
            let at_q = local.y * (DEPTH + 1u) + k;
            let x0 = sh_q[at_q];
            let x1 = sh_q[at_q + WG_Y * (DEPTH + 1u)];
            let x2 = sh_q[at_q + 2u * WG_Y * (DEPTH + 1u)];
            let x3 = sh_q[at_q + 3u * WG_Y * (DEPTH + 1u)];
            a0 += dots(sh_w[at_w], x0, x1, x2, x3);
            a1 += dots(sh_w[at_w + WG * (DEPTH + 1u)], x0, x1, x2, x3);
            a2 += dots(sh_w[at_w + 2u * WG * (DEPTH + 1u)], x0, x1, x2, x3);
            a3 += dots(sh_w[at_w + 3u * WG * (DEPTH + 1u)], x0, x1, x2, x3);
        }
        workgroupBarrier();
    }
    let row = first_row + local.x;
    let b = first_b + local.y;
    store_four(b, row, a0);
    store_four(b, row + WG, a1);
    store_four(b, row + 2u * WG, a2);
    store_four(b, row + 3u * WG, a3);
}
