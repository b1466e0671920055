// spread_rows — a float of each of sixteen rows along y, two from each of eight lanes

fn spread(near: f32, far: f32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(near, 0u), subgroupBroadcast(near, 1u), subgroupBroadcast(near, 2u), subgroupBroadcast(near, 3u),
        subgroupBroadcast(near, 4u), subgroupBroadcast(near, 5u), subgroupBroadcast(near, 6u), subgroupBroadcast(near, 7u),
        subgroupBroadcast(far, 0u), subgroupBroadcast(far, 1u), subgroupBroadcast(far, 2u), subgroupBroadcast(far, 3u),
        subgroupBroadcast(far, 4u), subgroupBroadcast(far, 5u), subgroupBroadcast(far, 6u), subgroupBroadcast(far, 7u));
}
