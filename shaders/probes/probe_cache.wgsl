// probe_cache — digest[i] = wrapping sum of the words of span i, the spans lying around a ring
//
//   0  p       Params                uniform
//   1  x       u32  [4 * ring]       read
//   2  digest  u32  [invocations]    write
//
// How fast this adapter reads what it has read before: `vectors` vectors are read in all, from a working set of `ring`
// of them, a power of two. Spans and their order as in probe_read; all three overrides are tuned.
//
// Grid     WG * SPAN vectors per workgroup; vectors is a multiple of it.
// Moves    16 * vectors bytes (the digest, 4 bytes per span, is not counted).
// Does     4 * vectors operations (an addition of each word).
// Twin     none — the digests add up to vectors / ring times the sum of all words, which the benchmark checks.

override WG: u32 = 64u;
override SPAN: u32 = 8u;
override OWN: u32 = 0u;

struct Params { vectors: u32, ring: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> digest: array<u32>;

fn run(index: u32, lane: u32) {
    let first = index * WG * SPAN;
    if first >= p.vectors { return; }
    let last = p.ring - 1u;
    let step = select(WG, 1u, OWN == 1u);
    let start = first + lane * select(1u, SPAN, OWN == 1u);
    var sum = vec4<u32>(0u);
    for (var i = 0u; i < SPAN; i += 4u) {
        let at = start + i * step;
        sum += x[at & last] + x[(at + step) & last] + x[(at + 2u * step) & last] + x[(at + 3u * step) & last];
    }
    digest[index * WG + lane] = sum.x + sum.y + sum.z + sum.w;
}
