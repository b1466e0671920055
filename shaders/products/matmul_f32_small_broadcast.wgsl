// matmul_f32_small_broadcast — matmul_f32 for batches of 2 to 8, with 4 rows per invocation and shared activations
//
//   0  p   Params                 uniform
//   1  x   f32  [batch, cols]     read
//   2  w   f32  [rows, cols]      read
//   3  y   f32  [batch, rows]     write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes
// loads four activations of one batch row and the others take them from it. With 2, 4 or 8 COLUMNS the lanes hold
// 4, 2 or 1 vectors of each batch row, and the weights are read once for all of them. Terms are added in order.
// A larger batch comes in blocks; past 8 rows the tile of 16 of them is the default.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation, COLUMNS batch rows per workgroup.
// Moves    as matmul_f32.
// Does     as matmul_f32.
// Twin     reference::matmul_f32 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
// 2, 4 or 8.
override COLUMNS: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { batch: u32, rows: u32, cols: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Four terms of each of four rows, [term][row], at up to four places that follow each other.
alias Weights = array<mat4x4<f32>, 4>;

// Four sums, one a row, for each batch row.
alias Sums = array<vec4<f32>, 8>;

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
    let i = start + min(at, vec4<u32>(p.cols - 1u));
    let four = vec4<f32>(w[i.x >> 2u][i.x & 3u], w[i.y >> 2u][i.y & 3u], w[i.z >> 2u][i.z & 3u], w[i.w >> 2u][i.w & 3u]);
    return select(vec4<f32>(0.0), four, at < vec4<u32>(p.cols));
}

fn x_four(start: u32, k: u32) -> vec4<f32> {
    let at = vec4<u32>(k, k + 1u, k + 2u, k + 3u);
    let i = start + min(at, vec4<u32>(p.cols - 1u));
    let four = vec4<f32>(x[i.x >> 2u][i.x & 3u], x[i.y >> 2u][i.y & 3u], x[i.z >> 2u][i.z & 3u], x[i.w >> 2u][i.w & 3u]);
    return select(vec4<f32>(0.0), four, at < vec4<u32>(p.cols));
}

fn fours_at(starts: vec4<u32>, k: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(w_four(starts.x, k), w_four(starts.y, k), w_four(starts.z, k), w_four(starts.w, k)));
}

fn store(b: u32, row: u32, value: vec4<f32>) {
    if b >= p.batch { return; }
    let at = b * p.rows + row;
    if row < p.rows { y[at] = value.x; }
    if row + 1u < p.rows { y[at + 1u] = value.y; }
    if row + 2u < p.rows { y[at + 2u] = value.z; }
    if row + 3u < p.rows { y[at + 3u] = value.w; }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let index = group_index(group, groups);
    let blocks = (p.batch + COLUMNS - 1u) / COLUMNS;
    let row = (index / blocks * WG + lane) * TILE_X;
    let b = index % blocks * COLUMNS;
    let starts = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * p.cols;
    let mine = subgroup_lane & 7u;
    let start = min(b + mine % COLUMNS, p.batch - 1u) * p.cols;
    let share = mine / COLUMNS;
    let places = 8u / COLUMNS;
    // Loads of four need rows that start at multiples of four; other rows, and the last places, go one by one.
    let vectors = select(0u, p.cols >> 2u, (p.cols & 3u) == 0u);
    let whole = vectors - vectors % places;
    let v0 = starts >> vec4<u32>(2u);
    var a = Sums();
    for (var k = 0u; k < whole; k += places) {
        var m = Weights();
        m[0] = rows_at(v0 + k);
        if COLUMNS < 8u { m[1] = rows_at(v0 + k + 1u); }
        if COLUMNS < 4u {
            m[2] = rows_at(v0 + k + 2u);
            m[3] = rows_at(v0 + k + 3u);
        }
        add(&a, &m, x[(start >> 2u) + k + share]);
    }
    for (var k = 4u * whole; k < p.cols; k += 4u * places) {
        var m = Weights();
        m[0] = fours_at(starts, k);
        if COLUMNS < 8u { m[1] = fours_at(starts, k + 4u); }
        if COLUMNS < 4u {
            m[2] = fours_at(starts, k + 8u);
            m[3] = fours_at(starts, k + 12u);
        }
        add(&a, &m, x_four(start, k + 4u * share));
    }
    store(b, row, a[0]);
    store(b + 1u, row, a[1]);
    if COLUMNS > 2u {
        store(b + 2u, row, a[2]);
        store(b + 3u, row, a[3]);
    }
    if COLUMNS > 4u {
        store(b + 4u, row, a[4]);
        store(b + 5u, row, a[5]);
        store(b + 6u, row, a[6]);
        store(b + 7u, row, a[7]);
    }
}
