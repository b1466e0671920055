// rmsnorm_relu_dx — the gradient through RMSNorm and the ReLU before it, from the exact path's integers
//
//   n = max(x, 0) factor,  1 / rms = factor / r
//   dx[b, c] = factor[b] / r[b] (gain[c] dy[b, c] - n[b, c] mean_k gain[k] dy[b, k] n[b, k])
//              where x[b, c] > 0, else 0
//
//   0  p       Params                 uniform
//   1  x       i32  [batch, cols]     read     accumulators of the layer before
//   2  gain    f32  [cols]            read
//   3  r       f32  [batch]           read     real value of one unit of x
//   4  factor  f32  [batch]           read     from rms_factor
//   5  dy      f32  [batch, cols]     read     gradient of gain n
//   6  dx      f32  [batch, cols]     write    gradient of r x
//
// Grid     one workgroup per row.
// Moves    4 * (3 * batch * cols + cols + 2 * batch) bytes.
// Does     9 * batch * cols operations.
// Twin     reference::rmsnorm_relu_dx — within the rounding of a sum of cols products.
// Source   the derivative of RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;

struct Params { batch: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> r: array<f32>;
@group(0) @binding(4) var<storage, read> factor: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;

var<workgroup> sh_sum: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if row >= p.batch { return; }
    let f = factor[row];
    var along = 0.0;
    for (var col = lane; col < p.cols; col += WG) {
        let i = row * p.cols + col;
        along += gain[col] * dy[i] * (f32(max(x[i], 0)) * f);
    }
    let total = row_sum(lane, along);
    let mean = total / f32(p.cols);
    let outer = f / r[row];
    for (var col = lane; col < p.cols; col += WG) {
        let i = row * p.cols + col;
        let value = outer * (gain[col] * dy[i] - (f32(x[i]) * f) * mean);
        dx[i] = select(0.0, value, x[i] > 0);
    }
}
