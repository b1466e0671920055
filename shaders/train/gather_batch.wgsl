// gather_batch — x[b, c] = images[order[position + b], c],  y[b] = labels[order[position + b]]
//
//   0  p       Params                              uniform
//   1  clock   u32  [2]                            read    {step, position in the epoch}
//   2  order   u32  [count]                        read    the epoch's permutation
//   3  images  u8   [count, pixels]                read    four pixels a word, rows not aligned
//   4  labels  u32  [count]                        read
//   5  x       i32  [batch, pixels]                write   0 ..= 255, unscaled
//   6  y       u32  [batch]                        write
//
// Grid     one invocation per TILE_X pixels of an image.
// Moves    batch * (5 * pixels + 12) bytes.
// Does     no arithmetic on data.
// Twin     reference::gather_batch — equal.

override WG: u32 = 64u;
const TILE_X: u32 = 4u;

struct Params { batch: u32, pixels: u32, count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> images: array<u32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<storage, read_write> x: array<i32>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;

fn run(group: u32, lane: u32) {
    let tiles = (p.pixels + TILE_X - 1u) / TILE_X;      // of one image
    let tile = group * WG + lane;
    let row = tile / tiles;
    if row >= p.batch { return; }
    let pixel = TILE_X * (tile - row * tiles);
    // What comes from data is clamped: no order and no clock can lead outside the data set.
    let image = min(order[min(clock[1] + row, p.count - 1u)], p.count - 1u);
    // Four bytes from any address: two words, shifted together.
    let byte = image * p.pixels + pixel;
    let word = byte / 4u;
    let shift = 8u * (byte % 4u);
    let next = images[min(word + 1u, arrayLength(&images) - 1u)];
    let four = (images[word] >> shift) | select(next << (32u - shift), 0u, shift == 0u);
    let i = row * p.pixels + pixel;
    x[i] = i32(four & 0xffu);
    if pixel + 1u < p.pixels { x[i + 1u] = i32((four >> 8u) & 0xffu); }
    if pixel + 2u < p.pixels { x[i + 2u] = i32((four >> 16u) & 0xffu); }
    if pixel + 3u < p.pixels { x[i + 3u] = i32(four >> 24u); }
    if pixel == 0u { y[row] = labels[image]; }
}
