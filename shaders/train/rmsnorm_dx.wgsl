// rmsnorm_dx — dx[b, c] = factor[b] (gain[c] dy[b, c] - n[b, c] mean_k gain[k] dy[b, k] n[b, k]),
//              n = x factor
//
//   0  p       Params                 uniform
//   1  x       f32  [batch, cols]     read
//   2  gain    f32  [cols]            read
//   3  factor  f32  [batch]           read     from rmsnorm
//   4  dy      f32  [batch, cols]     read
//   5  dx      f32  [batch, cols]     write
//
// Grid     one workgroup per row.
// Moves    4 * (3 * batch * cols + cols + batch) bytes.
// Does     8 * batch * cols operations.
// Twin     reference::rmsnorm_dx — within the rounding of a sum of cols products.
// Source   the derivative of RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;

struct Params { batch: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> factor: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;

var<workgroup> sh_sum: array<f32, WG>;

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    let f = factor[row];
    var along = 0.0;
    for (var col = lane; col < p.cols; col += WG) {
        let i = row * p.cols + col;
        along += gain[col] * dy[i] * (x[i] * f);
    }
    let total = row_sum(lane, along);
    let mean = total / f32(p.cols);
    for (var col = lane; col < p.cols; col += WG) {
        let i = row * p.cols + col;
        dx[i] = f * (gain[col] * dy[i] - (x[i] * f) * mean);
    }
}
