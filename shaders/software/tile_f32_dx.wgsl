// tile_f32_dx — gradients of batch rows times columns of the matrix, terms of tile

alias Load = vec4<f32>;

fn w_at(i: u32) -> f32 {
    return w[i / 4u][i % 4u];
}

fn dy_at(i: u32) -> f32 {
    return dy[i / 4u][i % 4u];
}

// Four columns of four rows of the matrix, from index i on, [column][row].
fn columns(i: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        w[i / 4u], w[(i + p.cols) / 4u], w[(i + 2u * p.cols) / 4u], w[(i + 3u * p.cols) / 4u]));
}

fn walk(t: ptr<function, Tile>, b: u32, col: u32, lane: u32) {
    let near = min(b + lane, p.batch - 1u) * p.rows;
    let far = min(b + 8u + lane, p.batch - 1u) * p.rows;
    let cols = eight_of(col, p.cols);
    // Loads of four need rows that start at multiples of four; other rows go one by one.
    let whole = select(0u, p.rows, p.rows % 4u + p.cols % 4u == 0u);
    for (var r = 0u; r < whole; r += 4u) {
        let n = dy[(near + r) / 4u];
        let f = dy[(far + r) / 4u];
        add(t, columns(r * p.cols + cols.low.x), columns(r * p.cols + cols.high.x),
            spread(n.x, f.x), spread(n.y, f.y), spread(n.z, f.z), spread(n.w, f.w));
    }
    for (var r = whole; r < p.rows; r++) {
        let l = r * p.cols + cols.low;
        let h = r * p.cols + cols.high;
        add_one(t, vec4<f32>(w_at(l.x), w_at(l.y), w_at(l.z), w_at(l.w)),
                vec4<f32>(w_at(h.x), w_at(h.y), w_at(h.z), w_at(h.w)), spread(dy_at(near + r), dy_at(far + r)));
    }
}
