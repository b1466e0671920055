// matmul_ternary_large — matmul_ternary with an 8 x 8 register tile
//
//   0  p    Params                      uniform
//   1  w    u32  [rows, words]          read    packed trits
//   2  q    u32  [batch, 4 * words]     read    int8, four a word, zero past the last column
//   3  sum  i32  [batch]                read    sum of q over the row
//   4  acc  i32  [batch, rows]          write
//
// For large products: sixteen vectors of workgroup memory feed 256 dot products of four.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation, WG x WG_Y
//          invocations per workgroup.
// Moves    as matmul_ternary.
// Does     as matmul_ternary.
// Twin     reference::matmul_ternary — equal.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 2u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 8u;

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

// Sixteen activations of four batch rows.
struct Four { x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32> }

fn dots(codes: vec4<u32>, x: Four) -> vec4<i32> {
    return vec4<i32>(dot16(codes, x.x0), dot16(codes, x.x1), dot16(codes, x.x2), dot16(codes, x.x3));
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
    var low0 = vec4<i32>(0);
    var high0 = vec4<i32>(0);
    var low1 = vec4<i32>(0);
    var high1 = vec4<i32>(0);
    var low2 = vec4<i32>(0);
    var high2 = vec4<i32>(0);
    var low3 = vec4<i32>(0);
    var high3 = vec4<i32>(0);
    var low4 = vec4<i32>(0);
    var high4 = vec4<i32>(0);
    var low5 = vec4<i32>(0);
    var high5 = vec4<i32>(0);
    var low6 = vec4<i32>(0);
    var high6 = vec4<i32>(0);
    var low7 = vec4<i32>(0);
    var high7 = vec4<i32>(0);
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
        // A count that the compiler does not know: it would load all of the slice at once, and too many registers.
        let whole = min(DEPTH, p.words - slice);
        for (var k = 0u; k < whole; k++) {
            let at_w = local.x * (DEPTH + 1u) + k;
            let at_q = local.y * (DEPTH + 1u) + k;
            let low = Four(
                sh_q[at_q],
                sh_q[at_q + WG_Y * (DEPTH + 1u)],
                sh_q[at_q + 2u * WG_Y * (DEPTH + 1u)],
                sh_q[at_q + 3u * WG_Y * (DEPTH + 1u)],
            );
            let high = Four(
                sh_q[at_q + 4u * WG_Y * (DEPTH + 1u)],
                sh_q[at_q + 5u * WG_Y * (DEPTH + 1u)],
                sh_q[at_q + 6u * WG_Y * (DEPTH + 1u)],
                sh_q[at_q + 7u * WG_Y * (DEPTH + 1u)],
            );
            let codes0 = sh_w[at_w];
            low0 += dots(codes0, low);
            high0 += dots(codes0, high);
            let codes1 = sh_w[at_w + WG * (DEPTH + 1u)];
            low1 += dots(codes1, low);
            high1 += dots(codes1, high);
            let codes2 = sh_w[at_w + 2u * WG * (DEPTH + 1u)];
            low2 += dots(codes2, low);
            high2 += dots(codes2, high);
            let codes3 = sh_w[at_w + 3u * WG * (DEPTH + 1u)];
            low3 += dots(codes3, low);
            high3 += dots(codes3, high);
            let codes4 = sh_w[at_w + 4u * WG * (DEPTH + 1u)];
            low4 += dots(codes4, low);
            high4 += dots(codes4, high);
            let codes5 = sh_w[at_w + 5u * WG * (DEPTH + 1u)];
            low5 += dots(codes5, low);
            high5 += dots(codes5, high);
            let codes6 = sh_w[at_w + 6u * WG * (DEPTH + 1u)];
            low6 += dots(codes6, low);
            high6 += dots(codes6, high);
            let codes7 = sh_w[at_w + 7u * WG * (DEPTH + 1u)];
            low7 += dots(codes7, low);
            high7 += dots(codes7, high);
        }
        workgroupBarrier();
    }
    let row = first_row + local.x;
    let b = first_b + local.y;
    store_four(b, row, low0);
    store_four(b + 4u * WG_Y, row, high0);
    store_four(b, row + WG, low1);
    store_four(b + 4u * WG_Y, row + WG, high1);
    store_four(b, row + 2u * WG, low2);
    store_four(b + 4u * WG_Y, row + 2u * WG, high2);
    store_four(b, row + 3u * WG, low3);
    store_four(b + 4u * WG_Y, row + 3u * WG, high3);
    store_four(b, row + 4u * WG, low4);
    store_four(b + 4u * WG_Y, row + 4u * WG, high4);
    store_four(b, row + 5u * WG, low5);
    store_four(b + 4u * WG_Y, row + 5u * WG, high5);
    store_four(b, row + 6u * WG, low6);
    store_four(b + 4u * WG_Y, row + 6u * WG, high6);
    store_four(b, row + 7u * WG, low7);
    store_four(b + 4u * WG_Y, row + 7u * WG, high7);
}
