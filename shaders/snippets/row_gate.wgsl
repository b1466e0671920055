// row_gate — rows of a gated squared ReLU, z = max(gate, 0)^2 up, from integers, four columns at a time.
//
// For kernels that declare WHOLE, p { cols } and acc, vectors of i32. A row of acc is `cols` gates, then `cols` ups,
// all below 2^24 in magnitude and so exact as f32.

fn at(i: u32) -> i32 {
    return acc[i / 4u][i % 4u];
}

// Of a half of the row, 0 the gates and 1 the ups, columns col to col + 3; past the last it is that of the last.
fn half_row(row: u32, half: u32, col: u32) -> vec4<f32> {
    let first = (2u * row + half) * p.cols;
    // No branch on the column: on a vector machine that costs more than reading the last ones again.
    if WHOLE == 1u { return vec4<f32>(acc[(first + min(col, p.cols - 4u)) / 4u]); }
    let last = first + p.cols - 1u;
    let i = first + col;
    return vec4<f32>(vec4<i32>(
        at(min(i, last)), at(min(i + 1u, last)), at(min(i + 2u, last)), at(min(i + 3u, last))));
}

// z, as (gate gate) up: a driver that multiplied in another order would round it otherwise.
fn gated(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
    let open = max(gate, vec4<f32>(0.0));
    return pinned(pinned(open * open, 0x1p48f) * up, 0x1p72f);
}

// z of columns col to col + 3; past the last it is that of the last.
fn inputs(row: u32, col: u32) -> vec4<f32> {
    return gated(half_row(row, 0u, col), half_row(row, 1u, col));
}
