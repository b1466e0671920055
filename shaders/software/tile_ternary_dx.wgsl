// tile_ternary_dx — gradients of batch rows times columns of trits, terms of tile_fours

alias Load = vec4<f32>;

// What one sum is worth.
fn unit() -> f32 {
    return beta[0];
}

// Output i alone.
fn put_one(i: u32, value: f32) {
    dx[i / 4u][i % 4u] = value;
}

// Four terms, added to each other first.
fn plus(a: vec4<f32>, x: mat4x4<f32>, y: vec4<f32>) -> vec4<f32> {
    return a + (y.x * x[0] + y.y * x[1] + y.z * x[2] + y.w * x[3]);
}

// Of eight lanes each holds four terms of a row along y in `near`, and of the eighth row after it in `far`.
fn spread(near: vec4<f32>, far: vec4<f32>) -> Tall {
    return Tall(
        mat4x4<f32>(
            subgroupBroadcast(near, 0u), subgroupBroadcast(near, 1u), subgroupBroadcast(near, 2u), subgroupBroadcast(near, 3u)),
        mat4x4<f32>(
            subgroupBroadcast(near, 4u), subgroupBroadcast(near, 5u), subgroupBroadcast(near, 6u), subgroupBroadcast(near, 7u)),
        mat4x4<f32>(
            subgroupBroadcast(far, 0u), subgroupBroadcast(far, 1u), subgroupBroadcast(far, 2u), subgroupBroadcast(far, 3u)),
        mat4x4<f32>(
            subgroupBroadcast(far, 4u), subgroupBroadcast(far, 5u), subgroupBroadcast(far, 6u), subgroupBroadcast(far, 7u)));
}

// Four rows of the matrix from row r on.
fn add_rows(t: ptr<function, Tile>, r: u32, word: u32, y: Tall) {
    let i = four_of(r, p.rows) * p.words + word;
    let w0 = w[i.x];
    let w1 = w[i.y];
    let w2 = w[i.z];
    let w3 = w[i.w];
    for (var part = 0u; part < 4u; part++) {
        add(t, part, mat4x4<f32>(trits(w0, part), trits(w1, part), trits(w2, part), trits(w3, part)), y);
    }
}

// Past the last row a gradient is zero.
fn gradient(first: u32, r: u32) -> f32 {
    let i = first + min(r, p.rows - 1u);
    return select(0.0, dy[i / 4u][i % 4u], r < p.rows);
}

fn gradients(first: u32, r: u32) -> vec4<f32> {
    return vec4<f32>(gradient(first, r), gradient(first, r + 1u), gradient(first, r + 2u), gradient(first, r + 3u));
}

fn walk(t: ptr<function, Tile>, b: u32, col: u32, lane: u32) {
    let word = min(col / TILE_X, p.words - 1u);
    let near = min(b + lane, p.batch - 1u) * p.rows;
    let far = min(b + 8u + lane, p.batch - 1u) * p.rows;
    // Loads of four need rows that start at multiples of four.
    let whole = select(0u, p.rows, p.rows % 4u == 0u);
    for (var r = 0u; r < whole; r += 4u) {
        add_rows(t, r, word, spread(dy[(near + r) / 4u], dy[(far + r) / 4u]));
    }
    for (var r = whole; r < p.rows; r += 4u) {
        add_rows(t, r, word, spread(gradients(near, r), gradients(far, r)));
    }
}
