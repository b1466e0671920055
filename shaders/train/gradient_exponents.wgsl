// gradient_exponents — exponents[k] = max(exponents[k], exponent of share g[i]) over the values i of parameter k
//
//   0  p          Params                     uniform
//   1  owners     u32  [ceil(count / 64)]    read              the parameter of 64 values that follow each other
//   2  g          f32  [count]               read
//   3  exponents  i32  [parameters]          read and write    biased, 0 to 255, as in the bits of a float
//
// A maximum of integers has one value in any order, so an atomic operation finds it.
//
// Grid     one invocation per TILE_X values.
// Moves    4 * (count + ceil(count / 64) + parameters) bytes.
// Does     2 * count operations (one product, one maximum).
// Twin     reference::gradient_exponents — equal.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;

struct Params { count: u32, share: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> owners: array<u32>;
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> exponents: array<atomic<i32>>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    if 4u * i >= p.count { return; }
    let four = exponents_of(shares(i));
    let largest = max(max(four.x, four.y), max(four.z, four.w));
    let owner = min(owners[i / 16u], arrayLength(&exponents) - 1u);
    // Most values are no new maximum. A read is cheaper than an atomic maximum.
    if largest > atomicLoad(&exponents[owner]) { atomicMax(&exponents[owner], largest); }
}
