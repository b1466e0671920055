// rmsnorm — y[b, c] = gain[c] x[b, c] factor[b],  factor[b] = 1 / sqrt(mean_c x[b, c]^2 + eps)
//
//   0  p       Params                 uniform
//   1  x       f32  [batch, cols]     read
//   2  gain    f32  [cols]            read
//   3  y       f32  [batch, cols]     write
//   4  factor  f32  [batch]           write    kept for the backward pass
//
// Grid     one workgroup per row.
// Moves    4 * (2 * batch * cols + cols + batch) bytes.
// Does     4 * batch * cols operations.
// Twin     reference::rmsnorm — within the rounding of a sum of cols squares.
// Source   RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;

struct Params { batch: u32, cols: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> factor: array<f32>;

var<workgroup> sh_sum: array<f32, WG>;

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    var squares = 0.0;
    for (var col = lane; col < p.cols; col += WG) {
        let value = x[row * p.cols + col];
        squares += value * value;
    }
    let total = row_sum(lane, squares);
    let f = 1.0 / sqrt(total / f32(p.cols) + p.eps);
    for (var col = lane; col < p.cols; col += WG) {
        y[row * p.cols + col] = gain[col] * x[row * p.cols + col] * f;
    }
    if lane == 0u { factor[row] = f; }
}
