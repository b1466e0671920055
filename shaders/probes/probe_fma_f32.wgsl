// probe_fma_f32 — out[i] = sum of eight points that turn about 0, each step two fused multiply-adds
//
//   0  p    Params                uniform
//   1  x    f32  [invocations]    read
//   2  out  f32  [invocations]    write
//
// How many f32 operations a second this adapter has room for: per invocation eight chains that do not wait for each
// other, as leapfrog says.
//
// Grid     one invocation per value, a multiple of WG.
// Moves    8 * invocations bytes.
// Does     128 * trips operations per invocation: 64 fused multiply-adds.
// Twin     none — the benchmark turns some of the points itself.

override WG: u32 = 64u;

struct Params { trips: u32, a: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

alias Point = f32;
alias Sum = f32;

fn sum(point: Point) -> Sum {
    return point;
}

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    out[i] = turned(x[i], p.a);
}
