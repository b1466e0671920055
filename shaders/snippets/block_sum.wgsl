// block_sum — the sum of 1024 floats, in an order that no adapter changes.
//
// For kernels that declare WG, a power of two up to 64, and sh_sum, an array of 64 floats. Sixty-four lanes
// would add four vectors each and meet in a tree; fewer lanes do the same additions for several.

// What one of the 64 adds up.
fn lane_sum(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> f32 {
    let v = a + b + c + d;
    return (v.x + v.y) + (v.z + v.w);
}

// The sum of all sh_sum; sh_sum may be written again after the next barrier.
fn block_sum(lane: u32) -> f32 {
    for (var stride = 32u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        for (var i = lane; i < stride; i += WG) { sh_sum[i] = sh_sum[i] + sh_sum[i + stride]; }
    }
    workgroupBarrier();
    return sh_sum[0];
}
