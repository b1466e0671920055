// tile_f16 — batch rows times matrix rows of halfs, terms of tile

alias Load = vec4<u32>;

fn walk(t: ptr<function, Tile>, b: u32, row: u32, lane: u32) {
    let near = min(b + lane, p.batch - 1u) * p.length;
    let far = min(b + 8u + lane, p.batch - 1u) * p.length;
    let rows = eight_of(row, p.rows);
    let low = rows.low * p.length;
    let high = rows.high * p.length;
    for (var k = 0u; k < p.length; k++) {
        let x_near = x[near + k];
        let x_far = x[far + k];
        let n = low_halfs(x_near);
        let f = low_halfs(x_far);
        let x0 = spread(n.x, f.x);
        let x1 = spread(n.y, f.y);
        let x2 = spread(n.z, f.z);
        let x3 = spread(n.w, f.w);
        let n_high = high_halfs(x_near);
        let f_high = high_halfs(x_far);
        let x4 = spread(n_high.x, f_high.x);
        let x5 = spread(n_high.y, f_high.y);
        let x6 = spread(n_high.z, f_high.z);
        let x7 = spread(n_high.w, f_high.w);
        let l = low + k;
        let h = high + k;
        let w0 = w[l.x];
        (*t)[0] = plus(plus((*t)[0], low_halfs(w0), x0, x1, x2, x3), high_halfs(w0), x4, x5, x6, x7);
        let w1 = w[l.y];
        (*t)[1] = plus(plus((*t)[1], low_halfs(w1), x0, x1, x2, x3), high_halfs(w1), x4, x5, x6, x7);
        let w2 = w[l.z];
        (*t)[2] = plus(plus((*t)[2], low_halfs(w2), x0, x1, x2, x3), high_halfs(w2), x4, x5, x6, x7);
        let w3 = w[l.w];
        (*t)[3] = plus(plus((*t)[3], low_halfs(w3), x0, x1, x2, x3), high_halfs(w3), x4, x5, x6, x7);
        let w4 = w[h.x];
        (*t)[4] = plus(plus((*t)[4], low_halfs(w4), x0, x1, x2, x3), high_halfs(w4), x4, x5, x6, x7);
        let w5 = w[h.y];
        (*t)[5] = plus(plus((*t)[5], low_halfs(w5), x0, x1, x2, x3), high_halfs(w5), x4, x5, x6, x7);
        let w6 = w[h.z];
        (*t)[6] = plus(plus((*t)[6], low_halfs(w6), x0, x1, x2, x3), high_halfs(w6), x4, x5, x6, x7);
        let w7 = w[h.w];
        (*t)[7] = plus(plus((*t)[7], low_halfs(w7), x0, x1, x2, x3), high_halfs(w7), x4, x5, x6, x7);
    }
}
