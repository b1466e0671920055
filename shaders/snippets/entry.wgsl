// entry — the entry point of a kernel that calls run(group, lane): the number of the workgroup, and of the invocation in it
//
// The host folds more than 65,535 workgroups into two dimensions. Here they are one line again.

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    run(group.y * groups.x + group.x, lane);
}
