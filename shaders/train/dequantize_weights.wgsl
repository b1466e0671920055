// dequantize_weights — w[r, c] = beta T[r, c]
//
//   0  p      Params                uniform
//   1  words  u32  [rows, words]    read     packed trits
//   2  beta   f32  [1]              read
//   3  w      f32  [rows, cols]     write
//
// For training without shadow weights: what the quantiser rounded off is forgotten.
//
// Grid     one invocation per word.
// Moves    4 * (rows * words + 1 + rows * cols) bytes.
// Does     rows * cols multiplications.
// Twin     reference::dequantize_weights — equal.

override WG: u32 = 64u;

struct Params { count: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read_write> w: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i >= p.count { return; }
    let word = words[i];
    let scale = beta[0];
    let row = i / p.words;
    let first = 16u * (i - row * p.words);
    for (var plane = 0u; plane < 4u; plane++) {
        let values = scale * trits(word, plane);
        for (var k = 0u; k < 4u; k++) {
            let col = first + 4u * plane + k;
            if col < p.cols { w[row * p.cols + col] = values[k]; }
        }
    }
}
