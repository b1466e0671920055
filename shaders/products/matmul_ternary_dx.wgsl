// matmul_ternary_dx — dx[b, c] = beta sum_r dy[b, r] T[r, c]
//
//   0  p     Params                  uniform
//   1  w     u32  [rows, words]      read    packed trits
//   2  beta  f32  [1]                read
//   3  dy    f32  [batch, rows]      read
//   4  dx    f32  [batch, cols]      write
//
// The input gradient of the straight-through estimator reads the packed weights: no transposed copy.
//
// Moves    4 * (rows * words + 1 + batch * (rows + cols)) bytes.
// Does     2 * batch * rows * cols operations (a trit adds, subtracts or skips its input: two).
// Twin     reference::matmul_ternary_dx — within the rounding of a sum of `rows` terms.
// Source   straight-through estimator, arXiv 1308.3432; BitNet, arXiv 2310.11453, section 2.2.

struct Params { batch: u32, rows: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<Load>;
@group(0) @binding(4) var<storage, read_write> dx: array<Out>;

fn height() -> u32 {
    return p.batch;
}

fn width() -> u32 {
    return p.cols;
}

// Element i.
fn put(y: u32, i: u32, value: Out) {
    dx[i] = value;
}
