// sgd — stochastic gradient descent with momentum on the weights
//
//   m <- momentum m + g,   w <- w - lr (m + decay w)
//
//   0  p         Params               uniform
//   1  clock     u32  [2]             read              {step, position}
//   2  schedule  f32  [steps, 4]      read              {lr, unused}
//   3  g         f32  [count]         read
//   4  w         f32  [count]         read and write
//   5  m         f32  [count]         read and write
//
// Grid     one invocation per TILE_X values.
// Moves    4 * 5 * count bytes.
// Does     6 * count operations.
// Twin     reference::sgd — within a few roundings of the update.
// Source   I. Sutskever et al., On the importance of initialization and momentum, ICML 2013, equation 1; the
//          decay is decoupled as in arXiv 1711.05101, algorithm 1.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;

struct Params { count: u32, momentum: f32, decay: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> m: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    if TILE_X * i >= p.count { return; }
    // What comes from data is clamped: a clock past the schedule stays at its last row.
    let rate = schedule[min(clock[0], arrayLength(&schedule) - 1u)].x;
    let w_i = w[i];
    let m_i = p.momentum * m[i] + g[i];
    m[i] = m_i;
    w[i] = w_i - rate * (m_i + p.decay * w_i);
}
