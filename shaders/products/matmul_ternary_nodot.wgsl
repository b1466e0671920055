// matmul_ternary_nodot — matmul_ternary without integer dot products
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older
// than 2019. AMD's compiler makes 1.0 vector instructions a product of the inner loop for vega10, 64 registers and 4
// waves; of matmul_ternary 2.1, a quarter of them slow, 112 and 2. Rows go in pairs as row_pairs says and lie so in
// workgroup memory, with the sums of their codes. A slice is at most 8 words: a half holds no more terms.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation, WG x WG_Y
//          invocations per workgroup.
// Moves    as matmul_ternary.
// Does     as matmul_ternary.
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

// Rows of slices, of the matrix two at a time: halves of two words, both sums of codes. One vector longer than it need
// be, so that neighbouring lanes meet different banks.
var<workgroup> sh_w: array<vec4<u32>, TILE_X / 2u * WG * (DEPTH + 1u)>;
var<workgroup> sh_q: array<vec4<u32>, TILE_Y * WG_Y * (DEPTH + 1u)>;

// One pair of codes times a byte of four batch rows.
fn term(pair: u32, x: vec4<u32>, shift: u32) -> vec4<u32> {
    return (pair & PAIR) * ((x >> vec4<u32>(shift)) & vec4<u32>(255u));
}

// Eight terms of two rows, for four batch rows: x0 to x3 are their words of activations.
fn eight(t: u32, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>, shift: u32) -> vec4<u32> {
    return term(t, x0, shift) + term(t >> 2u, x1, shift) + term(t >> 4u, x2, shift) + term(t >> 6u, x3, shift)
        + term(t >> 8u, x0, shift + 8u) + term(t >> 10u, x1, shift + 8u)
        + term(t >> 12u, x2, shift + 8u) + term(t >> 14u, x3, shift + 8u);
}

// What one slice adds to the first row of a pair, and to the second.
fn first(sums: vec4<u32>, codes: u32) -> vec4<i32> {
    return vec4<i32>((sums & vec4<u32>(0xffffu)) - vec4<u32>(128u * (codes & 0xffffu)));
}

fn second(sums: vec4<u32>, codes: u32) -> vec4<i32> {
    return vec4<i32>((sums >> vec4<u32>(16u)) - vec4<u32>(128u * (codes >> 16u)));
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
        for (var i = lane; i < TILE_X / 2u * WG * DEPTH; i += WG * WG_Y) {
            let k = i % DEPTH;
            let row = i / DEPTH;
            var w0 = 0u;
            var w1 = 0u;
            if slice + k < p.words {
                w0 = w[min(first_row + row, p.rows - 1u) * p.words + slice + k];
                w1 = w[min(first_row + row + 2u * WG, p.rows - 1u) * p.words + slice + k];
            }
            let codes = code_sum(w0) | (code_sum(w1) << 16u);
            sh_w[row * (DEPTH + 1u) + k] = vec4<u32>(low_halves(w0, w1), high_halves(w0, w1), codes, 0u);
        }
        for (var i = lane; i < TILE_Y * WG_Y * DEPTH; i += WG * WG_Y) {
            let k = i % DEPTH;
            let b = i / DEPTH;
            var x = vec4<u32>(0u);
            if slice + k < p.words { x = q[min(first_b + b, p.batch - 1u) * p.words + slice + k]; }
            sh_q[b * (DEPTH + 1u) + k] = x ^ vec4<u32>(UNSIGNED);
        }
        workgroupBarrier();
        var even = vec4<u32>(0u);
        var even_codes = 0u;
        var odd = vec4<u32>(0u);
        var odd_codes = 0u;
        for (var k = 0u; k < DEPTH; k++) {
            let at_w = local.x * (DEPTH + 1u) + k;
            let at_q = local.y * (DEPTH + 1u) + k;
            let b0 = sh_q[at_q];
            let b1 = sh_q[at_q + WG_Y * (DEPTH + 1u)];
            let b2 = sh_q[at_q + 2u * WG_Y * (DEPTH + 1u)];
            let b3 = sh_q[at_q + 3u * WG_Y * (DEPTH + 1u)];
            let x0 = vec4<u32>(b0.x, b1.x, b2.x, b3.x);
            let x1 = vec4<u32>(b0.y, b1.y, b2.y, b3.y);
            let x2 = vec4<u32>(b0.z, b1.z, b2.z, b3.z);
            let x3 = vec4<u32>(b0.w, b1.w, b2.w, b3.w);
            let t0 = sh_w[at_w];
            even += eight(t0.x, x0, x1, x2, x3, 0u);
            even += eight(t0.y, x0, x1, x2, x3, 16u);
            even_codes += t0.z;
            let t1 = sh_w[at_w + WG * (DEPTH + 1u)];
            odd += eight(t1.x, x0, x1, x2, x3, 0u);
            odd += eight(t1.y, x0, x1, x2, x3, 16u);
            odd_codes += t1.z;
        }
        a0 += first(even, even_codes);
        a1 += first(odd, odd_codes);
        a2 += second(even, even_codes);
        a3 += second(odd, odd_codes);
        workgroupBarrier();
    }
    let row = first_row + local.x;
    let b = first_b + local.y;
    store_four(b, row, a0);
    store_four(b, row + WG, a1);
    store_four(b, row + 2u * WG, a2);
    store_four(b, row + 3u * WG, a3);
}
