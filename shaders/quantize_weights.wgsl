// quantize_weights — T[r, c] = clamp(round(W[r, c] / beta), -1, 1), sixteen to a word
//
//   0  p       Params                  uniform
//   1  w       f32  [rows, cols]       read    shadow weights
//   2  beta    f32  [1]                read    absmean
//   3  packed  u32  [rows, words]      write   padded with code 1, the trit 0
//
// The rounding is a comparison, |W| > beta / 2: halving is exact where a division is not.
//
// Grid     one invocation per word.
// Moves    4 * (rows * cols + 1 + rows * words) bytes.
// Does     2 * rows * cols operations (two comparisons a weight).
// Twin     reference::quantize_weights — equal.
// Source   BitNet b1.58, arXiv 2402.17764, equations 1 to 3.

override WG: u32 = 64u;

struct Params { rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read_write> packed: array<u32>;

// The code of one weight; 1 past the end of the row.
fn code(row: u32, col: u32, half: f32) -> u32 {
    // No branch: on a vector machine that costs more than reading the last column again.
    let value = select(0.0, w[row * p.cols + min(col, p.cols - 1u)], col < p.cols);
    return select(select(1u, 0u, value < -half), 2u, value > half);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * WG + lane;
    if index >= p.rows * p.words { return; }
    let row = index / p.words;
    let col = (index - row * p.words) * 16u;
    let half = beta[0] * 0.5;
    var word = 0u;
    for (var plane = 0u; plane < 4u; plane++) {
        let c = col + 4u * plane;
        let bytes = code(row, c, half) | (code(row, c + 1u, half) << 8u)
            | (code(row, c + 2u, half) << 16u) | (code(row, c + 3u, half) << 24u);
        word |= bytes << (2u * plane);
    }
    packed[index] = word;
}
