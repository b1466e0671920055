// sgd — stochastic gradient descent with momentum, and the sums that the next absmean needs
//
//   m <- momentum m + clip[0] grad,   w <- w - lr (m + decay w)
//   sums[k] = sum |w[i]| over block k of 1024
//
//   0  p         Params                        uniform
//   1  clock     u32  [2]                      read              {t, position}: the step counted from 1
//   2  schedule  f32  [steps, 4]               read              row t - 1: {lr, unused, unused, decay}
//   3  clip      f32  [2]                      read              {factor, norm}, see clip_factor; 1 where nothing clips
//   4  grad      f32  [count]                  read
//   5  w         f32  [count]                  read and write
//   6  m         f32  [count]                  read and write
//   7  sums      f32  [ceil(count / 1024)]     write
//
// Only the first `decayed` values decay.
//
// Grid     one workgroup per block.
// Moves    4 * (5 * count + ceil(count / 1024)) bytes.
// Does     9 * count operations.
// Twin     reference::sgd — within a few roundings of the update; reference::abs_sums of w, equal bits.
// Source   I. Sutskever et al., On the importance of initialization and momentum, ICML 2013, equation 1; the
//          decay is decoupled as in arXiv 1711.05101, algorithm 1.

override WG: u32 = 64u;

struct Params { count: u32, decayed: u32, momentum: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> clip: array<f32>;
@group(0) @binding(4) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> sums: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;

// Moves vector i and returns its magnitudes, zero past the end.
fn update(i: u32, now: vec4<f32>) -> vec4<f32> {
    if 4u * i >= p.count { return vec4<f32>(0.0); }
    let index = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
    let decay = select(vec4<f32>(0.0), vec4<f32>(now.w), index < vec4<u32>(p.decayed));
    let before = w[i];
    let m_i = p.momentum * m[i] + clip[0] * grad[i];
    let w_i = before - now.x * (m_i + decay * before);
    m[i] = m_i;
    w[i] = w_i;
    return select(vec4<f32>(0.0), abs(w_i), index < vec4<u32>(p.count));
}
