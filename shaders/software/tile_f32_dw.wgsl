// tile_f32_dw — gradients of rows times columns of the activations, terms of tile

alias Load = vec4<f32>;

fn x_at(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
}

// Four columns of four batch rows, from index i on, [column][batch row].
fn columns(i: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        x[i / 4u], x[(i + p.cols) / 4u], x[(i + 2u * p.cols) / 4u], x[(i + 3u * p.cols) / 4u]));
}

fn walk(t: ptr<function, Tile>, row: u32, col: u32, lane: u32) {
    let four_rows = row + 4u * (lane % 4u);
    let mine = min(four_rows, p.rows - 1u) + lane / 4u * p.rows;
    let cols = eight_of(col, p.cols);
    // Loads of four need rows that start at multiples of four. Other rows go one by one, and so do the batch rows left
    // over from fours.
    let whole = select(0u, p.batch - p.batch % 4u, p.rows % 4u + p.cols % 4u == 0u);
    for (var b = 0u; b < whole; b += 4u) {
        let first = dy[(b * p.rows + mine) / 4u];
        let second = dy[((b + 2u) * p.rows + mine) / 4u];
        add(t, columns(b * p.cols + cols.low.x), columns(b * p.cols + cols.high.x),
            spread(first), spread_next(first), spread(second), spread_next(second));
    }
    for (var b = whole; b < p.batch; b++) {
        let l = b * p.cols + cols.low;
        let h = b * p.cols + cols.high;
        add_one(t, vec4<f32>(x_at(l.x), x_at(l.y), x_at(l.z), x_at(l.w)),
                vec4<f32>(x_at(h.x), x_at(h.y), x_at(h.z), x_at(h.w)),
                spread(four(b * p.rows + four_rows, (b + 1u) * p.rows - 1u)));
    }
}
