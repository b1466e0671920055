// embed_gather_f16 — h[t, c] = e[ids[t] - first, c] for every token whose id lies in the table, which is stored as f16
//
//   0  p    Params                        uniform
//   1  ids  i32  [tokens]                 read
//   2  e    u32  [vocabulary, width / 2]  read     f16, two a word: the rows of the ids from first on
//   3  h    f32  [tokens, width]          write    rows of other ids are left as they are
//
// Moves    2 * tokens * (3 * width + 2) bytes.
// Does     no arithmetic on data.
// Twin     reference::embed_gather_f16 — equal, but a device may replace subnormal f16 by 0.

struct Params { tokens: u32, vocabulary: u32, width: u32, first: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> e: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> h: array<vec4<f32>>;

fn four(row: u32, at: u32) -> vec4<f32> {
    let halfs = e[at];
    return vec4<f32>(unpack2x16float(halfs.x), unpack2x16float(halfs.y));
}
