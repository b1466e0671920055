// silu_gate_dx — through silu_gate: dgate[b, c] = s (1 + gate (1 - s)) up dz[b, c],   dup[b, c] = gate s dz[b, c]
//
//   0  p   Params                     uniform
//   1  x   f32  [batch, 2 * cols]     read    gates, then ups
//   2  dz  f32  [batch, cols]         read
//   3  dx  f32  [batch, 2 * cols]     write   of the gates, then of the ups
//
// s = 1 / (1 + exp(-gate)), and 1 - s = 1 / (1 + exp(gate)), which loses no digits.
//
// Grid     one invocation per value of dz.
// Moves    20 * batch * cols bytes.
// Does     14 * batch * cols operations.
// Twin     reference::silu_gate_dx — within the roundings of two exponentials, two divisions and a few products.
// Source   the derivative of SwiGLU, arXiv 2002.05202, equation 6.

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
    let gate = x[at];
    let s = sigmoid(gate);
    dx[at] = (s * (1.0 + gate * sigmoid(-gate))) * x[at + p.cols] * dz[i];
    dx[at + p.cols] = (gate * s) * dz[i];
}
