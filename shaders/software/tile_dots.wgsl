// tile_dots — a matrix of integer sums, an 8 x 8 register tile of them an invocation, with shared loads
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes loads
// sixteen activations of one batch row and the others take them from it.
//
// Needs    subgroups of at least 8.
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation.

override WG: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 8u;

// Sixteen activations of four batch rows, as they were loaded.
struct Four { x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32> }

fn dots(v: Weights, x: Four) -> vec4<i32> {
    return vec4<i32>(product(v, x.x0), product(v, x.x1), product(v, x.x2), product(v, x.x3));
}

fn store_four(b: u32, row: u32, value: vec4<i32>) {
    if row >= p.rows { return; }
    if b < p.batch { put(b, b * p.rows + row, value.x); }
    if b + 1u < p.batch { put(b + 1u, (b + 1u) * p.rows + row, value.y); }
    if b + 2u < p.batch { put(b + 2u, (b + 2u) * p.rows + row, value.z); }
    if b + 3u < p.batch { put(b + 3u, (b + 3u) * p.rows + row, value.w); }
}

fn store(b: u32, row: u32, low: vec4<i32>, high: vec4<i32>) {
    store_four(b, row, low);
    store_four(b + 4u, row, high);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let row = id.x * TILE_X;
    let b = id.y * TILE_Y;
    let mine = min(b + lane % TILE_Y, p.batch - 1u) * steps();
    let last = p.rows - 1u;
    let w0 = min(row, last) * steps();
    let w1 = min(row + 1u, last) * steps();
    let w2 = min(row + 2u, last) * steps();
    let w3 = min(row + 3u, last) * steps();
    let w4 = min(row + 4u, last) * steps();
    let w5 = min(row + 5u, last) * steps();
    let w6 = min(row + 6u, last) * steps();
    let w7 = min(row + 7u, last) * steps();
    var low0 = vec4<i32>(0);
    var high0 = vec4<i32>(0);
    var low1 = vec4<i32>(0);
    var high1 = vec4<i32>(0);
    var low2 = vec4<i32>(0);
    var high2 = vec4<i32>(0);
    var low3 = vec4<i32>(0);
    var high3 = vec4<i32>(0);
    var low4 = vec4<i32>(0);
    var high4 = vec4<i32>(0);
    var low5 = vec4<i32>(0);
    var high5 = vec4<i32>(0);
    var low6 = vec4<i32>(0);
    var high6 = vec4<i32>(0);
    var low7 = vec4<i32>(0);
    var high7 = vec4<i32>(0);
    for (var k = 0u; k < steps(); k++) {
        let x = q[mine + k];
        let low = Four(subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u), subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u));
        let high = Four(subgroupBroadcast(x, 4u), subgroupBroadcast(x, 5u), subgroupBroadcast(x, 6u), subgroupBroadcast(x, 7u));
        let v0 = weights(w0, k);
        low0 += dots(v0, low);
        high0 += dots(v0, high);
        let v1 = weights(w1, k);
        low1 += dots(v1, low);
        high1 += dots(v1, high);
        let v2 = weights(w2, k);
        low2 += dots(v2, low);
        high2 += dots(v2, high);
        let v3 = weights(w3, k);
        low3 += dots(v3, low);
        high3 += dots(v3, high);
        let v4 = weights(w4, k);
        low4 += dots(v4, low);
        high4 += dots(v4, high);
        let v5 = weights(w5, k);
        low5 += dots(v5, low);
        high5 += dots(v5, high);
        let v6 = weights(w6, k);
        low6 += dots(v6, low);
        high6 += dots(v6, high);
        let v7 = weights(w7, k);
        low7 += dots(v7, low);
        high7 += dots(v7, high);
    }
    store(b, row, low0, high0);
    store(b, row + 1u, low1, high1);
    store(b, row + 2u, low2, high2);
    store(b, row + 3u, low3, high3);
    store(b, row + 4u, low4, high4);
    store(b, row + 5u, low5, high5);
    store(b, row + 6u, low6, high6);
    store(b, row + 7u, low7, high7);
}
