// sample_least — the least logit that may be chosen after top-k and top-p
//
//   k > 0: of the logits at least as large as the k-th largest;  then p < 1: of those, the largest ones whose weights
//   exp((z - max) / T) sum to at least p times the sum over all that are left. Equal logits stay or go together.
//
//   0  p         Params              uniform
//   1  z         f32  [1, count]     read
//   2  settings  u32  [8]            read    T as the bits of an f32, k, p as the bits of an f32, then words of other kernels
//   3  least     f32  [1]            write
//
// A logit becomes an integer of the same order. Eight passes find the integer from which on the sum reaches its aim, four
// bits of it each. The sums of a pass have a fixed order, so the result is the same each time.
//
// Grid     one workgroup.
// Moves    4 * (19 * count + 9) bytes.
// Does     300 * count operations.
// Twin     reference::sample_least — equal, unless a sum of weights lies within its rounding of the aim.
// Source   top-k: arXiv 1805.04833, section 5.4; top-p: arXiv 1904.09751, section 3.1.

override WG: u32 = 128u;

struct Params { count: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> settings: array<u32>;
@group(0) @binding(3) var<storage, read_write> least: array<f32>;

var<workgroup> sh: array<mat4x4<f32>, WG>;
var<workgroup> sh_most: array<f32, WG>;

// Integers in the order of the floats.
fn order(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn float_of(order: u32) -> f32 {
    return bitcast<f32>(select(~order, order & 0x7fffffffu, (order >> 31u) == 1u));
}

fn largest(lane: u32) -> f32 {
    var most = -3e38;
    // Lanes past the end read the last logit again.
    let last = p.count - 1u;
    for (var i = lane; i < p.count; i += 4u * WG) {
        most = max(most, max(max(z[i], z[min(i + WG, last)]), max(z[min(i + 2u * WG, last)], z[min(i + 3u * WG, last)])));
    }
    sh_most[lane] = most;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_most[lane] = max(sh_most[lane], sh_most[lane + stride]); }
    }
    workgroupBarrier();
    return sh_most[0];
}

// Logit i at or above each of sixteen thresholds: its weight there, else 0. With a slope below 0 each weight is 1.
fn above(i: u32, first: vec4<u32>, step: u32, most: f32, slope: f32) -> mat4x4<f32> {
    let x = z[min(i, p.count - 1u)];
    var weight = select(0.0, 1.0, i < p.count);
    if slope >= 0.0 { weight *= exp(slope * (x - most)); }
    let at = vec4<u32>(order(x));
    let w = vec4<f32>(weight);
    let none = vec4<f32>(0.0);
    return mat4x4<f32>(
        select(none, w, at >= first), select(none, w, at >= first + 4u * step),
        select(none, w, at >= first + 8u * step), select(none, w, at >= first + 12u * step));
}

// Weights of the logits at or above each of sixteen thresholds, which lie a step apart.
fn sums(lane: u32, base: u32, step: u32, most: f32, slope: f32) -> mat4x4<f32> {
    let first = vec4<u32>(base) + step * vec4<u32>(0u, 1u, 2u, 3u);
    var total = mat4x4<f32>();
    // Four logits a turn: llvmpipe ends all loops of an invocation after 65,535 turns together.
    for (var i = lane; i < p.count; i += 4u * WG) {
        total += (above(i, first, step, most, slope) + above(i + WG, first, step, most, slope))
            + (above(i + 2u * WG, first, step, most, slope) + above(i + 3u * WG, first, step, most, slope));
    }
    sh[lane] = total;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    let all = sh[0];
    workgroupBarrier();
    return all;
}

fn reached(sums: vec4<f32>, aim: f32) -> u32 {
    return countOneBits(dot(vec4<u32>(sums >= vec4<f32>(aim)), vec4<u32>(1u, 2u, 4u, 8u)));
}

// The largest integer at or above which the weights sum to at least the aim.
fn threshold(lane: u32, aim: f32, most: f32, slope: f32) -> u32 {
    var base = 0u;
    for (var shift = 0u; shift < 32u; shift += 4u) {
        let step = 0x10000000u >> shift;
        let total = sums(lane, base, step, most, slope);
        let count = reached(total[0], aim) + reached(total[1], aim) + reached(total[2], aim) + reached(total[3], aim);
        base += step * (max(count, 1u) - 1u);
    }
    return base;
}

fn run(group: u32, lane: u32) {
    if group > 0u { return; }
    var floor = 0u;
    if settings[1] > 0u { floor = threshold(lane, f32(min(settings[1], p.count)), 0.0, -1.0); }
    let share = bitcast<f32>(settings[2]);
    if share < 1.0 {
        let most = largest(lane);
        let slope = 1.0 / max(bitcast<f32>(settings[0]), 1e-30);
        let all = sums(lane, floor, 0u, most, slope)[0].x;
        floor = max(floor, threshold(lane, share * all, most, slope));
    }
    if lane == 0u { least[0] = float_of(floor); }
}
