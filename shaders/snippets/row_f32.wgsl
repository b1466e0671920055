// row_f32 — rows of floats, four columns at a time.
//
// For kernels that declare WHOLE, p { cols } and x, vectors of f32.

fn at(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
}

// x of columns col to col + 3, zero past the last.
fn inputs(row: u32, col: u32) -> vec4<f32> {
    let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
    let first = row * p.cols;
    // No branch on the column: on a vector machine that costs more than reading the last ones again.
    if WHOLE == 1u {
        return select(vec4<f32>(0.0), x[(first + min(col, p.cols - 4u)) / 4u], inside);
    }
    let last = p.cols - 1u;
    let four = vec4<f32>(
        at(first + min(col, last)), at(first + min(col + 1u, last)),
        at(first + min(col + 2u, last)), at(first + min(col + 3u, last)));
    return select(vec4<f32>(0.0), four, inside);
}
