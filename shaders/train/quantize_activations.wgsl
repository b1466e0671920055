// quantize_activations — s[b] = 127 / max(max |x[b, :]|, 1e-5),  q = clamp(round(x s), -128, 127)
//
//   0  p      Params                      uniform
//   1  x      f32  [batch, cols]          read
//   2  q      u32  [batch, 4 * words]     write   int8, four a word, zero past the last column
//   3  scale  f32  [batch]                write   s
//   4  sum    i32  [batch]                write   sum of q, which hoists the -1 out of the matmul
//
// Grid     one workgroup per row.
// Moves    4 * batch * (cols + 4 * words + 2) bytes.
// Does     4 * batch * cols operations (absolute value, maximum, multiply, round).
// Twin     reference::quantize_activations — equal.
// Source   BitNet b1.58, arXiv 2402.17764, section 2; BitNet, arXiv 2310.11453, equation 4.

override WG: u32 = 64u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, words: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> q: array<u32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> sum: array<i32>;

var<workgroup> sh_max: array<f32, WG>;
var<workgroup> sh_sum: array<i32, WG>;

fn values(row: u32, col: u32) -> vec4<f32> {
    return within(inputs(row, col), col);
}

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    var largest = 1e-5;
    for (var word = lane; word < 4u * p.words; word += WG) {
        largest = max(largest, largest_of(values(row, 4u * word)));
    }
    let codes = quantize_row(row, lane, largest);
    if lane == 0u {
        scale[row] = codes.scale;
        sum[row] = codes.sum;
    }
}
