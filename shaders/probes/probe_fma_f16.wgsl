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

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    let a = vec2<f16>(f16(p.a));
    let b = -a;
    let start = vec2<f16>(f16(x[i]), f16(x[i]) + 0.5h);
    var u0 = start + 0.0h;
    var v0 = start - 0.0h;
    var u1 = start + 1.0h;
    var v1 = start - 1.0h;
    var u2 = start + 2.0h;
    var v2 = start - 2.0h;
    var u3 = start + 3.0h;
    var v3 = start - 3.0h;
    var u4 = start + 4.0h;
    var v4 = start - 4.0h;
    var u5 = start + 5.0h;
    var v5 = start - 5.0h;
    var u6 = start + 6.0h;
    var v6 = start - 6.0h;
    var u7 = start + 7.0h;
    var v7 = start - 7.0h;
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
    let sum = vec2<f32>(u0 + v0) + vec2<f32>(u1 + v1) + vec2<f32>(u2 + v2) + vec2<f32>(u3 + v3) + vec2<f32>(u4 + v4) + vec2<f32>(u5 + v5) + vec2<f32>(u6 + v6) + vec2<f32>(u7 + v7);
    out[i] = sum.x + sum.y;
}
