// probe_add_i32 — out[i] = sum of eight pairs of Fibonacci numbers, wrapping
//
//   0  p    Params                uniform
//   1  x    i32  [invocations]    read
//   2  out  i32  [invocations]    write
//
// How many 32-bit integer additions a second this adapter has room for: per invocation eight chains that do not wait
// for each other. A chain is u += v, v += u.
//
// Grid     one invocation per value, a multiple of WG.
// Moves    8 * invocations bytes.
// Does     64 * trips additions per invocation.
// Twin     none — the benchmark adds up some of the chains itself.

override WG: u32 = 64u;

struct Params { trips: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<i32>;

fn run(group: u32, lane: u32) {
    let i = group * WG + lane;
    let start = x[i];
    var u0 = start + 0;
    var v0 = start - 0;
    var u1 = start + 1;
    var v1 = start - 1;
    var u2 = start + 2;
    var v2 = start - 2;
    var u3 = start + 3;
    var v3 = start - 3;
    var u4 = start + 4;
    var v4 = start - 4;
    var u5 = start + 5;
    var v5 = start - 5;
    var u6 = start + 6;
    var v6 = start - 6;
    var u7 = start + 7;
    var v7 = start - 7;
    for (var trip = 0u; trip < p.trips; trip++) {
        u0 += v0;  v0 += u0;
        u1 += v1;  v1 += u1;
        u2 += v2;  v2 += u2;
        u3 += v3;  v3 += u3;
        u4 += v4;  v4 += u4;
        u5 += v5;  v5 += u5;
        u6 += v6;  v6 += u6;
        u7 += v7;  v7 += u7;
        u0 += v0;  v0 += u0;
        u1 += v1;  v1 += u1;
        u2 += v2;  v2 += u2;
        u3 += v3;  v3 += u3;
        u4 += v4;  v4 += u4;
        u5 += v5;  v5 += u5;
        u6 += v6;  v6 += u6;
        u7 += v7;  v7 += u7;
        u0 += v0;  v0 += u0;
        u1 += v1;  v1 += u1;
        u2 += v2;  v2 += u2;
        u3 += v3;  v3 += u3;
        u4 += v4;  v4 += u4;
        u5 += v5;  v5 += u5;
        u6 += v6;  v6 += u6;
        u7 += v7;  v7 += u7;
        u0 += v0;  v0 += u0;
        u1 += v1;  v1 += u1;
        u2 += v2;  v2 += u2;
        u3 += v3;  v3 += u3;
        u4 += v4;  v4 += u4;
        u5 += v5;  v5 += u5;
        u6 += v6;  v6 += u6;
        u7 += v7;  v7 += u7;
    }
    out[i] = (u0 + v0) + (u1 + v1) + (u2 + v2) + (u3 + v3) + (u4 + v4) + (u5 + v5) + (u6 + v6) + (u7 + v7);
}
