// attention_dq — the gradients of attention's queries, and the deltas that attention_dkv needs
//
//   delta[i] = do[i] . o[i],  w[i, j] = exp(q[i] . k[j] / sqrt(e) - lse[i]),  j <= i
//   dq[i] = sum_j w[i, j] (do[i] . v[j] - delta[i]) k[j] / sqrt(e)
//   of each head; head h of q reads head h / (heads / kv_heads) of k and v.
//
//   0  p      Params                                     uniform
//   1  q      f32  [sequences * tokens, heads * e]       read
//   2  k      f32  [sequences * tokens, kv_heads * e]    read
//   3  v      f32  [sequences * tokens, kv_heads * e]    read
//   4  o      f32  [sequences * tokens, heads * e]       read
//   5  lse    f32  [sequences * tokens, heads]           read     from attention
//   6  dout   f32  [sequences * tokens, heads * e]       read     do: the gradient of o
//   7  dq     f32  [sequences * tokens, heads * e]       write
//   8  delta  f32  [sequences * tokens, heads]           write
//
// The scores are computed again: to keep them takes memory that grows with the square of the tokens.
//
// Moves    4 * n * (4 * heads * e + 2 * kv_heads * e + 2 * heads) bytes, n = sequences * tokens.
// Does     6 * e operations for each pair of a query and a key it sees.
// Twin     reference::attention_dq — within the rounding of sums of e and of position + 1 terms, and of the exponentials.
// Source   FlashAttention, arXiv 2205.14135, algorithm 4; grouped heads, arXiv 2305.13245.

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> o: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;
@group(0) @binding(6) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;

fn key_at(i: u32) -> vec4<f32> {
    return k[i];
}
