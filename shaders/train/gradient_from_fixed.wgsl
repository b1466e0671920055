// gradient_from_fixed — g[i] = sums[i] 2^(e - 150),   e = max(24, exponents[k]),   i of parameter k
//
//   0  p          Params                     uniform
//   1  owners     u32  [ceil(count / 64)]    read     the parameter of 64 values that follow each other
//   2  exponents  i32  [parameters]          read     see gradient_exponents
//   3  sums       i32  [count]               read     see gradient_to_fixed
//   4  g          f32  [count]               write
//
// If a gradient of the parameter is infinite or NaN, all are NaN: training then finds out that it diverges.
//
// Grid     one invocation per TILE_X values.
// Moves    4 * (2 * count + ceil(count / 64) + parameters) bytes.
// Does     2 * count operations (one conversion, one product).
// Twin     reference::gradient_from_fixed — equal.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;
const NAN: u32 = 0x7fc00000u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> owners: array<u32>;
@group(0) @binding(2) var<storage, read> exponents: array<i32>;
@group(0) @binding(3) var<storage, read> sums: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> g: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    let e = exponents[min(owners[i / 16u], arrayLength(&exponents) - 1u)];
    let unit = bitcast<f32>(u32(clamp(e, 24, 254) - 23) << 23u);
    let bits = bitcast<vec4<u32>>(unit * vec4<f32>(sums[i]));
    let values = bitcast<vec4<f32>>(select(bits, vec4<u32>(NAN), e > 254));
    if 4u * i + 4u <= p.count {
        g[i] = values;
    } else {
        for (var j = 0u; j < p.count - 4u * i; j++) { g[i][j] = values[j]; }
    }
}
