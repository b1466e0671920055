// gather — four values of one row of an embedding, for every token whose id lies in the table
//
// Grid     one invocation per four values.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    let vectors = p.width / TILE_X;
    let token = i / vectors;
    if token >= p.tokens { return; }
    // An id below first becomes a large number. No id can lead outside the table.
    let row = u32(ids[token]) - p.first;
    if row >= p.vocabulary { return; }
    h[i] = four(row, row * vectors + i % vectors);
}
