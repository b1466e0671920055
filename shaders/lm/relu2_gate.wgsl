// relu2_gate — z[b, c] = max(gate, 0)^2 up,   gate = x[b, c],   up = x[b, cols + c]
//
//   0  p  Params                     uniform
//   1  x  f32  [batch, 2 * cols]     read    gates, then ups
//   2  z  f32  [batch, cols]         write
//
// Grid     one invocation per value.
// Moves    12 * batch * cols bytes.
// Does     3 * batch * cols operations.
// Twin     reference::relu2_gate — within the roundings of two products.
// Source   BitNet b1.58 2B4T, arXiv 2504.12285, section 2; the squared ReLU is of Primer, arXiv 2109.08668, section 4.

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
    let gate = max(x[at], 0.0);
    z[i] = (gate * gate) * x[at + p.cols];
}
