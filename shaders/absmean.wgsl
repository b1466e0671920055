// absmean — out[k] = max(factor * sum |w[i]| over block k of 1024, floor): one level of a tree
//
//   0  p    Params                        uniform
//   1  w    f32  [count]                  read
//   2  out  f32  [ceil(count / 1024)]     write
//
// Repeated until one value is left, the last time with factor = 1 / n and floor = 1e-5, this is
//     beta = max(mean |W|, 1e-5).
// The order of the additions is fixed by the constants below, never by the adapter, so that beta
// has the same bits everywhere. Hence no override for the workgroup size.
//
// Grid     one workgroup per block.
// Moves    4 * (count + ceil(count / 1024)) bytes.
// Does     2 * count operations (one absolute value, one addition).
// Twin     ternary::absmean — equal bits.
// Source   BitNet b1.58, arXiv 2402.17764, equation 3.

const LANES: u32 = 64u;
const VECTORS: u32 = 4u;        // vec4 loads per lane: 64 * 4 * 4 = 1024 values a block

struct Params { count: u32, factor: f32, least: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> sh_sum: array<f32, LANES>;

// The magnitudes of vector i, zero past the end.
fn magnitudes(i: u32) -> vec4<f32> {
    if 4u * i >= p.count { return vec4<f32>(0.0); }
    let inside = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.count);
    return select(vec4<f32>(0.0), abs(w[i]), inside);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group_index(group, groups);
    let first = block * LANES * VECTORS + lane;
    let v = magnitudes(first) + magnitudes(first + LANES)
        + magnitudes(first + 2u * LANES) + magnitudes(first + 3u * LANES);
    sh_sum[lane] = (v.x + v.y) + (v.z + v.w);
    for (var stride = LANES / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_sum[lane] = sh_sum[lane] + sh_sum[lane + stride]; }
    }
    if lane == 0u && block * 1024u < p.count { out[block] = max(p.factor * sh_sum[0], p.least); }
}
