// row_relu — rows of integers behind a ReLU, four columns at a time.
//
// For kernels that declare WHOLE, p { cols } and x, vectors of i32.

fn at(i: u32) -> i32 {
    return x[i / 4u][i % 4u];
}

// max(x, 0) of columns col to col + 3, zero past the last.
fn inputs(row: u32, col: u32) -> vec4<f32> {
    let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
    let first = row * p.cols;
    // No branch on the column: on a vector machine that costs more than reading the last ones again.
    if WHOLE == 1u {
        let four = x[(first + min(col, p.cols - 4u)) / 4u];
        return vec4<f32>(select(vec4<i32>(0), max(four, vec4<i32>(0)), inside));
    }
    let last = p.cols - 1u;
    let four = vec4<i32>(
        at(first + min(col, last)), at(first + min(col + 1u, last)),
        at(first + min(col + 2u, last)), at(first + min(col + 3u, last)));
    return vec4<f32>(select(vec4<i32>(0), max(four, vec4<i32>(0)), inside));
}
