// gradients — rows of gradients, four columns at a time.
//
// For kernels that declare WHOLE, p { cols } and dy, vectors of f32.

fn dy_at(i: u32) -> f32 {
    return dy[i / 4u][i % 4u];
}

// dy of columns col to col + 3; past the last it is that of the last.
fn gradients(row: u32, col: u32) -> vec4<f32> {
    let first = row * p.cols;
    if WHOLE == 1u { return dy[(first + min(col, p.cols - 4u)) / 4u]; }
    let last = first + p.cols - 1u;
    let i = first + col;
    return vec4<f32>(
        dy_at(min(i, last)), dy_at(min(i + 1u, last)), dy_at(min(i + 2u, last)), dy_at(min(i + 3u, last)));
}
