// square_sums — sums[k] = sum g[i]^2 over block k of 1024: what the norm of all gradients is made of
//
//   0  p     Params                        uniform
//   1  g     f32  [count]                  read
//   2  sums  f32  [ceil(count / 1024)]     write
//
// Grid     one workgroup per block.
// Moves    4 * (count + ceil(count / 1024)) bytes.
// Does     2 * count operations (one product, one addition).
// Twin     reference::square_sums — within the rounding of a sum of 1024 squares.
// Source   gradient clipping by norm, arXiv 1211.5063, algorithm 1.

override WG: u32 = 64u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;

// The squares of vector i, zero past the end.
fn squares(i: u32) -> vec4<f32> {
    if 4u * i >= p.count { return vec4<f32>(0.0); }
    let inside = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.count);
    return select(vec4<f32>(0.0), g[i] * g[i], inside);
}

fn run(block: u32, lane: u32) {
    for (var l = lane; l < 64u; l += WG) {
        let i = block * 256u + l;
        sh_sum[l] = lane_sum(squares(i), squares(i + 64u), squares(i + 128u), squares(i + 192u));
    }
    let total = block_sum(lane);
    if lane == 0u && block * 1024u < p.count { sums[block] = total; }
}
