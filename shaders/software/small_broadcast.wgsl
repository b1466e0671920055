// small_broadcast — rows of a matrix times a few rows of activations, which eight lanes load for each other
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): with 2, 4 or 8 COLUMNS the
// lanes hold 4, 2 or 1 places of each batch row. A larger batch comes in blocks.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation, COLUMNS batch rows per workgroup.

override WG: u32 = 8u;
// 2, 4 or 8.
override COLUMNS: u32 = 8u;
const TILE_X: u32 = 4u;

// Four sums, one a row, for each batch row, or for each lane whose activations are broadcast.
alias Sums = array<Four, 8>;

fn store_four(b: u32, row: u32, values: Four) {
    if b >= p.batch { return; }
    let i = b * p.rows + row;
    if row < p.rows { put(b, i, values.x); }
    if row + 1u < p.rows { put(b, i + 1u, values.y); }
    if row + 2u < p.rows { put(b, i + 2u, values.z); }
    if row + 3u < p.rows { put(b, i + 3u, values.w); }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let index = group_index(group, groups);
    let blocks = (p.batch + COLUMNS - 1u) / COLUMNS;
    let row = (index / blocks * WG + lane) * TILE_X;
    let b = index % blocks * COLUMNS;
    let starts = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * row_length();
    let mine = subgroup_lane & 7u;
    let start = min(b + mine % COLUMNS, p.batch - 1u) * batch_length();
    var a = Sums();
    walk(&a, starts, start, mine / COLUMNS);
    store_four(b, row, a[0]);
    store_four(b + 1u, row, a[1]);
    if COLUMNS > 2u {
        store_four(b + 2u, row, a[2]);
        store_four(b + 3u, row, a[3]);
    }
    if COLUMNS > 4u {
        store_four(b + 4u, row, a[4]);
        store_four(b + 5u, row, a[5]);
        store_four(b + 6u, row, a[6]);
        store_four(b + 7u, row, a[7]);
    }
}
