// rope_backward_ternary — the gradients of q | k | v before rope, and the same times the beta of their part
//
//   dy[i] = d[i] cos a + d[i + e / 2] sin a,  dy[i + e / 2] = d[i + e / 2] cos a - d[i] sin a,  i < e / 2,
//   of each head of dq and dk; dv is copied. Token t of a sequence has position t.
//   scaled = dy times the beta of its part: what the gradient of the input of the stacked matrix takes.
//
//   0  p       Params                                        uniform
//   1  dq      f32  [sequences * tokens, heads * e]          read
//   2  dk      f32  [sequences * tokens, kv_heads * e]       read
//   3  dv      f32  [sequences * tokens, kv_heads * e]       read
//   4  table   f32  [positions, e]                           read     cosines of the e / 2 angles, then sines
//   5  betas   f32  [129]                                     read     what a trit of q, k, v is worth, 64 apart
//   6  dy      f32  [sequences * tokens, (heads + 2 * kv_heads) * e]  write
//   7  scaled  f32  [sequences * tokens, (heads + 2 * kv_heads) * e]  write
//
// Grid     one workgroup per token.
// Moves    4 * (3 * n * (heads + 2 * kv_heads) * e + tokens * e + 3) bytes, n = sequences * tokens.
// Does     3 * n * (heads + kv_heads) * e + n * (heads + 2 * kv_heads) * e operations.
// Twin     reference::rope_backward_ternary — dy within three roundings, scaled within four.
// Source   RoFormer, arXiv 2104.09864, equation 34, with the pairs (i, i + e / 2) of Hugging Face's "rotate_half".

override WG: u32 = 64u;

struct Params { sequences: u32, tokens: u32, capacity: u32, heads: u32, kv_heads: u32, width: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dq: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dk: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> betas: array<f32>;
@group(0) @binding(6) var<storage, read_write> dy: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> scaled: array<vec4<f32>>;

fn worth(part: u32) -> f32 {
    return betas[64u * part];
}

fn put(i: u32, d: vec4<f32>, worth: f32) {
    dy[i] = d;
    scaled[i] = worth * d;
}

fn run(n: u32, lane: u32) {
    if n < p.sequences * p.tokens { turn_back(token_of(n, 0u), lane); }
}
