// probe_dot4 — out[i] = sum of eight accumulators of packed int8 dot products, wrapping
//
//   0  p    Params                uniform
//   1  x    u32  [invocations]    read
//   2  out  i32  [invocations]    write
//
// How many int8 operations a second the packed dot product gives: per invocation eight chains that do not wait for
// each other. A chain is c += dot4(c, w), the accumulator's own bytes times a word of weights.
//
// Grid     one invocation per value, a multiple of WG.
// Moves    8 * invocations bytes.
// Does     256 * trips operations per invocation: 32 dot products of four terms, each added up.
// Twin     none — the benchmark computes some of the chains itself.

override WG: u32 = 64u;

struct Params { trips: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<i32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    let w = x[i];
    var c0 = i32(w) + 0;
    var c1 = i32(w) + 1;
    var c2 = i32(w) + 2;
    var c3 = i32(w) + 3;
    var c4 = i32(w) + 4;
    var c5 = i32(w) + 5;
    var c6 = i32(w) + 6;
    var c7 = i32(w) + 7;
    for (var trip = 0u; trip < p.trips; trip++) {
        c0 += dot4I8Packed(u32(c0), w);
        c1 += dot4I8Packed(u32(c1), w);
        c2 += dot4I8Packed(u32(c2), w);
        c3 += dot4I8Packed(u32(c3), w);
        c4 += dot4I8Packed(u32(c4), w);
        c5 += dot4I8Packed(u32(c5), w);
        c6 += dot4I8Packed(u32(c6), w);
        c7 += dot4I8Packed(u32(c7), w);
        c0 += dot4I8Packed(u32(c0), w);
        c1 += dot4I8Packed(u32(c1), w);
        c2 += dot4I8Packed(u32(c2), w);
        c3 += dot4I8Packed(u32(c3), w);
        c4 += dot4I8Packed(u32(c4), w);
        c5 += dot4I8Packed(u32(c5), w);
        c6 += dot4I8Packed(u32(c6), w);
        c7 += dot4I8Packed(u32(c7), w);
        c0 += dot4I8Packed(u32(c0), w);
        c1 += dot4I8Packed(u32(c1), w);
        c2 += dot4I8Packed(u32(c2), w);
        c3 += dot4I8Packed(u32(c3), w);
        c4 += dot4I8Packed(u32(c4), w);
        c5 += dot4I8Packed(u32(c5), w);
        c6 += dot4I8Packed(u32(c6), w);
        c7 += dot4I8Packed(u32(c7), w);
        c0 += dot4I8Packed(u32(c0), w);
        c1 += dot4I8Packed(u32(c1), w);
        c2 += dot4I8Packed(u32(c2), w);
        c3 += dot4I8Packed(u32(c3), w);
        c4 += dot4I8Packed(u32(c4), w);
        c5 += dot4I8Packed(u32(c5), w);
        c6 += dot4I8Packed(u32(c6), w);
        c7 += dot4I8Packed(u32(c7), w);
    }
    out[i] = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7;
}
