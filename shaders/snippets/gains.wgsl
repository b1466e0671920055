// gains — the gains of a norm, four columns at a time.
//
// For kernels that declare WHOLE, p { cols } and gain, vectors of f32.

// The gains of columns col to col + 3, zero past the last: what pads them may be no number.
fn gains(col: u32) -> vec4<f32> {
    let four = gain[min(col, p.cols - 1u) / 4u];
    if WHOLE == 1u { return four; }
    return select(vec4<f32>(0.0), four, vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols));
}
