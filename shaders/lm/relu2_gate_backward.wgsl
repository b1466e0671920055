// relu2_gate_backward — the gradients through RMSNorm and the gate before it, from the exact path's integers
//
//   z[b, c] = max(gate, 0)^2 up,   gate = acc[b, c],   up = acc[b, cols + c]
//   n = z norm,   u = gate_unit^2 up_unit
//   dz[b, c] = norm[b] / u (gain[c] dy[b, c] - n[b, c] mean_k gain[k] dy[b, k] n[b, k])
//   dx[b, c] = 2 gate_unit max(gate, 0) up_unit up dz[b, c],   dx[b, cols + c] = (gate_unit max(gate, 0))^2 dz[b, c]
//   scaled[b, c] = beta[0] dx[b, c],   scaled[b, cols + c] = beta[64] dx[b, cols + c]
//   dgain[c] = sum_b dy[b, c] n[b, c]
//
//   0  p        Params                     uniform
//   1  acc      i32  [batch, 2 * cols]     read     gates, then ups
//   2  factors  f32  [4, stride]           read     norm, step, gate_unit and up_unit, from relu2_gate_quantize
//   3  gain     f32  [cols]                read
//   4  beta     f32  [65]                  read     what a trit of the gates is worth, and of the ups
//   5  dy       f32  [batch, cols]         read     gradient of gain n
//   6  dx       f32  [batch, 2 * cols]     write    gradient of the real values of acc: what dW wants
//   7  scaled   f32  [batch, 2 * cols]     write    each part times its beta: what dX of the product wants
//   8  dgain    f32  [cols]                write
//
// Two sums over the same products, along rows and along columns: some workgroups take a row, others columns.
//
// Grid     one workgroup per row, and one per 4 * WG / SLICES columns.
// Moves    4 * (10 * batch * cols + 2 * cols + 4 * batch + 2) bytes.
// Does     24 * batch * cols operations.
// Twin     reference::relu2_gate_backward — within the rounding of sums of cols and of batch products.
// Source   the derivatives of BitNet b1.58 2B4T's gate, arXiv 2504.12285, section 2, and of RMSNorm, arXiv 1910.07467,
//          equation 4.

override WG: u32 = 64u;
override SLICES: u32 = 8u;
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

struct Params { batch: u32, cols: u32, stride: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dx: array<Out>;
@group(0) @binding(7) var<storage, read_write> scaled: array<Out>;
@group(0) @binding(8) var<storage, read_write> dgain: array<f32>;

var<workgroup> sh_columns: array<vec4<f32>, WG>;
var<workgroup> sh_sum: array<f32, WG>;

fn norm_of(row: u32) -> f32 {
    return factors[row];
}

fn put(i: u32, value: Out, worth: f32) {
    dx[i] = value;
    scaled[i] = worth * value;
}

fn dx_row(row: u32, lane: u32) {
    let f = factors[row];
    let gate_unit = factors[2u * p.stride + row];
    let up_unit = factors[3u * p.stride + row];
    let outer = f / ((gate_unit * gate_unit) * up_unit);
    let beta_gate = beta[0];
    let beta_up = beta[64];
    let gates = 2u * row * p.cols;
    let mean = norm_mean(row, lane, f);
    for (var col = 4u * lane; col < p.cols; col += 4u * WG) {
        let acc_gate = half_row(row, 0u, col);
        let acc_up = half_row(row, 1u, col);
        let dz = outer * norm_dx(row, col, gated(acc_gate, acc_up) * f, mean);
        let gate = gate_unit * max(acc_gate, vec4<f32>(0.0));
        put_four(gates, col, 2.0 * gate * (up_unit * acc_up) * dz, beta_gate);
        put_four(gates + p.cols, col, (gate * gate) * dz, beta_up);
    }
}
