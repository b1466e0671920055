// probe_read — digest[i] = xor of the words of span i
//
//   0  p       Params                uniform
//   1  x       u32  [4 * vectors]    read
//   2  digest  u32  [invocations]    write
//
// How fast this adapter reads: as few operations per vector as prove that it was read. An invocation takes
// SPAN vectors, neighbours take neighbouring ones; workgroup size and span are tuned.
//
// Grid     WG * SPAN vectors per workgroup; vectors is a multiple of it.
// Moves    16 * vectors bytes (the digest, 4 bytes per span, is not counted).
// Does     4 * vectors operations (an exclusive or of each word).
// Twin     none — the xor of all digests is that of all words, which the benchmark checks.

override WG: u32 = 64u;
override SPAN: u32 = 8u;

struct Params { vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> digest: array<u32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let first = index * WG * SPAN;
    if first >= p.vectors { return; }
    var sum = vec4<u32>(0u);
    for (var i = 0u; i < SPAN; i++) { sum ^= x[first + i * WG + lane]; }
    digest[index * WG + lane] = sum.x ^ sum.y ^ sum.z ^ sum.w;
}
