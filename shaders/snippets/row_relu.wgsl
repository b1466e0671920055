// row_relu — rows of integers behind a ReLU, four columns at a time.
//
// For kernels that declare WHOLE, p { cols } and x, vectors of i32.

fn at(i: u32) -> i32 {
    return x[i / 4u][i % 4u];
}

// max(x, 0) of columns col to col + 3; past the last it is that of the last.
fn inputs(row: u32, col: u32) -> vec4<f32> {
    let first = row * p.cols;
    // No branch on the column: on a vector machine that costs more than reading the last ones again.
    if WHOLE == 1u { return vec4<f32>(max(x[(first + min(col, p.cols - 4u)) / 4u], vec4<i32>(0))); }
    let last = first + p.cols - 1u;
    let i = first + col;
    return vec4<f32>(max(
        vec4<i32>(at(min(i, last)), at(min(i + 1u, last)), at(min(i + 2u, last)), at(min(i + 3u, last))),
        vec4<i32>(0)));
}
