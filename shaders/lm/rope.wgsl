// rope — rotary position embedding of queries and keys, and queries, keys and values apart
//
//   y[i] = x[i] cos a - x[i + e / 2] sin a,  y[i + e / 2] = x[i + e / 2] cos a + x[i] sin a,  i < e / 2,
//   of each head of q and k; a row of x is q | k | v of a token, and v is copied.
//   Token t of a sequence has position first + t; its k and v go to this row of the sequence's cache.
//
//   0  p      Params                                        uniform
//   1  x      f32  [sequences * tokens, (heads + 2 * kv_heads) * e]  read
//   2  table  f32  [positions, e]                           read     cosines of the e / 2 angles, then sines
//   3  first  u32  [1]                                      read     position of the first token
//   4  q      f32  [sequences * tokens, heads * e]          write
//   5  k      u32  [sequences * capacity, kv_heads * e]     write    f32 in the rows of the positions; with HALF f16, two a word
//   6  v      u32  [sequences * capacity, kv_heads * e]     write    likewise
//
// Grid     one workgroup per token.
// Moves    4 * (2 * n * (heads + 2 * kv_heads) * e + tokens * e + 1) bytes, n = sequences * tokens.
// Does     3 * n * (heads + kv_heads) * e operations.
// Twin     reference::rope — within three roundings.
// Source   RoFormer, arXiv 2104.09864, equation 34, with the pairs (i, i + e / 2) of Hugging Face's "rotate_half".

override WG: u32 = 64u;
override HALF: u32 = 0u;        // 1: keys and values are f16, two a word

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> first: array<u32>;
@group(0) @binding(4) var<storage, read_write> q: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> k: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> v: array<vec2<u32>>;

fn unit(token: Token, part: u32) -> f32 {
    return 1.0;
}

fn value(i: u32, unit: f32) -> vec4<f32> {
    return unit * x[i];
}

fn run(n: u32, lane: u32) {
    if n < p.sequences * p.tokens { turn(token_of(n, first[0]), lane); }
}
