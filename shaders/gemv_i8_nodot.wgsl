// gemv_i8_nodot — gemv_i8 without integer dot products
//
//   0  p    Params                    uniform
//   1  w    u32  [rows, 4 * vectors]  read    int8, four a word, zero past the last column
//   2  q    u32  [1, 4 * vectors]     read    int8, four a word, zero past the last column
//   3  acc  i32  [1, rows]            write
//
// For GPUs without an instruction behind dot4I8Packed: Metal and GL, where naga writes it out, and AMD cards older
// than 2019, which multiply floats four times as fast as such integers. Sixteen products add up to less than 2^24, so
// their sum is exact as a float. AMD's compiler makes 2.8 vector instructions a weight of this loop for vega10, as
// many as of gemv_i8, but none of them slow: its estimate of the time is 0.48 of gemv_i8's.
//
// Grid     one workgroup per TILE_Y rows.
// Moves    as gemv_i8.
// Does     as gemv_i8.
// Twin     reference::gemv_i8 — equal.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

struct Params { rows: u32, vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> acc: array<i32>;

var<workgroup> sh: array<vec4<i32>, WG>;

fn floats(four: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(four));
}

fn dot16(v: vec4<u32>, x: mat4x4<f32>) -> i32 {
    let t = floats(v.x) * x[0] + floats(v.y) * x[1] + floats(v.z) * x[2] + floats(v.w) * x[3];
    return i32((t.x + t.y) + (t.z + t.w));
}

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
        let sixteen = q[k];
        let x = mat4x4<f32>(floats(sixteen.x), floats(sixteen.y), floats(sixteen.z), floats(sixteen.w));
        a += vec4<i32>(dot16(v0, x), dot16(v1, x), dot16(v2, x), dot16(v3, x));
    }
    sh[lane] = a;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows { acc[row + lane] = sh[0][lane]; }
}
