// rmsnorm_relu_dgain — dgain[c] = sum_b dy[b, c] max(x[b, c], 0) norm[b], from integers
//
//   0  p      Params                 uniform
//   1  x      i32  [batch, cols]     read     accumulators of the layer before, or pixels
//   2  norm   f32  [batch]           read     from rmsnorm_quantize
//   3  dy     f32  [batch, cols]     read
//   4  dgain  f32  [cols]            write
//
// Grid     one workgroup per 4 * WG / SLICES columns; SLICES lanes share a column's batch, in a fixed order.
// Moves    4 * (2 * batch * cols + batch + cols) bytes.
// Does     4 * batch * cols operations.
// Twin     reference::rmsnorm_relu_dgain — within the rounding of a sum of `batch` products.
// Source   the derivative of RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;
override SLICES: u32 = 8u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> norm: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dgain: array<f32>;

var<workgroup> sh_columns: array<vec4<f32>, WG>;

fn norm_of(row: u32) -> f32 {
    return norm[row];
}

fn run(group: u32, lane: u32) {
    dgain_columns(group, lane);
}
