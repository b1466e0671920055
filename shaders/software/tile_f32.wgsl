// tile_f32 — batch rows times matrix rows of floats, terms of tile

alias Load = vec4<f32>;

fn x_at(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
}

fn w_at(i: u32) -> f32 {
    return w[i / 4u][i % 4u];
}

fn walk(t: ptr<function, Tile>, b: u32, row: u32, lane: u32) {
    let near = min(b + lane, p.batch - 1u) * p.length;
    let far = min(b + 8u + lane, p.batch - 1u) * p.length;
    let rows = eight_of(row, p.rows);
    let low = rows.low * p.length;
    let high = rows.high * p.length;
    // Loads of four need rows that start at multiples of four; other rows go one by one.
    let whole = select(0u, p.length, p.length % 4u == 0u);
    for (var k = 0u; k < whole; k += 4u) {
        let x_near = x[(near + k) / 4u];
        let x_far = x[(far + k) / 4u];
        let x0 = spread(x_near.x, x_far.x);
        let x1 = spread(x_near.y, x_far.y);
        let x2 = spread(x_near.z, x_far.z);
        let x3 = spread(x_near.w, x_far.w);
        let l = (low + k) / 4u;
        let h = (high + k) / 4u;
        (*t)[0] = plus((*t)[0], w[l.x], x0, x1, x2, x3);
        (*t)[1] = plus((*t)[1], w[l.y], x0, x1, x2, x3);
        (*t)[2] = plus((*t)[2], w[l.z], x0, x1, x2, x3);
        (*t)[3] = plus((*t)[3], w[l.w], x0, x1, x2, x3);
        (*t)[4] = plus((*t)[4], w[h.x], x0, x1, x2, x3);
        (*t)[5] = plus((*t)[5], w[h.y], x0, x1, x2, x3);
        (*t)[6] = plus((*t)[6], w[h.z], x0, x1, x2, x3);
        (*t)[7] = plus((*t)[7], w[h.w], x0, x1, x2, x3);
    }
    for (var k = whole; k < p.length; k++) {
        let l = low + k;
        let h = high + k;
        add_one(t, vec4<f32>(w_at(l.x), w_at(l.y), w_at(l.z), w_at(l.w)),
                vec4<f32>(w_at(h.x), w_at(h.y), w_at(h.z), w_at(h.w)), spread(x_at(near + k), x_at(far + k)));
    }
}
