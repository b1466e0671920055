// muon — w <- w - scale lr x: a step against an orthogonalised direction
//
//   0  p         Params            uniform
//   1  clock     u32  [2]          read              {t, position}: the step counted from 1
//   2  schedule  f32  [steps, 4]   read              row t - 1: {lr, unused, unused, unused}
//   3  x         f32  [count]      read
//   4  w         f32  [count]      read and write
//
// Grid     one invocation per four values; count is a multiple of 4.
// Moves    12 * count bytes.
// Does     3 * count operations.
// Twin     reference::muon — within three roundings.
// Source   Muon, K. Jordan, kellerjordan.github.io/posts/muon, 2024.

override WG: u32 = 64u;

struct Params { count: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> w: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    // What comes from data is clamped: a clock past the schedule stays at its last row.
    let now = schedule[min(clock[0] - 1u, arrayLength(&schedule) - 1u)];
    w[i] = w[i] - p.scale * now.x * x[i];
}
