// matmul_f16_small_broadcast — matmul_f16 for batches of 2 to 8, with 4 rows per invocation and shared activations
//
//   0  p  Params                      uniform
//   1  x  u32  [batch, 4 * vectors]   read    f16, two a word, zero past the last column
//   2  w  u32  [rows, 4 * vectors]    read    f16, two a word, zero past the last column
//   3  y  f32  [batch, rows]          write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes
// loads 8 activations of one batch row and unpacks them, and the others take them from it. With 2, 4 or 8 COLUMNS
// the lanes hold 4, 2 or 1 vectors of each batch row, and the weights are read and unpacked once for all of them. A
// larger batch comes in blocks; past 8 rows the tile of 16 of them is the default.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation, COLUMNS batch rows per workgroup.
// Moves    as matmul_f16.
// Does     as matmul_f16.
// Twin     reference::matmul_f16 — within the rounding of a sum of cols terms.

override WG: u32 = 8u;
// 2, 4 or 8.
override COLUMNS: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Eight terms of each of four rows, [term][row].
struct Eight { low: mat4x4<f32>, high: mat4x4<f32> }

// Those of up to four places that follow each other.
alias Weights = array<Eight, 4>;

// Four sums, one a row, for each batch row.
alias Sums = array<vec4<f32>, 8>;

fn plus(a: vec4<f32>, m: Eight, low: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
    return a + m.low[0] * low.x + m.low[1] * low.y + m.low[2] * low.z + m.low[3] * low.w
        + m.high[0] * high.x + m.high[1] * high.y + m.high[2] * high.z + m.high[3] * high.w;
}

// Eight activations of each of eight lanes times the weights they belong to: lane j holds those of batch row
// j % COLUMNS at place j / COLUMNS.
fn add(a: ptr<function, Sums>, m: ptr<function, Weights>, v: vec4<u32>) {
    let low = low_halfs(v);
    let high = high_halfs(v);
    (*a)[0] = plus((*a)[0], (*m)[0], subgroupBroadcast(low, 0u), subgroupBroadcast(high, 0u));
    (*a)[1] = plus((*a)[1], (*m)[0], subgroupBroadcast(low, 1u), subgroupBroadcast(high, 1u));
    (*a)[2u % COLUMNS] = plus((*a)[2u % COLUMNS], (*m)[2u / COLUMNS], subgroupBroadcast(low, 2u), subgroupBroadcast(high, 2u));
    (*a)[3u % COLUMNS] = plus((*a)[3u % COLUMNS], (*m)[3u / COLUMNS], subgroupBroadcast(low, 3u), subgroupBroadcast(high, 3u));
    (*a)[4u % COLUMNS] = plus((*a)[4u % COLUMNS], (*m)[4u / COLUMNS], subgroupBroadcast(low, 4u), subgroupBroadcast(high, 4u));
    (*a)[5u % COLUMNS] = plus((*a)[5u % COLUMNS], (*m)[5u / COLUMNS], subgroupBroadcast(low, 5u), subgroupBroadcast(high, 5u));
    (*a)[6u % COLUMNS] = plus((*a)[6u % COLUMNS], (*m)[6u / COLUMNS], subgroupBroadcast(low, 6u), subgroupBroadcast(high, 6u));
    (*a)[7u % COLUMNS] = plus((*a)[7u % COLUMNS], (*m)[7u / COLUMNS], subgroupBroadcast(low, 7u), subgroupBroadcast(high, 7u));
}

// A vector of each of the rows that start at these, zeros past their end.
fn rows_at(starts: vec4<u32>, k: u32) -> Eight {
    let i = starts + min(k, p.vectors - 1u);
    let none = vec4<u32>(0u);
    let v0 = select(none, w[i.x], k < p.vectors);
    let v1 = select(none, w[i.y], k < p.vectors);
    let v2 = select(none, w[i.z], k < p.vectors);
    let v3 = select(none, w[i.w], k < p.vectors);
    return Eight(transpose(mat4x4<f32>(low_halfs(v0), low_halfs(v1), low_halfs(v2), low_halfs(v3))),
                 transpose(mat4x4<f32>(high_halfs(v0), high_halfs(v1), high_halfs(v2), high_halfs(v3))));
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
    let starts = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * p.vectors;
    let mine = subgroup_lane & 7u;
    let start = min(b + mine % COLUMNS, p.batch - 1u) * p.vectors;
    let share = mine / COLUMNS;
    var a = Sums();
    for (var k = 0u; k < p.vectors; k += 8u / COLUMNS) {
        var m = Weights();
        m[0] = rows_at(starts, k);
        if COLUMNS < 8u { m[1] = rows_at(starts, k + 1u); }
        if COLUMNS < 4u {
            m[2] = rows_at(starts, k + 2u);
            m[3] = rows_at(starts, k + 3u);
        }
        let v = x[start + min(k + share, p.vectors - 1u)];
        add(&a, &m, select(vec4<u32>(0u), v, k + share < p.vectors));
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
