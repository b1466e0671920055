// rmsnorm_relu_backward — the gradients through RMSNorm and the ReLU before it, from the exact path's integers
//
//   n = max(x, 0) norm,  1 / rms = norm / r
//   dx[b, c] = norm[b] / r[b] (gain[c] dy[b, c] - n[b, c] mean_k gain[k] dy[b, k] n[b, k])
//              where x[b, c] > 0, else 0
//   dgain[c] = sum_b dy[b, c] n[b, c]
//
//   0  p      Params                 uniform
//   1  x      i32  [batch, cols]     read     accumulators of the layer before
//   2  gain   f32  [cols]            read
//   3  r      f32  [batch]           read     real value of one unit of x
//   4  norm   f32  [batch]           read     from rmsnorm_quantize
//   5  dy     f32  [batch, cols]     read     gradient of gain n
//   6  dx     f32  [batch, cols]     write    gradient of r x
//   7  dgain  f32  [cols]            write
//
// Two sums over the same products, along rows and along columns: some workgroups take a row, others columns.
//
// Grid     one workgroup per row, and one per 4 * WG / SLICES columns.
// Moves    4 * (5 * batch * cols + 2 * cols + 3 * batch) bytes.
// Does     13 * batch * cols operations.
// Twin     reference::rmsnorm_relu_backward — within the rounding of sums of cols and of batch products.
// Source   the derivative of RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;
override SLICES: u32 = 8u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> r: array<f32>;
@group(0) @binding(4) var<storage, read> norm: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dx: array<Out>;
@group(0) @binding(7) var<storage, read_write> dgain: array<f32>;

var<workgroup> sh_columns: array<vec4<f32>, WG>;
var<workgroup> sh_sum: array<f32, WG>;

fn norm_of(row: u32) -> f32 {
    return norm[row];
}

fn put(i: u32, value: Out, _worth: f32) {
    dx[i] = value;
}

fn dx_row(row: u32, lane: u32) {
    let f = norm[row];
    let outer = f / r[row];
    let mean = norm_mean(row, lane, f);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let passed = inputs(row, col);
        let value = outer * norm_dx(row, col, passed * f, mean);
        put_four(row * p.cols, col, select(vec4<f32>(0.0), value, passed > vec4<f32>(0.0)), 1.0);
    }
}
