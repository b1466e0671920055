// small_f32 — four floats of four rows a step of small, or one where rows do not start at vectors

alias Load = vec4<f32>;
alias Each = vec4<f32>;
const TILE_Y: u32 = 4u;

struct Rows { r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32> }

fn row_length() -> u32 {
    return p.length;
}

fn terms(v: Rows, b: u32, k: u32) -> Each {
    let four = x[min(b, p.batch - 1u) * (p.length >> 2u) + k];
    return Each(dot(v.r0, four), dot(v.r1, four), dot(v.r2, four), dot(v.r3, four));
}

fn x_at(b: u32, k: u32) -> f32 {
    let i = min(b, p.batch - 1u) * p.length + k;
    return x[i >> 2u][i & 3u];
}

fn w_at(i: u32) -> f32 {
    return w[i >> 2u][i & 3u];
}

// One column of every batch row.
fn add_one(a: ptr<function, Sums>, v: vec4<f32>, b: u32, k: u32) {
    (*a)[0] += v * x_at(b, k);
    if COLUMNS > 1u { (*a)[1] += v * x_at(b + 1u, k); }
    if COLUMNS > 2u { (*a)[2] += v * x_at(b + 2u, k); }
    if COLUMNS > 3u { (*a)[3] += v * x_at(b + 3u, k); }
    if COLUMNS > 4u { (*a)[4] += v * x_at(b + 4u, k); }
    if COLUMNS > 5u { (*a)[5] += v * x_at(b + 5u, k); }
    if COLUMNS > 6u { (*a)[6] += v * x_at(b + 6u, k); }
    if COLUMNS > 7u { (*a)[7] += v * x_at(b + 7u, k); }
    if COLUMNS > 8u { (*a)[8] += v * x_at(b + 8u, k); }
    if COLUMNS > 9u { (*a)[9] += v * x_at(b + 9u, k); }
    if COLUMNS > 10u { (*a)[10] += v * x_at(b + 10u, k); }
    if COLUMNS > 11u { (*a)[11] += v * x_at(b + 11u, k); }
    if COLUMNS > 12u { (*a)[12] += v * x_at(b + 12u, k); }
    if COLUMNS > 13u { (*a)[13] += v * x_at(b + 13u, k); }
    if COLUMNS > 14u { (*a)[14] += v * x_at(b + 14u, k); }
    if COLUMNS > 15u { (*a)[15] += v * x_at(b + 15u, k); }
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, b: u32, lane: u32) {
    // Rows start at vectors if and only if they are whole vectors.
    let vectors = select(0u, p.length >> 2u, (p.length & 3u) == 0u);
    let v = starts >> vec4<u32>(2u);
    for (var k = lane; k < vectors; k += WG) {
        add(a, Rows(w[v.x + k], w[v.y + k], w[v.z + k], w[v.w + k]), b, k);
    }
    for (var k = 4u * vectors + lane; k < p.length; k += WG) {
        let i = starts + k;
        add_one(a, vec4<f32>(w_at(i.x), w_at(i.y), w_at(i.z), w_at(i.w)), b, k);
    }
}
