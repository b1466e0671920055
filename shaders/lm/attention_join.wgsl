// attention_join — outputs of attention from pieces of the keys, RMSNorm and absmax quantisation
//
//   a = sum_i exp(m[i] - m) o[i] / sum_i exp(m[i] - m) l[i],  m = max_i m[i], over the pieces i up to the position
//   scale = 127 / max(max_c |gain[c] a[c]|, 1e-5 / norm),  norm = 1 / sqrt(mean_c a[c]^2 + eps),  step = norm / scale
//   q[c] = clamp(round(gain[c] a[c] scale), -128, 127),  sum = sum_c q[c]
//
//   0  p      Params                            uniform
//   1  parts  f32  [heads * pieces, e + 4]      read    o, m, l and two zeros of each head and piece
//   2  first  u32  [1]                          read    the position
//   3  gain   f32  [cols]                       read    cols = heads * e
//   4  a      f32  [1, cols]                    read and write
//   5  q      u32  [1, 4 * words]               write   int8, four a word, zero past the last column
//   6  sum    i32  [1]                          write
//   7  step   f32  [1]                          write   real value of one int8 step
//
// Grid     one workgroup.
// Moves    4 * (cols / e * pieces * (e + 4) + 2 * cols + 4 * words + 3) bytes.
// Does     2 * cols * pieces + 7 * cols operations.
// Twin     reference::attention_join — within the rounding of sums over pieces; codes where no code is near a tie.
// Source   Flash-Decoding (Dao, Haziza, Massa, Sizov, 2023); RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;
const WHOLE: u32 = 1u;          // a row of heads is whole vectors of four

struct Params { cols: u32, words: u32, e: u32, pieces: u32, piece: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> first: array<u32>;
@group(0) @binding(3) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> q: array<u32>;
@group(0) @binding(6) var<storage, read_write> sum: array<i32>;
@group(0) @binding(7) var<storage, read_write> step: array<f32>;

var<workgroup> sh_max: array<f32, WG>;
var<workgroup> sh_sum: array<i32, WG>;
var<workgroup> sh_squares: array<f32, WG>;

// Four columns of a head's output.
fn joined(col: u32, count: u32) -> vec4<f32> {
    let vectors = p.e / 4u;
    let row = col / p.e * p.pieces * (vectors + 1u);
    let column = col % p.e / 4u;
    var most = parts[row + vectors].x;
    for (var i = 1u; i < count; i++) { most = max(most, parts[row + i * (vectors + 1u) + vectors].x); }
    var total = 0.0;
    var o = vec4<f32>(0.0);
    for (var i = 0u; i < count; i++) {
        let at = row + i * (vectors + 1u);
        let scalars = parts[at + vectors];
        let weight = exp(scalars.x - most);
        total += weight * scalars.y;
        o += weight * parts[at + column];
    }
    return (1.0 / total) * o;
}

// The lane that wrote these columns reads them.
fn values(row: u32, col: u32) -> vec4<f32> {
    return pinned(gains(col) * within(a[min(col, p.cols - 4u) / 4u], col), 3e38);
}

fn run(row: u32, lane: u32) {
    if row > 0u { return; }
    let count = min(first[0] / p.piece + 1u, p.pieces);
    var largest = 0.0;
    var squares = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let four = joined(col, count);
        a[col / 4u] = four;
        largest = max(largest, largest_of(gains(col) * four));
        squares += four * four;
    }
    let norm = norm_factor(lane, squares, 1.0);
    let codes = quantize_row(row, lane, max(largest, 1e-5 / norm));
    if lane == 0u {
        sum[0] = codes.sum;
        step[0] = norm / codes.scale;
    }
}
