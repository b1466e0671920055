// gradient_to_fixed — sums[i] += round(share g[i] 2^(150 - e)),   e = max(24, exponents[k]),   i of parameter k
//
//   0  p          Params                     uniform
//   1  owners     u32  [ceil(count / 64)]    read              the parameter of 64 values that follow each other
//   2  exponents  i32  [parameters]          read              see gradient_exponents
//   3  g          f32  [count]               read
//   4  sums       i32  [count]               read and write
//   5  saturated  u32  [1]                   read and write    number of values that are out of range
//
// A value has at most 24 bits, and the largest ones of a parameter are exact. So 64 terms stay below 2^31. A value
// whose exponent is larger than e, an infinity or NaN becomes 2^24 with its sign, and is counted.
//
// Grid     one invocation per TILE_X values.
// Moves    4 * (3 * count + ceil(count / 64) + parameters + 1) bytes.
// Does     4 * count operations (two products, one rounding, one addition).
// Twin     reference::gradient_to_fixed — equal.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;

struct Params { count: u32, share: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> owners: array<u32>;
@group(0) @binding(2) var<storage, read> exponents: array<i32>;
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<i32>>;
@group(0) @binding(5) var<storage, read_write> saturated: array<atomic<u32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    let e = exponents[min(owners[i / 16u], arrayLength(&exponents) - 1u)];
    let unit = clamp(e, 24, FINITE);
    let x = shares(i);
    // Comparisons of exponents, because a comparison with NaN is not portable.
    let over = exponents_of(x) > vec4<i32>(min(e, FINITE));
    let most = select(vec4<i32>(16777216), vec4<i32>(-16777216), bitcast<vec4<i32>>(x) < vec4<i32>(0));
    let scaled = select(x, vec4<f32>(0.0), over) * bitcast<f32>(u32(277 - unit) << 23u);
    sums[i] = sums[i] + select(vec4<i32>(round(scaled)), most, over);
    let count = dot(select(vec4<u32>(0u), vec4<u32>(1u), over), vec4<u32>(1u));
    if count > 0u { atomicAdd(&saturated[0], count); }
}
