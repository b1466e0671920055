// norm_factor — RMSNorm's factor of one row by one workgroup.
//
// For kernels that declare WG, a power of two, p { cols, eps } and sh_squares, an array of WG floats.

// unit / sqrt(mean + eps), of each lane's own sum of squares; one unit of the row is worth `unit`.
fn norm_factor(lane: u32, squares: vec4<f32>, unit: f32) -> f32 {
    sh_squares[lane] = (squares.x + squares.y) + (squares.z + squares.w);
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_squares[lane] = sh_squares[lane] + sh_squares[lane + stride]; }
    }
    workgroupBarrier();
    return unit / sqrt(sh_squares[0] / f32(p.cols) + p.eps);
}
