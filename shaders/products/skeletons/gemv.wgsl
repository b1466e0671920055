// gemv — rows of a matrix times one row of activations, by the lanes of a workgroup, which meet in a tree
//
// Grid     one workgroup per TILE_Y rows.

override WG: u32 = 64u;

var<workgroup> sh: array<Each, WG>;

fn run(group: u32, lane: u32) {
    let row = group * TILE_Y;
    if row >= p.rows { return; }
    sh[lane] = walk(row, lane, WG);
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { store(row + lane, sh[0][lane]); }
}
