// quantize_weights — T[r, c] = clamp(round(W[r, c] / beta), -1, 1), sixteen to a word, for every matrix of a stack
//
//   0  p       Params                  uniform
//   1  table   u32  [matrices, 8]      read    where each matrix lies, see kernels::Stack
//   2  w       f32  [values]           read    shadow weights of all matrices
//   3  beta    f32  [matrices, 64]     read    absmean; the first of each 64
//   4  packed  u32  [words]            write   of all matrices; rows padded with code 1, the trit 0
//
// The rounding is a comparison, |W| > beta / 2: halving is exact where a division is not. Every matrix begins at
// a multiple of 64 words, so a workgroup has one.
//
// Grid     one invocation per word.
// Moves    4 * (rows * cols + 1 + rows * words) bytes for a matrix.
// Does     2 * rows * cols operations (two comparisons a weight).
// Twin     reference::quantize_weights — equal.
// Source   BitNet b1.58, arXiv 2402.17764, equations 1 to 3.

override WG: u32 = 64u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { matrices: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> packed: array<u32>;

// Weights col to col + 3 of the row that begins at `first`; 0, which becomes the trit 0, past its end.
fn four(first: u32, col: u32, cols: u32) -> vec4<f32> {
    let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(cols);
    if WHOLE == 1u {
        return select(vec4<f32>(0.0), w[(first + min(col, cols - 4u)) / 4u], inside);
    }
    let last = cols - 1u;
    return select(
        vec4<f32>(0.0),
        vec4<f32>(
            at(first + min(col, last)), at(first + min(col + 1u, last)),
            at(first + min(col + 2u, last)), at(first + min(col + 3u, last))),
        inside);
}

fn at(i: u32) -> f32 {
    return w[i / 4u][i % 4u];
}

// One plane of a word: the codes of four weights as bytes.
fn codes(x: vec4<f32>, half: f32) -> u32 {
    let c = select(select(vec4<u32>(1u), vec4<u32>(0u), x < vec4<f32>(-half)), vec4<u32>(2u), x > vec4<f32>(half));
    return c.x | (c.y << 8u) | (c.z << 16u) | (c.w << 24u);
}

fn run(group: u32, lane: u32) {
    let group_first = group * WG;
    var matrix = 0u;
    while matrix + 1u < p.matrices && table[2u * matrix + 2u].y <= group_first { matrix += 1u; }
    let place = table[2u * matrix];                 // first weight, first word, rows, cols
    let words = table[2u * matrix + 1u].x;
    let index = group_first + lane - place.y;
    if index >= place.z * words { return; }
    let row = index / words;
    let col = (index - row * words) * 16u;
    let first = place.x + row * place.w;
    let half = beta[64u * matrix] * 0.5;
    packed[place.y + index] = codes(four(first, col, place.w), half)
        | (codes(four(first, col + 4u, place.w), half) << 2u)
        | (codes(four(first, col + 8u, place.w), half) << 4u)
        | (codes(four(first, col + 12u, place.w), half) << 6u);
}
