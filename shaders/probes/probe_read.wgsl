// probe_read — digest[i] = xor of the words of span i
//
//   0  p       Params                uniform
//   1  x       u32  [words]          read
//   2  digest  u32  [invocations]    write
//
// How fast this adapter reads: as few operations per load as prove that it was read. A load is of WORDS words: 1, 2
// or 4, as the snippet says. An invocation takes SPAN of them, TURN (4 or 8) at a time: neighbours take neighbouring
// ones, as a GPU likes it, or where OWN is 1 each walks along a stretch of its own, as a CPU likes it. All are tuned.
//
// Grid     WG * SPAN * WORDS words per workgroup; words is a multiple of it.
// Moves    4 * words bytes (the digest, 4 bytes per span, is not counted).
// Does     words operations (an exclusive or of each word).
// Twin     none — the xor of all digests is that of all words, which the benchmark checks.

override WG: u32 = 64u;
override SPAN: u32 = 8u;
override OWN: u32 = 0u;
override WORDS: u32 = 4u;
override TURN: u32 = 4u;

struct Params { words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Load>;
@group(0) @binding(2) var<storage, read_write> digest: array<u32>;

fn run(index: u32, lane: u32) {
    let first = index * WG * SPAN;
    if first * WORDS >= p.words { return; }
    let step = select(WG, 1u, OWN == 1u);
    let start = first + lane * select(1u, SPAN, OWN == 1u);
    var sum = Load();
    for (var i = 0u; i < SPAN; i += TURN) {
        let at = start + i * step;
        sum ^= x[at] ^ x[at + step] ^ x[at + 2u * step] ^ x[at + 3u * step];
        if TURN == 8u {
            sum ^= x[at + 4u * step] ^ x[at + 5u * step] ^ x[at + 6u * step] ^ x[at + 7u * step];
        }
    }
    digest[index * WG + lane] = mixed(sum);
}
