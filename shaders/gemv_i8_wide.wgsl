// gemv_i8_wide — gemv_i8 with 4 rows per invocation
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    int8, four a word, zero past the last column
//   2  q    u32  [1, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [1, rows]            write
//
// For software rasterisers without subgroups: 16 activations serve 4 rows, and no lane waits for another.
//
// Grid     TILE_X rows per invocation.
// Moves    as gemv_i8.
// Does     as gemv_i8.
// Twin     reference::gemv_i8 — equal.

override WG: u32 = 8u;
const TILE_X: u32 = 4u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

fn dot16(v: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(v.x, x.x) + dot4I8Packed(v.y, x.y) + dot4I8Packed(v.z, x.z) + dot4I8Packed(v.w, x.w);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group_index(group, groups) * WG + lane) * TILE_X;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.rows - 1u;
    let w0 = row * p.vectors;
    let w1 = min(row + 1u, last) * p.vectors;
    let w2 = min(row + 2u, last) * p.vectors;
    let w3 = min(row + 3u, last) * p.vectors;
    var a = vec4<i32>(0);
    for (var k = 0u; k < p.vectors; k++) {
        let x = q[k];
        a += vec4<i32>(dot16(w[w0 + k], x), dot16(w[w1 + k], x), dot16(w[w2 + k], x), dot16(w[w3 + k], x));
    }
    acc[row] = a.x;
    if row + 1u < p.rows { acc[row + 1u] = a.y; }
    if row + 2u < p.rows { acc[row + 2u] = a.z; }
    if row + 3u < p.rows { acc[row + 3u] = a.w; }
}
