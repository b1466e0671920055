// norm_dx — the gradient through RMSNorm of one row by one workgroup.
//
// For kernels that declare WG, a power of two, p { cols }, sh_sum, an array of WG floats, and gains, inputs and gradients
// of rows. n is the input times the norm.

// mean_k gain[k] dy[k] n[k] of a row.
fn norm_mean(row: u32, lane: u32, norm: f32) -> f32 {
    var along = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        along += (gains(col) * gradients(row, col)) * (inputs(row, col) * norm);
    }
    return row_sum(lane, (along.x + along.y) + (along.z + along.w)) / f32(p.cols);
}

// gain dy - n mean, for columns col to col + 3. This times the norm is the gradient.
fn norm_dx(row: u32, col: u32, n: vec4<f32>, mean: f32) -> vec4<f32> {
    return gains(col) * gradients(row, col) - n * mean;
}
