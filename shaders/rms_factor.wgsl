// rms_factor — factor[b] = r / sqrt(r^2 mean_c max(x[b, c], 0)^2 + eps), r = r[b]
//              step[b] = factor[b] / scale[b],  y_scale[b] = beta step[b]
//
//   0  p        Params               uniform
//   1  x        i32  [batch, cols]   read    integers; the layer's real input is r[b] max(x, 0)
//   2  r        f32  [batch]         read    real value of one unit of x
//   3  scale    f32  [batch]         read    from quantize_relu
//   4  beta     f32  [1]             read    from absmean
//   5  factor   f32  [batch]         write   the norm: RMSNorm's output is gain max(x, 0) factor
//   6  step     f32  [batch]         write   real value of one int8 step
//   7  y_scale  f32  [batch]         write   real value of one unit of the accumulators: the next r
//
// Grid     one workgroup per row.
// Moves    4 * batch * (cols + 5) + 4 bytes.
// Does     3 * batch * cols operations (relu, multiply, add).
// Twin     reference::rms_factor — within the rounding of a sum of cols squares.
// Source   RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;

struct Params { batch: u32, cols: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>;
@group(0) @binding(2) var<storage, read> r: array<f32>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read_write> factor: array<f32>;
@group(0) @binding(6) var<storage, read_write> step: array<f32>;
@group(0) @binding(7) var<storage, read_write> y_scale: array<f32>;

var<workgroup> sh_sum: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if row >= p.batch { return; }
    // The scale goes in first: squares of raw accumulators would leave the range of f32 early.
    let unit = r[row];
    var squares = 0.0;
    for (var col = lane; col < p.cols; col += WG) {
        let h = unit * f32(max(x[row * p.cols + col], 0));
        squares += h * h;
    }
    let total = row_sum(lane, squares);
    if lane == 0u {
        let f = unit / sqrt(total / f32(p.cols) + p.eps);
        let one = f / scale[row];
        factor[row] = f;
        step[row] = one;
        y_scale[row] = beta[0] * one;
    }
}
