// axpby — y <- a x + b y
//
//   0  p  Params          uniform
//   1  x  f32  [count]    read
//   2  y  f32  [count]    read and write
//
// Grid     one invocation per four values; count is a multiple of 4.
// Moves    12 * count bytes.
// Does     3 * count operations.
// Twin     reference::axpby — within two roundings.
// Source   the BLAS-like extension of this name.

override WG: u32 = 64u;

struct Params { count: u32, a: f32, b: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    y[i] = p.a * x[i] + p.b * y[i];
}
