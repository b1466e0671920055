// relu — y[i] = max(x[i], 0)
//
//   0  p  Params          uniform
//   1  x  f32  [count]    read
//   2  y  f32  [count]    write
//
// Grid     one invocation per value.
// Moves    8 * count bytes.
// Does     count operations.
// Twin     reference::relu — equal.

override WG: u32 = 64u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i < p.count { y[i] = max(x[i], 0.0); }
}
