// relu_dx — dx[i] = dy[i] where x[i] > 0, else 0
//
//   0  p   Params          uniform
//   1  x   f32  [count]    read
//   2  dy  f32  [count]    read
//   3  dx  f32  [count]    write
//
// Grid     one invocation per value.
// Moves    12 * count bytes.
// Does     count operations.
// Twin     reference::relu_dx — equal.

override WG: u32 = 64u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i < p.count { dx[i] = select(0.0, dy[i], x[i] > 0.0); }
}
