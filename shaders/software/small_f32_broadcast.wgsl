// small_f32_broadcast — four floats of four rows a place of small_broadcast

alias Load = vec4<f32>;
alias Four = vec4<f32>;

fn row_length() -> u32 {
    return p.length;
}

fn batch_length() -> u32 {
    return p.length;
}

// Four terms of each of four rows, [term][row], at up to four places that follow each other.
alias Weights = array<mat4x4<f32>, 4>;

fn plus(a: vec4<f32>, m: mat4x4<f32>, v: vec4<f32>) -> vec4<f32> {
    return a + m[0] * v.x + m[1] * v.y + m[2] * v.z + m[3] * v.w;
}

// Four activations of each of eight lanes times the weights they belong to: lane j holds those of batch row
// j % COLUMNS at place j / COLUMNS.
fn add(a: ptr<function, Sums>, m: ptr<function, Weights>, v: vec4<f32>) {
    (*a)[0] = plus((*a)[0], (*m)[0], subgroupBroadcast(v, 0u));
    (*a)[1] = plus((*a)[1], (*m)[0], subgroupBroadcast(v, 1u));
    (*a)[2u % COLUMNS] = plus((*a)[2u % COLUMNS], (*m)[2u / COLUMNS], subgroupBroadcast(v, 2u));
    (*a)[3u % COLUMNS] = plus((*a)[3u % COLUMNS], (*m)[3u / COLUMNS], subgroupBroadcast(v, 3u));
    (*a)[4u % COLUMNS] = plus((*a)[4u % COLUMNS], (*m)[4u / COLUMNS], subgroupBroadcast(v, 4u));
    (*a)[5u % COLUMNS] = plus((*a)[5u % COLUMNS], (*m)[5u / COLUMNS], subgroupBroadcast(v, 5u));
    (*a)[6u % COLUMNS] = plus((*a)[6u % COLUMNS], (*m)[6u / COLUMNS], subgroupBroadcast(v, 6u));
    (*a)[7u % COLUMNS] = plus((*a)[7u % COLUMNS], (*m)[7u / COLUMNS], subgroupBroadcast(v, 7u));
}

// The vectors at these places of the four rows.
fn rows_at(i: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(w[i.x], w[i.y], w[i.z], w[i.w]));
}

// Four terms of a row of w that starts at any element, 0 past its end.
fn w_four(start: u32, k: u32) -> vec4<f32> {
    let at = vec4<u32>(k, k + 1u, k + 2u, k + 3u);
    let i = start + min(at, vec4<u32>(p.length - 1u));
    let four = vec4<f32>(w[i.x >> 2u][i.x & 3u], w[i.y >> 2u][i.y & 3u], w[i.z >> 2u][i.z & 3u], w[i.w >> 2u][i.w & 3u]);
    return select(vec4<f32>(0.0), four, at < vec4<u32>(p.length));
}

fn x_four(start: u32, k: u32) -> vec4<f32> {
    let at = vec4<u32>(k, k + 1u, k + 2u, k + 3u);
    let i = start + min(at, vec4<u32>(p.length - 1u));
    let four = vec4<f32>(x[i.x >> 2u][i.x & 3u], x[i.y >> 2u][i.y & 3u], x[i.z >> 2u][i.z & 3u], x[i.w >> 2u][i.w & 3u]);
    return select(vec4<f32>(0.0), four, at < vec4<u32>(p.length));
}

fn fours_at(starts: vec4<u32>, k: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(w_four(starts.x, k), w_four(starts.y, k), w_four(starts.z, k), w_four(starts.w, k)));
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, start: u32, share: u32) {
    let places = 8u / COLUMNS;
    // Loads of four need rows that start at multiples of four; other rows, and the last places, go one by one.
    let vectors = select(0u, p.length >> 2u, (p.length & 3u) == 0u);
    let whole = vectors - vectors % places;
    let v0 = starts >> vec4<u32>(2u);
    for (var k = 0u; k < whole; k += places) {
        var m = Weights();
        m[0] = rows_at(v0 + k);
        if COLUMNS < 8u { m[1] = rows_at(v0 + k + 1u); }
        if COLUMNS < 4u {
            m[2] = rows_at(v0 + k + 2u);
            m[3] = rows_at(v0 + k + 3u);
        }
        add(a, &m, x[(start >> 2u) + k + share]);
    }
    for (var k = 4u * whole; k < p.length; k += 4u * places) {
        var m = Weights();
        m[0] = fours_at(starts, k);
        if COLUMNS < 8u { m[1] = fours_at(starts, k + 4u); }
        if COLUMNS < 4u {
            m[2] = fours_at(starts, k + 8u);
            m[3] = fours_at(starts, k + 12u);
        }
        add(a, &m, x_four(start, k + 4u * share));
    }
}
