// rmsnorm_backward — the gradients through RMSNorm of float rows
//
//   n = x norm
//   dx[b, c] (+)= norm[b] (gain[c] dy[b, c] - n[b, c] mean_k gain[k] dy[b, k] n[b, k])
//   dgain[c] = sum_b dy[b, c] n[b, c]
//
//   0  p      Params                 uniform
//   1  x      f32  [batch, cols]     read
//   2  gain   f32  [cols]            read
//   3  norm   f32  [batch]           read              1 / sqrt(mean_c x^2 + eps), from rmsnorm or rmsnorm_quantize_f32
//   4  dy     f32  [batch, cols]     read              gradient of gain n
//   5  dx     f32  [batch, cols]     read and write    added to where p.accumulate is 1, else written
//   6  dgain  f32  [cols]            write
//
// Two sums over the same products, along rows and along columns: some workgroups take a row, others columns.
//
// Grid     one workgroup per row, and one per 4 * WG / SLICES columns.
// Moves    4 * ((5 + accumulate) * batch * cols + 2 * cols + 2 * batch) bytes.
// Does     11 * batch * cols operations.
// Twin     reference::rmsnorm_backward — within the rounding of sums of cols and of batch products.
// Source   the derivative of RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;
override SLICES: u32 = 8u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, accumulate: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> norm: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dx: array<Out>;
@group(0) @binding(6) var<storage, read_write> dgain: array<f32>;

var<workgroup> sh_columns: array<vec4<f32>, WG>;
var<workgroup> sh_sum: array<f32, WG>;

fn norm_of(row: u32) -> f32 {
    return norm[row];
}

fn put(i: u32, value: Out, _worth: f32) {
    if p.accumulate == 1u {
        dx[i] = dx[i] + value;
    } else {
        dx[i] = value;
    }
}

fn dx_row(row: u32, lane: u32) {
    let f = norm[row];
    let mean = norm_mean(row, lane, f);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        put_four(row * p.cols, col, f * norm_dx(row, col, inputs(row, col) * f, mean), 1.0);
    }
}
