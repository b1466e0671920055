// probe_triad — z[i] = x[i] + s y[i]
//
//   0  p  Params                uniform
//   1  x  f32  [4 * vectors]    read
//   2  y  f32  [4 * vectors]    read
//   3  z  f32  [4 * vectors]    write
//
// How fast two streams are read while a third is written: STREAM's triad. Spans and their order as in probe_read;
// all three overrides are tuned.
//
// Grid     WG * SPAN vectors per workgroup; vectors is a multiple of it.
// Moves    48 * vectors bytes.
// Does     8 * vectors operations.
// Twin     none — the benchmark looks at every value.

override WG: u32 = 64u;
override SPAN: u32 = 8u;
override OWN: u32 = 0u;

struct Params { vectors: u32, s: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> z: array<vec4<f32>>;

fn run(group: u32, lane: u32) {
    let first = group * WG * SPAN;
    if first >= p.vectors { return; }
    let step = select(WG, 1u, OWN == 1u);
    let start = first + lane * select(1u, SPAN, OWN == 1u);
    for (var i = 0u; i < SPAN; i += 4u) {
        let at = start + i * step;
        z[at] = x[at] + p.s * y[at];
        z[at + step] = x[at + step] + p.s * y[at + step];
        z[at + 2u * step] = x[at + 2u * step] + p.s * y[at + 2u * step];
        z[at + 3u * step] = x[at + 3u * step] + p.s * y[at + 3u * step];
    }
}
