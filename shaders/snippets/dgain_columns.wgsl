// dgain_columns — the gain gradients of 4 * WG / SLICES columns by one workgroup.
//
// For kernels that declare WG and SLICES, powers of two, p { batch, cols }, dgain, sh_columns, an array of WG vectors,
// norm_of(row), and inputs and gradients of rows. SLICES lanes share the batch of a column, in a fixed order.

fn dgain_columns(group: u32, lane: u32) {
    let across = WG / SLICES;
    // A folded grid may overhang, by whole workgroups.
    if 4u * group * across >= p.cols { return; }
    let slice = lane / across;
    let col = 4u * (group * across + lane % across);
    var sum = vec4<f32>(0.0);
    for (var b = slice; b < p.batch; b += SLICES) {
        sum += gradients(b, col) * (inputs(b, col) * norm_of(b));
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
