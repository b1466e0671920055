// rmsnorm_quantize — ReLU, RMSNorm and absmax quantisation of integers: the exact path
//
//   g[b, c] = gain[c] max(x[b, c], 0),   q, scale, sum = quantize_activations(g)
//   norm[b] = r / sqrt(r^2 mean_c max(x[b, c], 0)^2 + eps),   r = r[b]
//   step[b] = norm[b] / scale[b],   y_scale[b] = beta step[b]
//
//   0  p        Params                      uniform
//   1  x        i32  [batch, cols]          read    pixels, or the accumulators of the layer before
//   2  r        f32  [batch]                read    real value of one unit of x
//   3  gain     f32  [cols]                 read
//   4  beta     f32  [1]                    read    absmean of the layer's weights
//   5  q        u32  [batch, 4 * words]     write   int8, four a word, zero past the last column
//   6  scale    f32  [batch]                write   127 / max(max |g[b, :]|, 1e-5)
//   7  sum      i32  [batch]                write   sum of q
//   8  factors  f32  [3, stride]            write   norm, step and y_scale of each row
//
// x is an integer, so every code depends only on correctly rounded multiplications and is the same on every
// device. The positive factors of a row cannot change its codes and travel beside them: RMSNorm's output is
// gain max(x, 0) norm, one int8 step is worth step, one unit of the accumulators y_scale, the r of the next layer.
//
// Grid     one workgroup per row.
// Moves    4 * batch * (cols + 4 * words + 6) + 4 * cols + 4 bytes.
// Does     9 * batch * cols operations (relu, gain, absolute value, maximum, multiply, round; multiply, square, add).
// Twin     reference::rmsnorm_quantize — codes equal; factors within the rounding of a sum of cols squares.
// Source   RMSNorm, arXiv 1910.07467, equation 4; BitNet b1.58, arXiv 2402.17764, section 2.

override WG: u32 = 64u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, words: u32, stride: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> r: array<f32>;
@group(0) @binding(3) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read_write> q: array<u32>;
@group(0) @binding(6) var<storage, read_write> scale: array<f32>;
@group(0) @binding(7) var<storage, read_write> sum: array<i32>;
@group(0) @binding(8) var<storage, read_write> factors: array<f32>;

var<workgroup> sh_max: array<f32, WG>;
var<workgroup> sh_sum: array<i32, WG>;
var<workgroup> sh_squares: array<f32, WG>;

fn values(row: u32, col: u32) -> vec4<f32> {
    return pinned(gains(col) * within(inputs(row, col), col), 3e38);
}

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    // The unit goes in first: squares of raw accumulators would leave the range of f32 early.
    let unit = r[row];
    var largest = 1e-5;
    var squares = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let h = within(inputs(row, col), col);
        largest = max(largest, largest_of(gains(col) * h));
        squares += (unit * h) * (unit * h);
    }
    let norm = norm_factor(lane, squares, unit);
    let codes = quantize_row(row, lane, largest);
    if lane == 0u {
        scale[row] = codes.scale;
        sum[row] = codes.sum;
        let step = norm / codes.scale;
        factors[row] = norm;
        factors[p.stride + row] = step;
        factors[2u * p.stride + row] = beta[0] * step;
    }
}
