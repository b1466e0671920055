// matmul_ternary_dw — dw[r, c] = sum_b dy[b, r] step[b] q[b, c]
//
//   0  p     Params                      uniform
//   1  dy    f32  [batch, rows]          read
//   2  step  f32  [batch]                read    real value of one int8 step
//   3  q     u32  [batch, 4 * words]     read    int8, four a word
//   4  dw    f32  [rows, cols]           write
//
// The weight gradient of the straight-through estimator: of the float shadow weights, through the quantised activations that the
// forward pass used.
//
// Moves    4 * (batch * (rows + 1 + 4 * words) + rows * cols) bytes.
// Does     2 * batch * rows * cols operations.
// Twin     reference::matmul_ternary_dw — within the rounding of a sum of `batch` terms.
// Source   straight-through estimator, arXiv 1308.3432; BitNet, arXiv 2310.11453, section 2.2.

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Load>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> q: array<Word>;
@group(0) @binding(4) var<storage, read_write> dw: array<Out>;

fn height() -> u32 {
    return p.rows;
}

fn width() -> u32 {
    return p.cols;
}

// Element i.
fn put(y: u32, i: u32, value: Out) {
    dw[i] = value;
}
