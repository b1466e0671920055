// silu_gate — z[b, c] = gate s up,   s = 1 / (1 + exp(-gate)),   gate = x[b, c],   up = x[b, cols + c]
//
//   0  p  Params                     uniform
//   1  x  f32  [batch, 2 * cols]     read    gates, then ups
//   2  z  f32  [batch, cols]         write
//
// Grid     one invocation per value.
// Moves    12 * batch * cols bytes.
// Does     6 * batch * cols operations.
// Twin     reference::silu_gate — within the roundings of an exponential, a division and two products.
// Source   SwiGLU, arXiv 2002.05202, equation 6.

override WG: u32 = 64u;

struct Params { count: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i >= p.count { return; }
    // Row i / cols begins at twice its place among the z.
    let at = i + i / p.cols * p.cols;
    z[i] = (x[at] * sigmoid(x[at])) * x[at + p.cols];
}
