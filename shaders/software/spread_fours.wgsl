// spread_fours — sixteen floats side by side along y, four from each of four lanes; the other four hold the next term's

fn spread(d: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(d, 0u), subgroupBroadcast(d, 1u), subgroupBroadcast(d, 2u), subgroupBroadcast(d, 3u));
}

fn spread_next(d: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupBroadcast(d, 4u), subgroupBroadcast(d, 5u), subgroupBroadcast(d, 6u), subgroupBroadcast(d, 7u));
}

fn dy_at(i: u32) -> f32 {
    return dy[i / 4u][i % 4u];
}

// Four gradients from index i on; past the last they repeat it.
fn four(i: u32, last: u32) -> vec4<f32> {
    return vec4<f32>(
        dy_at(min(i, last)), dy_at(min(i + 1u, last)), dy_at(min(i + 2u, last)), dy_at(min(i + 3u, last)));
}
