// abs_sums — sums[k] = sum |w[i]| over block k of 1024: the first level of absmean's tree
//
//   0  p     Params                        uniform
//   1  w     f32  [count]                  read
//   2  sums  f32  [ceil(count / 1024)]     write
//
// Grid     one workgroup per block.
// Moves    4 * (count + ceil(count / 1024)) bytes.
// Does     2 * count operations (one absolute value, one addition).
// Twin     reference::abs_sums — equal bits.
// Source   BitNet b1.58, arXiv 2402.17764, equation 3.

override WG: u32 = 64u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;

// The magnitudes of vector i, zero past the end.
fn magnitudes(i: u32) -> vec4<f32> {
    if 4u * i >= p.count { return vec4<f32>(0.0); }
    let inside = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.count);
    return select(vec4<f32>(0.0), abs(w[i]), inside);
}

fn run(block: u32, lane: u32) {
    for (var l = lane; l < 64u; l += WG) {
        let i = block * 256u + l;
        sh_sum[l] = lane_sum(magnitudes(i), magnitudes(i + 64u), magnitudes(i + 128u), magnitudes(i + 192u));
    }
    let total = block_sum(lane);
    if lane == 0u && block * 1024u < p.count { sums[block] = total; }
}
