// dots_nodot — dots for packed trits without integer dot products
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older
// than 2019. AMD's compiler makes 1.0 vector instructions a product of the inner loop for vega10, 64 registers and 4
// waves; of dots 2.1, a quarter of them slow, 112 and 2. Rows go in pairs as row_pairs says and lie so in workgroup
// memory, with the sums of their codes. A slice is at most 8 words: a half holds no more terms.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation, WG x WG_Y
//          invocations per workgroup.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;
const UNIT: u32 = 1u;

// Two rows of the matrix, 2 WG apart, are one row of a slice.
const ROWS_X: u32 = TILE_X / 2u;

fn units() -> u32 {
    return p.length;
}

fn vectors_of_q() -> u32 {
    return p.length;
}

fn word_at(row: u32, k: u32) -> u32 {
    let i = min(row, p.rows - 1u) * p.length + k;
    return w[i >> 2u][i & 3u];
}

// Halves of two words, and both sums of codes.
fn unpack(at: u32, row: u32, k: u32) {
    var w0 = 0u;
    var w1 = 0u;
    if k < p.length {
        w0 = word_at(row, k);
        w1 = word_at(row + 2u * WG, k);
    }
    sh_w[at] = vec4<u32>(low_halves(w0, w1), high_halves(w0, w1), code_sum(w0) | (code_sum(w1) << 16u), 0u);
}

fn bytes(x: vec4<u32>) -> vec4<u32> {
    return x ^ vec4<u32>(UNSIGNED);
}

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

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * TILE_X * WG;
    let b = group.y * TILE_Y * WG_Y;
    var a0 = vec4<i32>(0);
    var a1 = vec4<i32>(0);
    var a2 = vec4<i32>(0);
    var a3 = vec4<i32>(0);
    for (var slice = 0u; slice < p.length; slice += DEPTH) {
        fill_w(slice, lane, row);
        fill_q(slice, lane, b);
        workgroupBarrier();
        var even = vec4<u32>(0u);
        var even_codes = 0u;
        var odd = vec4<u32>(0u);
        var odd_codes = 0u;
        for (var k = 0u; k < DEPTH; k++) {
            let at_q = local.y * STRIDE + k;
            let b0 = sh_q[at_q];
            let b1 = sh_q[at_q + WG_Y * STRIDE];
            let b2 = sh_q[at_q + 2u * WG_Y * STRIDE];
            let b3 = sh_q[at_q + 3u * WG_Y * STRIDE];
            let x0 = vec4<u32>(b0.x, b1.x, b2.x, b3.x);
            let x1 = vec4<u32>(b0.y, b1.y, b2.y, b3.y);
            let x2 = vec4<u32>(b0.z, b1.z, b2.z, b3.z);
            let x3 = vec4<u32>(b0.w, b1.w, b2.w, b3.w);
            let t0 = sh_w[local.x * STRIDE + k];
            even += eight(t0.x, x0, x1, x2, x3, 0u);
            even += eight(t0.y, x0, x1, x2, x3, 16u);
            even_codes += t0.z;
            let t1 = sh_w[(local.x + WG) * STRIDE + k];
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
    let out = b + local.y;
    let r = row + local.x;
    store_four(out, r, a0);
    store_four(out, r + WG, a1);
    store_four(out, r + 2u * WG, a2);
    store_four(out, r + 3u * WG, a3);
}
