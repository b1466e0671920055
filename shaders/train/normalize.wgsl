// normalize — x <- x / (norm + 1e-7): a matrix divided by its Frobenius norm
//
//   0  p     Params          uniform
//   1  clip  f32  [2]        read              {unused, norm}, from clip_factor
//   2  x     f32  [count]    read and write
//
// Grid     one invocation per four values; count is a multiple of 4.
// Moves    8 * count bytes.
// Does     count operations.
// Twin     reference::normalize — within a sum and a division.
// Source   Muon, K. Jordan, kellerjordan.github.io/posts/muon, 2024: the start of Newton-Schulz.

override WG: u32 = 64u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    x[i] = x[i] / (clip[1] + 1e-7);
}
