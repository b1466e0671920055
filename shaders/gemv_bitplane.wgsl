// gemv_bitplane — acc[r] = sum_k T[r, k] t[k], trits times trits, counted
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    bit planes of the matrix
//   2  x    u32  [1, 4 * vectors]     read    bit planes of the activations
//   3  acc  i32  [1, rows]            write
//
// A product of two trits is 0, 1 or -1: it is not zero where neither factor is (and), and negative where their
// signs differ (exclusive or). So sum t t' is the count of the first less twice the count of both: three
// bitwise operations and two counts for 32 products, and no multiplication. The activations are trits, not int8:
// another, coarser product than that of the other gemv kernels.
//
// Grid     one workgroup per TILE_Y rows.
// Moves    4 * (4 * rows * vectors + 4 * vectors + rows) bytes.
// Does     2 * rows * cols operations (one add, one multiply of trits).
// Twin     reference::gemv_bitplane — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec4<i32>, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * TILE_Y;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    var a = vec4<i32>(0);
    for (var k = lane; k < p.vectors; k += WG) {
        let v0 = w[w0 + k];
        let v1 = w[w1 + k];
        let v2 = w[w2 + k];
        let v3 = w[w3 + k];
        let trits = x[k];
        a += vec4<i32>(dot64(v0, trits), dot64(v1, trits), dot64(v2, trits), dot64(v3, trits));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { acc[row + lane] = sh[0][lane]; }
}
