// attention_dkv — the gradients of attention's keys and values
//
//   w[i, j] = exp(q[i] . k[j] / sqrt(e) - lse[i]),  i >= j
//   dv[j] = sum_i w[i, j] do[i],  dk[j] = sum_i w[i, j] (do[i] . v[j] - delta[i]) q[i] / sqrt(e)
//   of each head of k and v, the sums over the queries of all heads / kv_heads heads that read it.
//
//   0  p      Params                                     uniform
//   1  q      f32  [sequences * tokens, heads * e]       read
//   2  k      f32  [sequences * tokens, kv_heads * e]    read
//   3  v      f32  [sequences * tokens, kv_heads * e]    read
//   4  lse    f32  [sequences * tokens, heads]           read     from attention
//   5  delta  f32  [sequences * tokens, heads]           read     from attention_dq
//   6  dout   f32  [sequences * tokens, heads * e]       read     do: the gradient of o
//   7  dk     f32  [sequences * tokens, kv_heads * e]    write
//   8  dv     f32  [sequences * tokens, kv_heads * e]    write
//
// A workgroup walks the queries from its first key to the end, some at a time, and does so for one head after the other.
// So the order of every sum is fixed, without atomics.
//
// Moves    4 * n * (2 * heads * e + 4 * kv_heads * e + 2 * heads) bytes, n = sequences * tokens.
// Does     8 * e operations for each pair of a query and a key it sees.
// Twin     reference::attention_dkv — within the rounding of sums of e and of all queries' terms, and of the exponentials.
// Source   FlashAttention, arXiv 2205.14135, algorithm 4; grouped heads, arXiv 2305.13245.

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dk: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> dv: array<vec4<f32>>;
