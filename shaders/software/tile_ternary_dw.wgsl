// tile_ternary_dw — scaled gradients of rows times columns of int8 activations, terms of tile_fours

alias Load = vec4<f32>;
alias Word = vec4<u32>;

// What one sum is worth.
fn unit() -> f32 {
    return 1.0;
}

// Output i alone.
fn put_one(i: u32, value: f32) {
    dw[i / 4u][i % 4u] = value;
}

// Four terms, one after the other.
fn plus(a: vec4<f32>, x: mat4x4<f32>, y: vec4<f32>) -> vec4<f32> {
    return a + y.x * x[0] + y.y * x[1] + y.z * x[2] + y.w * x[3];
}

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

// Four batch rows from batch row b on.
fn add_rows(t: ptr<function, Tile>, b: u32, word: u32, y: Tall) {
    let i = four_of(b, p.batch) * p.words + word;
    let q0 = q[i.x];
    let q1 = q[i.y];
    let q2 = q[i.z];
    let q3 = q[i.w];
    for (var part = 0u; part < 4u; part++) {
        add(t, part, mat4x4<f32>(bytes(q0[part]), bytes(q1[part]), bytes(q2[part]), bytes(q3[part])), y);
    }
}

// Four lanes hold four rows each along y of one term, and the other four of the next: in `near`, and of the two terms after
// in `far`.
fn spread(near: vec4<f32>, far: vec4<f32>) -> Tall {
    return Tall(
        transpose(mat4x4<f32>(
            subgroupBroadcast(near, 0u), subgroupBroadcast(near, 4u), subgroupBroadcast(far, 0u), subgroupBroadcast(far, 4u))),
        transpose(mat4x4<f32>(
            subgroupBroadcast(near, 1u), subgroupBroadcast(near, 5u), subgroupBroadcast(far, 1u), subgroupBroadcast(far, 5u))),
        transpose(mat4x4<f32>(
            subgroupBroadcast(near, 2u), subgroupBroadcast(near, 6u), subgroupBroadcast(far, 2u), subgroupBroadcast(far, 6u))),
        transpose(mat4x4<f32>(
            subgroupBroadcast(near, 3u), subgroupBroadcast(near, 7u), subgroupBroadcast(far, 3u), subgroupBroadcast(far, 7u))));
}

// Four scaled gradients of batch row b from row r on. Past the last batch row they are zero; past the last row they repeat
// it and are not stored.
fn gradients(b: u32, r: u32) -> vec4<f32> {
    let i = min(b, p.batch - 1u) * p.rows + four_of(r, p.rows);
    let d = vec4<f32>(dy[i.x / 4u][i.x % 4u], dy[i.y / 4u][i.y % 4u], dy[i.z / 4u][i.z % 4u], dy[i.w / 4u][i.w % 4u]);
    return select(vec4<f32>(0.0), step[min(b, p.batch - 1u)] * d, b < p.batch);
}

fn walk(t: ptr<function, Tile>, row: u32, col: u32, lane: u32) {
    let word = min(col / TILE_X, p.words - 1u);
    let second = lane / 4u;                         // half of the lanes load the batch row after
    let r = row + 4u * (lane % 4u);
    let mine = min(r, p.rows - 1u);
    // Loads of four need rows that start at multiples of four.
    let whole = select(0u, p.batch - p.batch % 4u, p.rows % 4u == 0u);
    for (var b = 0u; b < whole; b += 4u) {
        let near = b + second;
        let far = near + 2u;
        add_rows(t, b, word,
            spread(step[near] * dy[(near * p.rows + mine) / 4u], step[far] * dy[(far * p.rows + mine) / 4u]));
    }
    for (var b = whole; b < p.batch; b += 4u) {
        add_rows(t, b, word, spread(gradients(b + second, r), gradients(b + second + 2u, r)));
    }
}
