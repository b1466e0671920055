// quantize_relu — g[b, c] = gain[c] max(x[b, c], 0), then quantize_activations(g)
//
//   0  p      Params                      uniform
//   1  x      i32  [batch, cols]          read    pixels, or the accumulators of the layer before
//   2  gain   f32  [cols]                 read
//   3  q      u32  [batch, 4 * words]     write   int8, four a word, zero past the last column
//   4  scale  f32  [batch]                write   127 / max(max |g[b, :]|, 1e-5)
//   5  sum    i32  [batch]                write   sum of q
//
// The exact path: x is an integer, so every code depends only on correctly rounded multiplications
// and is the same on every device. The positive factors of the row (the norm's, the scale of the
// layer before) cannot change the codes and travel beside them, see rms_factor.
//
// Grid     one workgroup per row.
// Moves    4 * batch * (cols + 4 * words + 2) + 4 * cols bytes.
// Does     6 * batch * cols operations (relu, gain, absolute value, maximum, multiply, round).
// Twin     reference::quantize_relu — equal.

override WG: u32 = 64u;

struct Params { batch: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> q: array<u32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum: array<i32>;

var<workgroup> sh_max: array<f32, WG>;
var<workgroup> sh_sum: array<i32, WG>;

fn value(row: u32, col: u32) -> f32 {
    // No branch: on a vector machine that costs more than reading the last column again.
    let c = min(col, p.cols - 1u);
    return select(0.0, gain[c] * f32(max(x[row * p.cols + c], 0)), col < p.cols);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if row < p.batch { quantize_row(row, lane); }
}
