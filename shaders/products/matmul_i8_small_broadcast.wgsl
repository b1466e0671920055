// matmul_i8_small_broadcast — matmul_i8 for batches of 2 to 16, with 4 rows per invocation and shared activations
//
//   0  p    Params                        uniform
//   1  w    u32  [rows, 4 * vectors]      read    int8, four a word, zero past the last column
//   2  q    u32  [batch, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [batch, rows]            write
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of 8 lanes
// loads 16 activations of one batch row and the others take them from it. With 2, 4 or 8 COLUMNS the lanes hold
// 4, 2 or 1 vectors of each batch row, and the weights are read once for all of them. A larger batch comes in blocks;
// past 16 rows the tile of 8 of them is the default.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X rows per invocation, COLUMNS batch rows per workgroup.
// Moves    as matmul_i8.
// Does     as matmul_i8.
// Twin     reference::matmul_i8 — equal.

override WG: u32 = 8u;
// 2, 4 or 8.
override COLUMNS: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { batch: u32, rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

// A vector of each of four rows.
struct Rows { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

// Four sums, one a row, for each batch row.
alias Sums = array<vec4<i32>, 8>;

fn dot16(v: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(v.x, x.x) + dot4I8Packed(v.y, x.y) + dot4I8Packed(v.z, x.z) + dot4I8Packed(v.w, x.w);
}

fn terms(v: Rows, x: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot16(v.r0, x), dot16(v.r1, x), dot16(v.r2, x), dot16(v.r3, x));
}

// A vector of each of the rows that start at these; past their end the last one, which meets activations of 0.
fn rows_at(starts: vec4<u32>, k: u32) -> Rows {
    let i = starts + min(k, p.vectors - 1u);
    return Rows(w[i.x], w[i.y], w[i.z], w[i.w]);
}

// Sixteen activations of each of eight lanes times the weights they belong to: lane j holds those of batch row
// j % COLUMNS at place j / COLUMNS. Two places at a time, for the weights of four would not stay in registers.
fn add(a: ptr<function, Sums>, starts: vec4<u32>, k: u32, x: vec4<u32>) {
    var near = rows_at(starts, k);
    var far = near;
    if COLUMNS < 8u { far = rows_at(starts, k + 1u); }
    (*a)[0] += terms(near, subgroupBroadcast(x, 0u));
    (*a)[1] += terms(near, subgroupBroadcast(x, 1u));
    if COLUMNS == 2u {
        (*a)[0] += terms(far, subgroupBroadcast(x, 2u));
        (*a)[1] += terms(far, subgroupBroadcast(x, 3u));
        near = rows_at(starts, k + 2u);
        far = rows_at(starts, k + 3u);
        (*a)[0] += terms(near, subgroupBroadcast(x, 4u));
        (*a)[1] += terms(near, subgroupBroadcast(x, 5u));
        (*a)[0] += terms(far, subgroupBroadcast(x, 6u));
        (*a)[1] += terms(far, subgroupBroadcast(x, 7u));
    } else {
        (*a)[2] += terms(near, subgroupBroadcast(x, 2u));
        (*a)[3] += terms(near, subgroupBroadcast(x, 3u));
        (*a)[4u % COLUMNS] += terms(far, subgroupBroadcast(x, 4u));
        (*a)[5u % COLUMNS] += terms(far, subgroupBroadcast(x, 5u));
        (*a)[6u % COLUMNS] += terms(far, subgroupBroadcast(x, 6u));
        (*a)[7u % COLUMNS] += terms(far, subgroupBroadcast(x, 7u));
    }
}

fn store(b: u32, row: u32, value: vec4<i32>) {
    if b >= p.batch { return; }
    let at = b * p.rows + row;
    if row < p.rows { acc[at] = value.x; }
    if row + 1u < p.rows { acc[at + 1u] = value.y; }
    if row + 2u < p.rows { acc[at + 2u] = value.z; }
    if row + 3u < p.rows { acc[at + 3u] = value.w; }
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
        let x = q[start + min(k + share, p.vectors - 1u)];
        add(&a, starts, k, select(vec4<u32>(0u), x, k + share < p.vectors));
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
