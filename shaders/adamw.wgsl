// adamw — Adam with decoupled weight decay on the shadow weights
//
//   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
//   w <- w - lr (decay w + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps))
//
//   0  p         Params               uniform
//   1  clock     u32  [2]             read              {step, position}; t = step + 1
//   2  schedule  f32  [steps, 4]      read              {lr, 1/(1-b1^t), 1/sqrt(1-b2^t), unused}
//   3  g         f32  [count]         read
//   4  w         f32  [count]         read and write
//   5  m         f32  [count]         read and write
//   6  v         f32  [count]         read and write
//
// Grid     one invocation per TILE_X values.
// Moves    4 * 7 * count bytes.
// Does     15 * count operations.
// Twin     reference::adamw — within a few roundings of the update.
// Source   AdamW, arXiv 1711.05101, algorithm 2.

override WG: u32 = 64u;
const TILE_X: u32 = 8u;         // values; two vectors share one reading of the schedule

struct Params { count: u32, beta1: f32, beta2: f32, eps: f32, decay: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> v: array<vec4<f32>>;

fn update(i: u32, now: vec4<f32>) {
    let grad = g[i];
    let m_i = p.beta1 * m[i] + (1.0 - p.beta1) * grad;
    let v_i = p.beta2 * v[i] + (1.0 - p.beta2) * (grad * grad);
    let w_i = w[i];
    let step = (m_i * now.y) / (sqrt(v_i) * now.z + p.eps);
    m[i] = m_i;
    v[i] = v_i;
    w[i] = (1.0 - now.x * p.decay) * w_i - now.x * step;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // What comes from data is clamped: a clock past the schedule stays at its last row.
    let now = schedule[min(clock[0], arrayLength(&schedule) - 1u)];
    let first = group_index(group, groups) * WG * (TILE_X / 4u) + lane;
    for (var i = first; i < first + WG * (TILE_X / 4u); i += WG) {
        if 4u * i < p.count { update(i, now); }
    }
}
