// rmsnorm_quantize_f32 — RMSNorm and absmax quantisation of float rows
//
//   norm[b] = 1 / sqrt(mean_c x[b, c]^2 + eps)
//   scale[b] = 127 / max(max_c |gain[c] x[b, c]|, 1e-5 / norm[b]),   step[b] = norm[b] / scale[b]
//   q[b, c] = clamp(round(gain[c] x[b, c] scale[b]), -128, 127),   sum[b] = sum_c q[b, c]
//
//   0  p      Params                      uniform
//   1  x      f32  [batch, cols]          read
//   2  gain   f32  [cols]                 read
//   3  q      u32  [batch, 4 * words]     write   int8, four a word, zero past the last column
//   4  scale  f32  [batch]                write
//   5  sum    i32  [batch]                write
//   6  norm   f32  [batch]                write   kept for the backward pass
//   7  step   f32  [batch]                write   real value of one int8 step
//
// RMSNorm's output is gain x norm. The positive factor norm of a row cannot change its codes: they are those of gain x.
// Only the least maximum, 1e-5, is one of RMSNorm's output, and needs the norm where it acts.
//
// Grid     one workgroup per row.
// Moves    4 * (batch * cols + cols + 4 * batch * words + 4 * batch) bytes.
// Does     7 * batch * cols operations (gain, absolute value, maximum, multiply, round; square, add).
// Twin     reference::rmsnorm_quantize_f32 — codes equal unless the least maximum acts; factors up to rounding.
// Source   RMSNorm, arXiv 1910.07467, equation 4; BitNet b1.58, arXiv 2402.17764, section 2.

override WG: u32 = 64u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, words: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> q: array<u32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum: array<i32>;
@group(0) @binding(6) var<storage, read_write> norm: array<f32>;
@group(0) @binding(7) var<storage, read_write> step: array<f32>;

var<workgroup> sh_max: array<f32, WG>;
var<workgroup> sh_sum: array<i32, WG>;
var<workgroup> sh_squares: array<f32, WG>;

fn values(row: u32, col: u32) -> vec4<f32> {
    return pinned(gains(col) * within(inputs(row, col), col), 3e38);
}

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    var largest = 0.0;
    var squares = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let h = within(inputs(row, col), col);
        largest = max(largest, largest_of(gains(col) * h));
        squares += h * h;
    }
    let f = norm_factor(lane, squares, 1.0);
    let codes = quantize_row(row, lane, max(largest, 1e-5 / f));
    if lane == 0u {
        scale[row] = codes.scale;
        sum[row] = codes.sum;
        norm[row] = f;
        step[row] = f / codes.scale;
    }
}
