// embed_grad — de[v, c] += sum over the tokens t with ids[t] = v of dh[t, c], in the order of the tokens
//
//   0  p    Params                    uniform
//   1  ids  i32  [tokens]             read
//   2  dh   f32  [tokens, width]      read            rows are whole vectors of four
//   3  de   f32  [vocabulary, width]  read and write  rows of ids that do not occur stay as they are
//
// The workgroup of the first token with an id adds the rows of all tokens with this id. The workgroups of the other
// tokens find an earlier token and stop. So the work does not depend on the size of the vocabulary, no two workgroups
// write the same row, and the order of every sum is fixed.
//
// Grid     one workgroup per token.
// Moves    4 * tokens * (3 * width + 1) bytes: where every id occurs once.
// Does     tokens * width additions.
// Twin     reference::embed_grad — equal.

override WG: u32 = 64u;

struct Params { tokens: u32, vocabulary: u32, width: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> dh: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> de: array<vec4<f32>>;

// Which of four tokens before the end have the id. What comes from data is clamped: no id can lead outside the embedding.
fn matches(four: u32, row: u32, end: u32) -> vec4<bool> {
    let inside = 4u * four + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
    return inside & (min(vec4<u32>(ids[four]), vec4<u32>(p.vocabulary - 1u)) == vec4<u32>(row));
}

// The first four from this one on that has the id.
fn next(start: u32, row: u32) -> u32 {
    var four = start;
    while 4u * four < p.tokens && !any(matches(four, row, p.tokens)) { four++; }
    return four;
}

fn run(token: u32, lane: u32) {
    if token >= p.tokens { return; }
    let row = min(u32(ids[token / 4u][token % 4u]), p.vocabulary - 1u);
    // The nearest earlier token is the likeliest: the walk goes back from the token.
    for (var left = token / 4u + 1u; left > 0u; left--) {
        if any(matches(left - 1u, row, token)) { return; }
    }
    let vectors = p.width / 4u;
    for (var four = next(token / 4u, row); 4u * four < p.tokens; four = next(four + 1u, row)) {
        let same = matches(four, row, p.tokens);
        for (var c = lane; c < vectors; c += WG) {
            var sum = de[row * vectors + c];
            let at = 4u * four * vectors + c;
            if same.x { sum += dh[at]; }
            if same.y { sum += dh[at + vectors]; }
            if same.z { sum += dh[at + 2u * vectors]; }
            if same.w { sum += dh[at + 3u * vectors]; }
            de[row * vectors + c] = sum;
        }
    }
}
