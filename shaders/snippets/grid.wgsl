// grid — a linear index from a grid that the host folded into two dimensions past 65,535 groups.

fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
