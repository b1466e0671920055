// dgain_columns — the gain gradients of 4 * WG / SLICES columns by one workgroup, from integers.
//
// For kernels that declare WG and SLICES, powers of two, WHOLE, p { batch, cols }, x, norm, dy, dgain and sh_columns, an
// array of WG vectors. SLICES lanes share the batch of a column, in a fixed order.

fn x_at(i: u32) -> i32 {
    return x[i / 4u][i % 4u];
}

fn dy_at(i: u32) -> f32 {
    return dy[i / 4u][i % 4u];
}

// max(x, 0) of columns col to col + 3; past the last it is that of the last.
fn passed(row: u32, col: u32) -> vec4<f32> {
    let first = row * p.cols;
    if WHOLE == 1u { return vec4<f32>(max(x[(first + min(col, p.cols - 4u)) / 4u], vec4<i32>(0))); }
    let last = first + p.cols - 1u;
    let i = first + col;
    return vec4<f32>(max(
        vec4<i32>(x_at(min(i, last)), x_at(min(i + 1u, last)), x_at(min(i + 2u, last)), x_at(min(i + 3u, last))),
        vec4<i32>(0)));
}

// The gradients there.
fn gradients(row: u32, col: u32) -> vec4<f32> {
    let first = row * p.cols;
    if WHOLE == 1u { return dy[(first + min(col, p.cols - 4u)) / 4u]; }
    let last = first + p.cols - 1u;
    let i = first + col;
    return vec4<f32>(
        dy_at(min(i, last)), dy_at(min(i + 1u, last)), dy_at(min(i + 2u, last)), dy_at(min(i + 3u, last)));
}

fn dgain_columns(group: u32, lane: u32) {
    let across = WG / SLICES;
    // A folded grid may overhang, by whole workgroups.
    if 4u * group * across >= p.cols { return; }
    let slice = lane / across;
    let col = 4u * (group * across + lane % across);
    var sum = vec4<f32>(0.0);
    for (var b = slice; b < p.batch; b += SLICES) {
        sum += gradients(b, col) * (passed(b, col) * norm[b]);
    }
    sh_columns[lane] = sum;
    workgroupBarrier();
    if slice > 0u { return; }
    for (var s = 1u; s < SLICES; s++) { sum += sh_columns[s * across + lane]; }
    if col < p.cols { dgain[col] = sum.x; }
    if col + 1u < p.cols { dgain[col + 1u] = sum.y; }
    if col + 2u < p.cols { dgain[col + 2u] = sum.z; }
    if col + 3u < p.cols { dgain[col + 3u] = sum.w; }
}
