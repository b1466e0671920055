// tile_ternary_dx — gradients of batch rows times columns of trits, a 16 x 8 register tile an invocation, with shared loads
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes loads four
// gradients of one batch row and the others take them from it. Four matrix rows at a time.
//
// Needs    subgroups of at least 8.
// Grid     x over cols, y over the batch; TILE_X columns (one word) and TILE_Y batch rows per invocation.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 8u;

// The matrix holds four columns of 4 trits: element [plane][i] is column 4 plane + i.
fn store(b: u32, col: u32, tile: mat4x4<f32>) {
    if b >= p.batch { return; }
    let scaled = beta[0] * tile;
    for (var part = 0u; part < 4u; part++) {
        let c = col + 4u * part;
        let i = b * p.cols + c;
        if c < p.cols { put(b, i, scaled[part].x); }
        if c + 1u < p.cols { put(b, i + 1u, scaled[part].y); }
        if c + 2u < p.cols { put(b, i + 2u, scaled[part].z); }
        if c + 3u < p.cols { put(b, i + 3u, scaled[part].w); }
    }
}

// One batch row's gradients of four rows of the matrix, times those rows.
fn products(d: vec4<f32>, t0: mat4x4<f32>, t1: mat4x4<f32>, t2: mat4x4<f32>, t3: mat4x4<f32>) -> mat4x4<f32> {
    return d.x * t0 + d.y * t1 + d.z * t2 + d.w * t3;
}

// The 16 trits of row r in this invocation's columns. Past the last row their gradient is zero.
fn row_trits(r: u32, column: u32) -> mat4x4<f32> {
    let word = w[min(r, p.rows - 1u) * p.words + column];
    return mat4x4<f32>(trits(word, 0u), trits(word, 1u), trits(word, 2u), trits(word, 3u));
}

fn gradient(first: u32, r: u32) -> f32 {
    return select(0.0, dy[first + min(r, p.rows - 1u)], r < p.rows);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let column = min(id.x, p.words - 1u);
    let b = id.y * TILE_Y;
    let first = min(b + lane % TILE_Y, p.batch - 1u) * p.rows;
    var a0 = mat4x4<f32>();
    var a1 = mat4x4<f32>();
    var a2 = mat4x4<f32>();
    var a3 = mat4x4<f32>();
    var a4 = mat4x4<f32>();
    var a5 = mat4x4<f32>();
    var a6 = mat4x4<f32>();
    var a7 = mat4x4<f32>();
    for (var r = 0u; r < p.rows; r += 4u) {
        let t0 = row_trits(r, column);
        let t1 = row_trits(r + 1u, column);
        let t2 = row_trits(r + 2u, column);
        let t3 = row_trits(r + 3u, column);
        let d = vec4<f32>(gradient(first, r), gradient(first, r + 1u), gradient(first, r + 2u), gradient(first, r + 3u));
        a0 += products(subgroupBroadcast(d, 0u), t0, t1, t2, t3);
        a1 += products(subgroupBroadcast(d, 1u), t0, t1, t2, t3);
        a2 += products(subgroupBroadcast(d, 2u), t0, t1, t2, t3);
        a3 += products(subgroupBroadcast(d, 3u), t0, t1, t2, t3);
        a4 += products(subgroupBroadcast(d, 4u), t0, t1, t2, t3);
        a5 += products(subgroupBroadcast(d, 5u), t0, t1, t2, t3);
        a6 += products(subgroupBroadcast(d, 6u), t0, t1, t2, t3);
        a7 += products(subgroupBroadcast(d, 7u), t0, t1, t2, t3);
    }
    let col = id.x * TILE_X;
    store(b, col, a0);
    store(b + 1u, col, a1);
    store(b + 2u, col, a2);
    store(b + 3u, col, a3);
    store(b + 4u, col, a4);
    store(b + 5u, col, a5);
    store(b + 6u, col, a6);
    store(b + 7u, col, a7);
}
