// tile_ternary_dw — scaled gradients of rows times columns of int8 activations, terms of tile

alias Load = vec4<f32>;
alias Word = vec2<u32>;

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

// Four columns of four batch rows, [column][batch row].
fn columns(w0: u32, w1: u32, w2: u32, w3: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(bytes(w0), bytes(w1), bytes(w2), bytes(w3)));
}

fn walk(t: ptr<function, Tile>, row: u32, col: u32, lane: u32) {
    let pairs = 2u * p.words;                       // of words, in a row of q
    let mine = min(col / TILE_X, pairs - 1u);
    let second = lane / 4u;                         // half of the lanes load the batch row after
    let four_rows = row + 4u * (lane % 4u);
    let mine_rows = min(four_rows, p.rows - 1u) + second * p.rows;
    // Loads of four need rows that start at multiples of four. Other rows go one by one, and so do the batch rows left
    // over from fours.
    let whole = select(0u, p.batch - p.batch % 4u, p.rows % 4u == 0u);
    for (var b = 0u; b < whole; b += 4u) {
        let near = step[b + second] * dy[(b * p.rows + mine_rows) / 4u];
        let far = step[b + 2u + second] * dy[((b + 2u) * p.rows + mine_rows) / 4u];
        let i = b * pairs + mine;
        let q0 = q[i];
        let q1 = q[i + pairs];
        let q2 = q[i + 2u * pairs];
        let q3 = q[i + 3u * pairs];
        add(t, columns(q0.x, q1.x, q2.x, q3.x), columns(q0.y, q1.y, q2.y, q3.y),
            spread(near), spread_next(near), spread(far), spread_next(far));
    }
    for (var b = whole; b < p.batch; b++) {
        let eight = q[b * pairs + mine];
        add_one(t, bytes(eight.x), bytes(eight.y),
                spread(step[b] * four(b * p.rows + four_rows, (b + 1u) * p.rows - 1u)));
    }
}
