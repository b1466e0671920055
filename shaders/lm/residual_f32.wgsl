// residual_f32 — y[i] = h[i] + x[i]
//
//   0  p  Params          uniform
//   1  h  f32  [count]    read
//   2  x  f32  [count]    read
//   3  y  f32  [count]    write
//
// Grid     one invocation per value.
// Moves    12 * count bytes.
// Does     count operations.
// Twin     reference::residual_f32 — equal.

override WG: u32 = 64u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * WG + lane;
    if i < p.count { y[i] = h[i] + x[i]; }
}
