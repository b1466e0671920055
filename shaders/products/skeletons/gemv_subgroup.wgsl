// gemv_subgroup — gemv whose lanes meet in subgroups
//
// Of whatever size the subgroups are, each leaves its sum, and one lane a row adds those.
//
// Needs    subgroups of at least 4.
// Grid     one workgroup per TILE_Y rows.

override WG: u32 = 64u;

var<workgroup> sh: array<Each, WG / 4u>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let row = group_index(group, groups) * TILE_Y;
    if row >= p.rows { return; }
    let part = subgroupAdd(walk(row, lane, WG));
    if subgroup_lane == 0u { sh[subgroup] = part; }
    workgroupBarrier();
    if lane >= TILE_Y || row + lane >= p.rows { return; }
    var total = sh[0][lane];
    for (var i = 1u; i < subgroups; i++) { total += sh[i][lane]; }
    store(row + lane, total);
}
