// embed_gather_int8 — h[t, c] = scale[r] e[r, c],   r = ids[t] - first, for every token whose id lies in the table
//
//   0  p      Params                        uniform
//   1  ids    i32  [tokens]                 read
//   2  e      u32  [vocabulary, width / 4]  read     int8, four a word: the rows of the ids from first on
//   3  scale  f32  [vocabulary]             read     real value of one step of a row
//   4  h      f32  [tokens, width]          write    rows of other ids are left as they are
//
// Moves    tokens * (5 * width + 8) bytes.
// Does     tokens * width operations.
// Twin     reference::embed_gather_int8 — equal.

struct Params { tokens: u32, vocabulary: u32, width: u32, first: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> e: array<u32>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>;

fn four(row: u32, at: u32) -> vec4<f32> {
    return scale[row] * vec4<f32>(unpack4xI8(e[at]));
}
