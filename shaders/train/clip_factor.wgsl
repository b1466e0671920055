// clip_factor — norm = sqrt(sum_k sums[k]),   clip = {min(1, most / (norm + 1e-6)), norm}
//
//   0  p     Params          uniform
//   1  sums  f32  [count]    read     square_sums of all gradients
//   2  clip  f32  [2]        write    {factor, norm}: adamw and sgd multiply the gradients by the factor
//
// Sixty-four running sums meet in a tree, whatever the size of the workgroup: the order of the additions is fixed.
//
// Grid     one workgroup.
// Moves    4 * (count + 2) bytes.
// Does     count operations.
// Twin     reference::clip_factor — within the rounding of a sum of count terms, its root and a division.
// Source   gradient clipping by norm, arXiv 1211.5063, algorithm 1; the 1e-6 is that of torch's clip_grad_norm_.

override WG: u32 = 64u;

struct Params { count: u32, most: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var l = lane; l < 64u; l += WG) {
        var sum = 0.0;
        for (var i = l; i < p.count; i += 64u) { sum += sums[i]; }
        sh_sum[l] = sum;
    }
    let norm = sqrt(block_sum(lane));
    if lane == 0u {
        clip[0] = min(1.0, p.most / (norm + 1e-6));
        clip[1] = norm;
    }
}
