// row_sum — the sum of one float per lane of the workgroup, in a fixed order.
//
// For kernels that declare WG, a power of two, and sh_sum, an array of WG floats.

fn row_sum(lane: u32, value: f32) -> f32 {
    sh_sum[lane] = value;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_sum[lane] = sh_sum[lane] + sh_sum[lane + stride]; }
    }
    workgroupBarrier();
    return sh_sum[0];
}
