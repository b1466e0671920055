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
override KEPT: u32 = 2u;        // vectors of four of a lane that stay in registers, at most MOST_KEPT
override WHOLE: u32 = 0u;       // 1: all rows start at whole vectors of four

const MOST_KEPT: u32 = 11u;

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

// What both loops over a row need.
struct Row { gates: u32, outer: f32, gate_unit: f32, up_unit: f32, beta_gate: f32, beta_up: f32 }

fn put_gradients(row: Row, col: u32, acc_gate: vec4<f32>, acc_up: vec4<f32>, dn: vec4<f32>) {
    let dz = row.outer * dn;
    let gate = row.gate_unit * max(acc_gate, vec4<f32>(0.0));
    put_four(row.gates, col, 2.0 * gate * (row.up_unit * acc_up) * dz, row.beta_gate);
    put_four(row.gates + p.cols, col, (gate * gate) * dz, row.beta_up);
}

fn dx_row(b: u32, lane: u32) {
    let f = factors[b];
    let gate_unit = factors[2u * p.stride + b];
    let up_unit = factors[3u * p.stride + b];
    let row = Row(
        2u * b * p.cols, f / ((gate_unit * gate_unit) * up_unit), gate_unit, up_unit, beta[0], beta[64]);
    // The first vectors of a lane stay in registers from one loop to the next.
    var gate: array<vec4<f32>, MOST_KEPT>;
    var up: array<vec4<f32>, MOST_KEPT>;
    var g: array<vec4<f32>, MOST_KEPT>;
    var along = vec4<f32>(0.0);
    for (var k = 0u; k < KEPT; k++) {
        let col = 4u * (lane + k * WG);
        gate[k] = half_row(b, 0u, col);
        up[k] = half_row(b, 1u, col);
        g[k] = gains(col) * gradients(b, col);
        along += select(vec4<f32>(0.0), g[k] * (gated(gate[k], up[k]) * f), col < p.cols);
    }
    for (var col = 4u * (lane + KEPT * WG); col < p.cols; col += 4u * WG) {
        along += (gains(col) * gradients(b, col)) * (inputs(b, col) * f);
    }
    let mean = row_sum(lane, (along.x + along.y) + (along.z + along.w)) / f32(p.cols);
    for (var k = 0u; k < KEPT; k++) {
        let col = 4u * (lane + k * WG);
        if col < p.cols { put_gradients(row, col, gate[k], up[k], g[k] - (gated(gate[k], up[k]) * f) * mean); }
    }
    for (var col = 4u * (lane + KEPT * WG); col < p.cols; col += 4u * WG) {
        let acc_gate = half_row(b, 0u, col);
        let acc_up = half_row(b, 1u, col);
        let dn = gains(col) * gradients(b, col) - (gated(acc_gate, acc_up) * f) * mean;
        put_gradients(row, col, acc_gate, acc_up, dn);
    }
}
