// probe_write — x[i] = seed ^ (i / 4): every vector of four words holds its own number
//
//   0  p  Params                uniform
//   1  x  u32  [4 * vectors]    write
//
// How fast this adapter writes. Spans and their order as in probe_read; all three overrides are tuned.
//
// Grid     WG * SPAN vectors per workgroup; vectors is a multiple of it.
// Moves    16 * vectors bytes.
// Does     nothing that counts.
// Twin     none — the benchmark looks at every word.

override WG: u32 = 64u;
override SPAN: u32 = 8u;
override OWN: u32 = 0u;

struct Params { vectors: u32, seed: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<u32>>;

fn run(group: u32, lane: u32) {
    let first = group * WG * SPAN;
    if first >= p.vectors { return; }
    let step = select(WG, 1u, OWN == 1u);
    let start = first + lane * select(1u, SPAN, OWN == 1u);
    for (var i = 0u; i < SPAN; i += 4u) {
        let at = start + i * step;
        x[at] = vec4<u32>(p.seed ^ at);
        x[at + step] = vec4<u32>(p.seed ^ (at + step));
        x[at + 2u * step] = vec4<u32>(p.seed ^ (at + 2u * step));
        x[at + 3u * step] = vec4<u32>(p.seed ^ (at + 3u * step));
    }
}
