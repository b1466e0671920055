// gemv_base3 — acc[r] = sum_k T[r, k] q[k], five trits a byte
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    base-3 trits, eighty a vector
//   2  q    u32  [1, 4 * words]       read    int8, four a word, zero past the last column
//   3  sum  i32  [1]                  read    sum of q
//   4  acc  i32  [1, rows]            write
//
// A byte is its five codes as a fraction in base 3, rounded up: times 3, the carry is the next code and the
// rest goes on, without a division. Two bytes of a word go through it 16 bits apart, and codes 4d .. 4d + 3
// come out as four bytes, the operand of a packed dot product. 1.6 bits a weight for three times the
// operations of gemv_ternary.
//
// Grid     one workgroup per TILE_Y rows.
// Moves    4 * (4 * rows * vectors + 4 * words + 1 + rows) bytes.
// Does     2 * rows * cols operations (one add, one multiply by a trit).
// Twin     reference::gemv_base3 — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> sum: array<i32>;
@group(0) @binding(4) var<storage, read_write> acc: array<i32>;

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
        let x0 = activations(5u * k);
        let x1 = activations(5u * k + 1u);
        let x2 = activations(5u * k + 2u);
        let x3 = activations(5u * k + 3u);
        let x4 = activations(5u * k + 4u);
        a += vec4<i32>(dot80(w[w0 + k], x0, x1, x2, x3, x4), dot80(w[w1 + k], x0, x1, x2, x3, x4),
                       dot80(w[w2 + k], x0, x1, x2, x3, x4), dot80(w[w3 + k], x0, x1, x2, x3, x4));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { acc[row + lane] = sh[0][lane] - sum[0]; }
}
