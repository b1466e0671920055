// attention — causal attention with grouped heads, in tiles
//
//   s[i, j] = q[i] . k[j] / sqrt(e),  j <= first + i
//   lse[i] = log sum_j exp(s[i, j]),  o[i] = sum_j exp(s[i, j] - lse[i]) v[j]
//   of each head; head h of q reads head h / (heads / kv_heads) of k and v, both in the rows of their positions.
//
//   0  p      Params                                     uniform
//   1  q      f32  [sequences * tokens, heads * e]       read
//   2  k      u32  [sequences * capacity, kv_heads * e]  read     f32; with HALF f16, two a word
//   3  v      u32  [sequences * capacity, kv_heads * e]  read     likewise
//   4  first  u32  [1]                                   read     position of the first query
//   5  o      f32  [sequences * tokens, heads * e]       write
//   6  lse    f32  [sequences * tokens, heads]           write    for the backward kernels
//
// A workgroup walks the keys, some at a time, and stops at the last key that any of its queries sees. For each query it
// keeps the largest score so far, the sum of the weights and the output. A larger score scales the other two down.
//
// Moves    4 * (2 * n * heads * e + 2 * sequences * capacity * kv_heads * e + n * heads + 1) bytes, n = sequences * tokens.
// Does     4 * e operations for each pair of a query and a key it sees.
// Twin     reference::attention — within the rounding of sums of e and of position + 1 terms, and of the exponentials.
// Source   FlashAttention, arXiv 2205.14135, algorithm 1; grouped heads, arXiv 2305.13245.

override HALF: u32 = 0u;        // 1: keys and values are f16, two a word

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> first: array<u32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;
