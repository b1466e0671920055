// augment_batch — x[b, v, u] = bilinear(image_b, A_b (u, v)),  y[b] = labels[order[position + b]]
//
//   image_b = images[order[position + b]], zero outside; A_b is drawn from (seed, step, b):
//   source = R(angle) shear scale (destination - centre) + centre + displacement
//
//   0  p       Params                              uniform
//   1  clock   u32  [2]                            read    {step, position in the epoch}
//   2  order   u32  [count]                        read    the epoch's permutation
//   3  images  u8   [count, height * width]        read    four pixels a word, rows not aligned
//   4  labels  u32  [count]                        read
//   5  x       i32  [batch, height * width]        write   0 ..= 255, unscaled
//   6  y       u32  [batch]                        write
//
// Ranges and coefficients count 1 / 4096; see src/augment.rs for the draw and why all is integer. Pixels are
// counted from the centre in halves, so that a source position has 13 fractional bits, of which bilinear
// interpolation takes 8. Nothing overflows: no coefficient exceeds 4600, an image has at most 132,104 pixels,
// and 4600 (width + height) + 4096 width stays below 2^31.
//
// Grid     one invocation per SPAN pixels of an image's row.
// Moves    batch * (8 * height * width + 12) bytes: four source pixels for each.
// Does     20 * batch * height * width operations on integers.
// Twin     reference::augment_batch — equal.

override WG: u32 = 64u;
override SPAN: u32 = 4u;        // pixels that share one draw; a CPU wants many
const STREAM: u32 = 3u;         // random::Stream::Augment
const ONE: i32 = 4096;

struct Params {
    batch: u32, height: u32, width: u32, count: u32, seed_low: u32, seed_high: u32,
    rotation: i32, scale: i32, shear: i32, shift: i32, grain: i32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clock: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> images: array<u32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<storage, read_write> x: array<i32>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;

// An integer in -most ..= most from the lower sixteen bits.
fn uniform_int(bits: u32, most: i32) -> i32 {
    return i32(((bits & 0xffffu) * u32(2 * most + 1)) >> 16u) - most;
}

fn pixel(byte: u32) -> u32 {
    return (images[byte / 4u] >> (8u * (byte % 4u))) & 0xffu;
}

fn run(group: u32, lane: u32) {
    let spans = (p.width + SPAN - 1u) / SPAN;           // of one row of an image
    let span = group * WG + lane;
    let line = span / spans;
    let b = line / p.height;
    if b >= p.batch { return; }
    let row = line - b * p.height;
    let first = SPAN * (span - line * spans);
    // What comes from data is clamped: no order and no clock can lead outside the data set.
    let image = min(order[min(clock[1] + b, p.count - 1u)], p.count - 1u);
    if row == 0u && first == 0u { y[b] = labels[image]; }

    let words = draw(p.seed_low, p.seed_high, STREAM, clock[0], b);
    let angle = uniform_int(words.x, p.rotation);
    let scale = ONE + uniform_int(words.x >> 16u, p.scale);
    let shear = uniform_int(words.y, p.shear);
    let shift_x = p.grain * uniform_int(words.z, p.shift);
    let shift_y = p.grain * uniform_int(words.z >> 16u, p.shift);
    let square = (angle * angle) >> 12u;
    let cosine = ONE - (square >> 1u);
    let sine = angle - ((((angle * square) >> 12u) * 683) >> 12u);
    let xx = (scale * cosine) >> 12u;
    let xy = (scale * (((cosine * shear) >> 12u) - sine)) >> 12u;
    let yx = (scale * sine) >> 12u;
    let yy = (scale * (((sine * shear) >> 12u) + cosine)) >> 12u;

    // Distances from the centre in half pixels are whole.
    let right = i32(p.width) - 1;
    let bottom = i32(p.height) - 1;
    let v = 2 * i32(row) - bottom;
    let last = vec2<u32>(p.width - 1u, p.height - 1u);
    let bytes = image * p.height * p.width;
    for (var col = first; col < min(first + SPAN, p.width); col++) {
        let u = 2 * i32(col) - right;
        let source_x = xx * u + xy * v + ONE * right + 2 * shift_x;
        let source_y = yx * u + yy * v + ONE * bottom + 2 * shift_y;
        let to_right = u32(source_x >> 5u) & 255u;
        let down = u32(source_y >> 5u) & 255u;
        // A neighbour outside weighs nothing; what is read in its place does not matter. As unsigned numbers
        // what lies before the image lies far behind it.
        let near = vec2<u32>(u32(source_x >> 13u), u32(source_y >> 13u));
        let far = near + 1u;
        let near_weight = select(vec2<u32>(0u), vec2<u32>(256u - to_right, 256u - down), near <= last);
        let far_weight = select(vec2<u32>(0u), vec2<u32>(to_right, down), far <= last);
        let left = min(near.x, last.x);
        let next = min(far.x, last.x);
        let above = bytes + min(near.y, last.y) * p.width;
        let below = bytes + min(far.y, last.y) * p.width;
        // Two rows in the halves of a word: 256 * 255 leaves the upper one alone.
        let both = near_weight.x * (pixel(above + left) | (pixel(below + left) << 16u))
            + far_weight.x * (pixel(above + next) | (pixel(below + next) << 16u));
        let sum = near_weight.y * (both & 0xffffu) + far_weight.y * (both >> 16u);
        x[line * p.width + col] = i32((sum + 32768u) >> 16u);
    }
}
