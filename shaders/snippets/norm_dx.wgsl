// norm_dx — the gradient through RMSNorm of one row by one workgroup.
//
// For kernels that declare WG, a power of two, p { cols }, sh_sum, an array of WG floats, and these functions: gains,
// inputs and gradients of rows; norm_of(row); outer_of(row), the norm of a row whose unit is worth 1; store(row, col, x,
// value), which writes the gradients of columns col to col + 3, where the inputs are x.

fn norm_dx(row: u32, lane: u32) {
    let f = norm_of(row);
    var along = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        along += (gains(col) * gradients(row, col)) * (inputs(row, col) * f);
    }
    let mean = row_sum(lane, (along.x + along.y) + (along.z + along.w)) / f32(p.cols);
    let outer = outer_of(row);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let x = inputs(row, col);
        store(row, col, x, outer * (gains(col) * gradients(row, col) - (x * f) * mean));
    }
}
