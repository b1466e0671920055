// rmsnorm_dgain — dgain[c] = sum_b dy[b, c] x[b, c] factor[b]
//
//   0  p       Params                 uniform
//   1  x       f32  [batch, cols]     read
//   2  factor  f32  [batch]           read     from rmsnorm
//   3  dy      f32  [batch, cols]     read
//   4  dgain   f32  [cols]            write
//
// Grid     x over columns, WG per workgroup; SLICES lanes share a column's batch, in a fixed order.
// Moves    4 * (2 * batch * cols + batch + cols) bytes.
// Does     3 * batch * cols operations.
// Twin     reference::rmsnorm_dgain — within the rounding of a sum of `batch` products.
// Source   the derivative of RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 32u;
override SLICES: u32 = 8u;

struct Params { batch: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dgain: array<f32>;

var<workgroup> sh_sum: array<f32, WG * SLICES>;

@compute @workgroup_size(WG, SLICES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let col = group.x * WG + lane.x;
    var sum = 0.0;
    if col < p.cols {
        for (var b = lane.y; b < p.batch; b += SLICES) {
            let i = b * p.cols + col;
            sum += dy[i] * (x[i] * factor[b]);
        }
    }
    sh_sum[lane.y * WG + lane.x] = sum;
    workgroupBarrier();
    if lane.y == 0u && col < p.cols {
        for (var slice = 1u; slice < SLICES; slice++) { sum += sh_sum[slice * WG + lane.x]; }
        dgain[col] = sum;
    }
}
