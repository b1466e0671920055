// probe_copy — y[i] = x[i]
//
//   0  p  Params                uniform
//   1  x  u32  [4 * vectors]    read
//   2  y  u32  [4 * vectors]    write
//
// How fast this adapter copies. Spans and their order as in probe_read; all three overrides are tuned.
//
// Grid     WG * SPAN vectors per workgroup; vectors is a multiple of it.
// Moves    32 * vectors bytes: each read and written once.
// Does     nothing that counts.
// Twin     none — the benchmark looks at every word.

override WG: u32 = 64u;
override SPAN: u32 = 8u;
override OWN: u32 = 0u;

struct Params { vectors: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

fn run(group: u32, lane: u32) {
    let first = group * WG * SPAN;
    if first >= p.vectors { return; }
    let step = select(WG, 1u, OWN == 1u);
    let start = first + lane * select(1u, SPAN, OWN == 1u);
    for (var i = 0u; i < SPAN; i += 4u) {
        let at = start + i * step;
        y[at] = x[at];
        y[at + step] = x[at + step];
        y[at + 2u * step] = x[at + 2u * step];
        y[at + 3u * step] = x[at + 3u * step];
    }
}
