// tile — a matrix of sums of floats, an 8 x 16 register tile of them an invocation, with shared loads
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): lanes load for each other
// what lies along y. Four terms of each sum at once, so that the accumulators are touched once for four products.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X outputs along x and TILE_Y along y per invocation.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 16u;

// Of each of eight outputs along x all sixteen along y: element [part][i] is 4 part + i.
alias Tile = array<mat4x4<f32>, 8>;

// Four terms of each sum at once, so that the accumulators are touched once for four products; in order.
fn plus(a: mat4x4<f32>, v: vec4<f32>, m0: mat4x4<f32>, m1: mat4x4<f32>, m2: mat4x4<f32>, m3: mat4x4<f32>) -> mat4x4<f32> {
    return a + v.x * m0 + v.y * m1 + v.z * m2 + v.w * m3;
}

// Four terms of all: a vector of each of eight, and four matrices of what lies along y.
fn add(t: ptr<function, Tile>, low: mat4x4<f32>, high: mat4x4<f32>, y0: mat4x4<f32>, y1: mat4x4<f32>, y2: mat4x4<f32>, y3: mat4x4<f32>) {
    (*t)[0] = plus((*t)[0], low[0], y0, y1, y2, y3);
    (*t)[1] = plus((*t)[1], low[1], y0, y1, y2, y3);
    (*t)[2] = plus((*t)[2], low[2], y0, y1, y2, y3);
    (*t)[3] = plus((*t)[3], low[3], y0, y1, y2, y3);
    (*t)[4] = plus((*t)[4], high[0], y0, y1, y2, y3);
    (*t)[5] = plus((*t)[5], high[1], y0, y1, y2, y3);
    (*t)[6] = plus((*t)[6], high[2], y0, y1, y2, y3);
    (*t)[7] = plus((*t)[7], high[3], y0, y1, y2, y3);
}

// One term of all.
fn add_one(t: ptr<function, Tile>, low: vec4<f32>, high: vec4<f32>, y0: mat4x4<f32>) {
    (*t)[0] += low.x * y0;
    (*t)[1] += low.y * y0;
    (*t)[2] += low.z * y0;
    (*t)[3] += low.w * y0;
    (*t)[4] += high.x * y0;
    (*t)[5] += high.y * y0;
    (*t)[6] += high.z * y0;
    (*t)[7] += high.w * y0;
}

fn store_sixteen(y: u32, x: u32, sums: mat4x4<f32>) {
    if x >= width() { return; }
    for (var part = 0u; part < 4u; part++) {
        let at = y + 4u * part;
        let i = at * width() + x;
        if at < height() { put(at, i, sums[part].x); }
        if at + 1u < height() { put(at + 1u, i + width(), sums[part].y); }
        if at + 2u < height() { put(at + 2u, i + 2u * width(), sums[part].z); }
        if at + 3u < height() { put(at + 3u, i + 3u * width(), sums[part].w); }
    }
}

// Eight from the first on; those past the last repeat it and are not stored.
struct Eight { low: vec4<u32>, high: vec4<u32> }

fn eight_of(first: u32, count: u32) -> Eight {
    let low = vec4<u32>(first, first + 1u, first + 2u, first + 3u);
    return Eight(min(low, vec4<u32>(count - 1u)), min(low + 4u, vec4<u32>(count - 1u)));
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let x = id.x * TILE_X;
    let y = id.y * TILE_Y;
    var t = Tile();
    walk(&t, y, x, lane & 7u);
    store_sixteen(y, x, t[0]);
    store_sixteen(y, x + 1u, t[1]);
    store_sixteen(y, x + 2u, t[2]);
    store_sixteen(y, x + 3u, t[3]);
    store_sixteen(y, x + 4u, t[4]);
    store_sixteen(y, x + 5u, t[5]);
    store_sixteen(y, x + 6u, t[6]);
    store_sixteen(y, x + 7u, t[7]);
}
