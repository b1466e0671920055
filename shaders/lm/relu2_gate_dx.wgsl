// relu2_gate_dx — through relu2_gate: dgate[b, c] = 2 max(gate, 0) up dz[b, c],   dup[b, c] = max(gate, 0)^2 dz[b, c]
//
//   0  p   Params                     uniform
//   1  x   f32  [batch, 2 * cols]     read    gates, then ups
//   2  dz  f32  [batch, cols]         read
//   3  dx  f32  [batch, 2 * cols]     write   of the gates, then of the ups
//
// Grid     one invocation per value of dz.
// Moves    20 * batch * cols bytes.
// Does     6 * batch * cols operations.
// Twin     reference::relu2_gate_dx — within the roundings of three products.
// Source   the derivative of BitNet b1.58 2B4T's gate, arXiv 2504.12285, section 2.

override WG: u32 = 64u;

struct Params { count: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dz: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if i >= p.count { return; }
    // Row i / cols begins at twice its place among the dz.
    let at = i + i / p.cols * p.cols;
    let gate = max(x[at], 0.0);
    dx[at] = 2.0 * gate * x[at + p.cols] * dz[i];
    dx[at + p.cols] = (gate * gate) * dz[i];
}
