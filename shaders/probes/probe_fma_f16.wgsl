// probe_fma_f16 — out[i] = sum of eight pairs of points that turn about 0, each step two fused multiply-adds
//
//   0  p    Params                uniform
//   1  x    f32  [invocations]    read
//   2  out  f32  [invocations]    write
//
// How many f16 operations a second this adapter has room for: probe_fma_f32 on vectors of two, which a GPU with packed
// halfs turns at once.
//
// Needs    f16.
// Grid     one invocation per value, a multiple of WG.
// Moves    8 * invocations bytes.
// Does     256 * trips operations per invocation: 128 fused multiply-adds.
// Twin     none — the benchmark turns some of the points itself.

enable f16;

override WG: u32 = 64u;

struct Params { trips: u32, a: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

alias Point = vec2<f16>;
alias Sum = vec2<f32>;

fn sum(point: Point) -> Sum {
    return Sum(point);
}

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    let both = turned(vec2<f16>(f16(x[i]), f16(x[i]) + 0.5h), vec2<f16>(f16(p.a)));
    out[i] = both.x + both.y;
}
