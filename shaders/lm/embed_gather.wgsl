// embed_gather — h[t, c] = e[ids[t] - first, c] for every token whose id lies in the table
//
//   0  p    Params                    uniform
//   1  ids  i32  [tokens]             read
//   2  e    f32  [vocabulary, width]  read     the rows of the ids from first on; rows are whole vectors of four
//   3  h    f32  [tokens, width]      write    rows of other ids are left as they are
//
// Moves    4 * tokens * (2 * width + 1) bytes.
// Does     no arithmetic on data.
// Twin     reference::embed_gather — equal.

struct Params { tokens: u32, vocabulary: u32, width: u32, first: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> e: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> h: array<vec4<f32>>;

fn four(row: u32, at: u32) -> vec4<f32> {
    return e[at];
}
