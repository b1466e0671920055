// gemv_wide — four rows of a matrix times one row of activations, by one lane
//
// For software rasterisers: the activations of a step serve four rows, and no lane waits for another.
//
// Grid     TILE_X rows per invocation.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

fn run(group: u32, lane: u32) {
    let row = (group * WG + lane) * TILE_X;
    if row >= p.rows { return; }
    let sums = walk(row, 0u, 1u);
    store(row, sums.x);
    if row + 1u < p.rows { store(row + 1u, sums.y); }
    if row + 2u < p.rows { store(row + 2u, sums.z); }
    if row + 3u < p.rows { store(row + 3u, sums.w); }
}
