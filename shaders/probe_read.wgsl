// probe_read — digest[i] = xor of the words of span i
//
//   0  p       Params                uniform
//   1  x       u32  [4 * vectors]    read
//   2  digest  u32  [invocations]    write
//
// How fast this adapter reads: as few operations per vector as prove that it was read. An invocation takes
// SPAN vectors, a multiple of 4: neighbours take neighbouring ones, as a GPU likes it, or where OWN is 1 each
// walks along a stretch of its own, as a CPU likes it. All three are tuned.
//
// Grid     WG * SPAN vectors per workgroup; vectors is a multiple of it.
// Moves    16 * vectors bytes (the digest, 4 bytes per span, is not counted).
// Does     4 * vectors operations (an exclusive or of each word).
// Twin     none — the xor of all digests is that of all words, which the benchmark checks.

override WG: u32 = 64u;
override SPAN: u32 = 8u;
override OWN: u32 = 0u;

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
    let step = select(WG, 1u, OWN == 1u);
    let start = first + lane * select(1u, SPAN, OWN == 1u);
    var sum = vec4<u32>(0u);
    for (var i = 0u; i < SPAN; i += 4u) {
        let at = start + i * step;
        sum ^= x[at] ^ x[at + step] ^ x[at + 2u * step] ^ x[at + 3u * step];
    }
    digest[index * WG + lane] = sum.x ^ sum.y ^ sum.z ^ sum.w;
}
