// residual_quantize — what a ternary product adds to the residual stream, then RMSNorm and absmax quantisation of the stream
//
//   h[b, c] += beta step_in[b] acc[b, c]
//   scale[b] = 127 / max(max_c |gain[c] h[b, c]|, 1e-5 / norm[b]),  norm[b] = 1 / sqrt(mean_c h[b, c]^2 + eps)
//   q[b, c] = clamp(round(gain[c] h[b, c] scale[b]), -128, 127),  sum[b] = sum_c q[b, c],  step[b] = norm[b] / scale[b]
//
//   0  p        Params                      uniform
//   1  acc      i32  [batch, cols]          read    |acc| < 2^24, exact as f32
//   2  step_in  f32  [batch]                read    real value of one int8 step of the product's codes
//   3  beta     f32  [1]                    read    what one trit of its matrix is worth
//   4  gain     f32  [cols]                 read
//   5  h        f32  [batch, cols]          read and write
//   6  q        u32  [batch, 4 * words]     write   int8, four a word, zero past the last column
//   7  sum      i32  [batch]                write
//   8  step     f32  [batch]                write   real value of one int8 step
//
// Rows are whole vectors of four. One dispatch does the work of residual and rmsnorm_quantize_f32, for inference, where
// nothing else reads the stream.
//
// Grid     one workgroup per row.
// Moves    4 * (3 * batch * cols + cols + 4 * batch * words + 3 * batch + 1) bytes.
// Does     10 * batch * cols operations.
// Twin     reference::residual_quantize — h within three roundings; codes where no code is near a tie.
// Source   BitNet b1.58, arXiv 2402.17764, section 2; RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;
const WHOLE: u32 = 1u;          // all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, words: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> step_in: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> h: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> q: array<u32>;
@group(0) @binding(7) var<storage, read_write> sum: array<i32>;
@group(0) @binding(8) var<storage, read_write> step: array<f32>;

var<workgroup> sh_max: array<f32, WG>;
var<workgroup> sh_sum: array<i32, WG>;
var<workgroup> sh_squares: array<f32, WG>;

// The lane that wrote these columns reads them.
fn values(row: u32, col: u32) -> vec4<f32> {
    return pinned(gains(col) * within(h[(row * p.cols + min(col, p.cols - 4u)) / 4u], col), 3e38);
}

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    let unit = beta[0] * step_in[row];
    var largest = 0.0;
    var squares = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let i = (row * p.cols + col) / 4u;
        let four = h[i] + unit * vec4<f32>(acc[i]);
        h[i] = four;
        largest = max(largest, largest_of(gains(col) * four));
        squares += four * four;
    }
    let norm = norm_factor(lane, squares, 1.0);
    let codes = quantize_row(row, lane, max(largest, 1e-5 / norm));
    if lane == 0u {
        sum[row] = codes.sum;
        step[row] = norm / codes.scale;
    }
}
