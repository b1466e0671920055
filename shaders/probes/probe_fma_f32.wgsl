// probe_fma_f32 — out[i] = sum of eight points that turn about 0, each step two fused multiply-adds
//
//   0  p    Params                uniform
//   1  x    f32  [invocations]    read
//   2  out  f32  [invocations]    write
//
// How many f32 operations a second this adapter has room for: per invocation eight chains that do not wait for each
// other. A chain is u += a v, v -= a u, the leapfrog rotation: bounded, never at rest, and no compiler can shorten it.
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

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    let a = p.a;
    let b = -p.a;
    let start = x[i];
    var u0 = start + 0.0;
    var v0 = start - 0.0;
    var u1 = start + 1.0;
    var v1 = start - 1.0;
    var u2 = start + 2.0;
    var v2 = start - 2.0;
    var u3 = start + 3.0;
    var v3 = start - 3.0;
    var u4 = start + 4.0;
    var v4 = start - 4.0;
    var u5 = start + 5.0;
    var v5 = start - 5.0;
    var u6 = start + 6.0;
    var v6 = start - 6.0;
    var u7 = start + 7.0;
    var v7 = start - 7.0;
    for (var trip = 0u; trip < p.trips; trip++) {
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
        u0 = fma(a, v0, u0);  v0 = fma(b, u0, v0);
        u1 = fma(a, v1, u1);  v1 = fma(b, u1, v1);
        u2 = fma(a, v2, u2);  v2 = fma(b, u2, v2);
        u3 = fma(a, v3, u3);  v3 = fma(b, u3, v3);
        u4 = fma(a, v4, u4);  v4 = fma(b, u4, v4);
        u5 = fma(a, v5, u5);  v5 = fma(b, u5, v5);
        u6 = fma(a, v6, u6);  v6 = fma(b, u6, v6);
        u7 = fma(a, v7, u7);  v7 = fma(b, u7, v7);
    }
    out[i] = (u0 + v0) + (u1 + v1) + (u2 + v2) + (u3 + v3) + (u4 + v4) + (u5 + v5) + (u6 + v6) + (u7 + v7);
}
