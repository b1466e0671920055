// gemv_walk — a lane's share of up to four rows times the activations
//
// The lanes of a workgroup walk along the rows together: neighbours read neighbouring vectors, and the activations of a
// step, in registers, serve every row. The operand says what a step is. Of every `stride` steps a lane takes one.

fn walk(row: u32, lane: u32, stride: u32) -> Each {
    // Rows past the end repeat the last one and are not stored.
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * row_length();
    var a = Sums();
    for (var k = lane; k < steps(); k += stride) {
        let v0 = weights(rows.x, k);
        let v1 = weights(rows.y, k);
        let v2 = weights(rows.z, k);
        let v3 = weights(rows.w, k);
        a = plus(a, v0, v1, v2, v3, activations(k));
    }
    return totals(a) + each(rest(rows, lane, stride));
}
