// adamw — Adam with decoupled weight decay, and the sums that the next absmean needs
//
//   g = clip[0] grad,   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
//   w <- w - lr (decay w + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps))
//   sums[k] = sum |w[i]| over block k of 1024
//
//   0  p         Params                        uniform
//   1  clock     u32  [2]                      read              {t, position}: the step counted from 1
//   2  schedule  f32  [steps, 4]               read              row t - 1: {lr, 1/(1-b1^t), 1/sqrt(1-b2^t), decay}
//   3  clip      f32  [2]                      read              {factor, norm}, see clip_factor; 1 where nothing clips
//   4  grad      f32  [count]                  read
//   5  w         f32  [count]                  read and write
//   6  m         f32  [count]                  read and write
//   7  v         f32  [count]                  read and write
//   8  sums      f32  [ceil(count / 1024)]     write
//
// Only the first `decayed` values decay.
//
// Grid     one workgroup per block.
// Moves    4 * (7 * count + ceil(count / 1024)) bytes.
// Does     18 * count operations.
// Twin     reference::adamw — within a few roundings of the update; reference::abs_sums of w, equal bits.
// Source   AdamW, arXiv 1711.05101, algorithm 2.

override WG: u32 = 64u;

struct Params { count: u32, decayed: u32, beta1: f32, beta2: f32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> clip: array<f32>;
@group(0) @binding(4) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> sums: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;

// Moves vector i and returns its magnitudes, zero past the end.
fn update(i: u32, now: vec4<f32>) -> vec4<f32> {
    if 4u * i >= p.count { return vec4<f32>(0.0); }
    let index = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
    let decay = select(vec4<f32>(0.0), vec4<f32>(now.w), index < vec4<u32>(p.decayed));
    let g = clip[0] * grad[i];
    let m_i = p.beta1 * m[i] + (1.0 - p.beta1) * g;
    let v_i = p.beta2 * v[i] + (1.0 - p.beta2) * (g * g);
    let step = (m_i * now.y) / (sqrt(v_i) * now.z + p.eps);
    let w_i = (1.0 - now.x * decay) * w[i] - now.x * step;
    m[i] = m_i;
    v[i] = v_i;
    w[i] = w_i;
    return select(vec4<f32>(0.0), abs(w_i), index < vec4<u32>(p.count));
}
