// text_batch — x[i, j] = ids[s_i + j],  y[i, j] = ids[s_i + j + 1]
//
//   0  p      Params                    uniform
//   1  clock  u32  [2]                  read    {step, item of the epoch}
//   2  ids    u32  [count]              read    a text, one id a token
//   3  x      i32  [items, context]     write
//   4  y      u32  [items * context]    write   2^32 - 1 where the text has no next token
//
// Where starts > 0: s_i = draw(seed, step, i) mod starts. Each start below it has context + 1 tokens.
// Where starts = 0: s_i = (item + i) * context, sequences that follow each other. Behind the end of the text x is
// its last id.
//
// Grid     one invocation per token.
// Moves    16 * items * context bytes.
// Does     40 * items * context operations on integers: each token draws the start of its sequence.
// Twin     reference::text_batch — equal.

override WG: u32 = 64u;
const STREAM: u32 = 5u;         // random::Stream::Text
const IGNORE: u32 = 0xffffffffu;

struct Params { items: u32, context: u32, count: u32, starts: u32, seed_low: u32, seed_high: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<i32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;

fn run(group: u32, lane: u32) {
    let token = group * WG + lane;
    let i = token / p.context;
    if i >= p.items { return; }
    var start = (clock[1] + i) * p.context;
    if p.starts > 0u { start = draw(p.seed_low, p.seed_high, STREAM, clock[0], i).x % p.starts; }
    // What comes from data is clamped: no clock can lead outside the text.
    let last = p.count - 1u;
    let at = min(start, last) + (token - i * p.context);
    x[token] = i32(ids[min(at, last)]);
    y[token] = select(IGNORE, ids[min(at + 1u, last)], at < last);
}
