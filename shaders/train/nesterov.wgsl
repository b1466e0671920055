// nesterov — the momentum of a gradient, and the direction that looks one step ahead of it
//
//   g = clip[0] grad,   m <- momentum m + g,   x <- g + momentum m
//
//   0  p     Params          uniform
//   1  clip  f32  [2]        read              {factor, norm}, see clip_factor; 1 where nothing clips
//   2  grad  f32  [count]    read
//   3  m     f32  [count]    read and write
//   4  x     f32  [count]    write
//
// Grid     one invocation per four values; count is a multiple of 4.
// Moves    16 * count bytes.
// Does     5 * count operations.
// Twin     reference::nesterov — within a few roundings.
// Source   Muon, arXiv 2502.16982, section 2.1; I. Sutskever et al., On the importance of initialization and
//          momentum, ICML 2013, section 2.

override WG: u32 = 64u;

struct Params { count: u32, momentum: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    let g = clip[0] * grad[i];
    let m_i = p.momentum * m[i] + g;
    m[i] = m_i;
    x[i] = g + p.momentum * m_i;
}
