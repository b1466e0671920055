// relu2_gate_quantize — squared ReLU of the gate, RMSNorm and absmax quantisation of integers: the exact path
//
//   z[b, c] = max(gate, 0)^2 up,   gate = acc[b, c],   up = acc[b, cols + c]
//   gate_unit[b] = step_in[b] beta[0],   up_unit[b] = step_in[b] beta[64],   u = gate_unit^2 up_unit
//   norm[b] = u / sqrt(u^2 mean_c z[b, c]^2 + eps)
//   scale[b] = 127 / max(max_c |gain[c] z[b, c]|, 1e-5 / norm[b]),   step[b] = norm[b] / scale[b]
//   q[b, c] = clamp(round(gain[c] z[b, c] scale[b]), -128, 127),   sum[b] = sum_c q[b, c]
//
//   0  p        Params                      uniform
//   1  acc      i32  [batch, 2 * cols]      read    accumulators of a product with gates|ups, below 2^24
//   2  step_in  f32  [batch]                read    real value of one int8 step of its codes
//   3  beta     f32  [65]                   read    what a trit of the gates is worth, and of the ups
//   4  gain     f32  [cols]                 read
//   5  q        u32  [batch, 4 * words]     write   int8, four a word, zero past the last column
//   6  scale    f32  [batch]                write
//   7  sum      i32  [batch]                write
//   8  factors  f32  [4, stride]            write   norm, step, gate_unit and up_unit of each row
//
// acc is an integer, so every code depends only on correctly rounded multiplications in one order, and is the same on
// every device. The positive factors of a row cannot change its codes and travel beside them: RMSNorm's output is
// gain z norm, one int8 step is worth step. Only the least maximum, 1e-5 of RMSNorm's output, needs the norm.
//
// Grid     one workgroup per row.
// Moves    4 * (2 * batch * cols + cols + 4 * batch * words + 7 * batch + 2) bytes.
// Does     11 * batch * cols operations.
// Twin     reference::relu2_gate_quantize — codes equal unless the least maximum acts; factors up to rounding.
// Source   BitNet b1.58 2B4T, arXiv 2504.12285, section 2; RMSNorm, arXiv 1910.07467, equation 4.

override WG: u32 = 64u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, words: u32, stride: u32, eps: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> step_in: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
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
    let gate_unit = step_in[row] * beta[0];
    let up_unit = step_in[row] * beta[64];
    // The unit goes in first: squares of products of raw accumulators would leave the range of f32 early.
    let unit = (gate_unit * gate_unit) * up_unit;
    var largest = 0.0;
    var squares = vec4<f32>(0.0);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let z = within(inputs(row, col), col);
        largest = max(largest, largest_of(gains(col) * z));
        squares += (unit * z) * (unit * z);
    }
    let norm = norm_factor(lane, squares, unit);
    let codes = quantize_row(row, lane, max(largest, 1e-5 / norm));
    if lane == 0u {
        scale[row] = codes.scale;
        sum[row] = codes.sum;
        factors[row] = norm;
        factors[p.stride + row] = norm / codes.scale;
        factors[2u * p.stride + row] = gate_unit;
        factors[3u * p.stride + row] = up_unit;
    }
}
