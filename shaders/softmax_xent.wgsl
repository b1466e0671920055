// softmax_xent — softmax cross-entropy of each row, its gradient, and the hits
//
//   t[b, k]       = (1 - eps) [k = label] + eps / classes
//   loss         += sum_b sum_k -t[b, k] log softmax(z[b, :])[k]
//   dz[b, k]      = (softmax(z[b, :])[k] - t[b, k]) / batch     the gradient of the batch's mean
//   hits         += number of rows whose largest logit is the label's (the first of equal ones)
//
//   0  p       Params                    uniform
//   1  z       f32  [batch, classes]     read              logits
//   2  labels  u32  [batch]              read
//   3  dz      f32  [batch, classes]     write
//   4  loss    f32  [1]                  read and write    a running sum, not yet divided
//   5  hits    u32  [1]                  read and write    a running count
//
// Loss and hits are summed here over a whole epoch, so that the host reads back once.
//
// Grid     one workgroup; the sum over rows has one fixed order.
// Moves    4 * (2 * batch * classes + batch + 4) bytes.
// Does     8 * batch * classes operations.
// Twin     reference::softmax_xent — within the rounding of a sum of `classes` exponentials.
// Source   label smoothing, arXiv 1512.00567, section 7.

const LANES: u32 = 128u;

struct Params { batch: u32, classes: u32, smoothing: f32, inverse_batch: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> hits: array<u32>;

var<workgroup> sh_loss: array<f32, LANES>;
var<workgroup> sh_hits: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    let off = p.smoothing / f32(p.classes);
    let on = 1.0 - p.smoothing;
    var total = 0.0;
    var right = 0u;
    for (var b = lane; b < p.batch; b += LANES) {
        let first = b * p.classes;
        let label = min(labels[b], p.classes - 1u);     // data: clamped
        var largest = z[first];
        var best = 0u;
        for (var k = 1u; k < p.classes; k++) {
            let value = z[first + k];
            if value > largest { largest = value; best = k; }
        }
        // Shifted logits: no exponential exceeds 1, and their sum is at least 1.
        var exponentials = 0.0;
        var shifted = 0.0;
        for (var k = 0u; k < p.classes; k++) {
            let value = z[first + k] - largest;
            exponentials += exp(value);
            shifted += value;
        }
        let inverse = 1.0 / exponentials;
        for (var k = 0u; k < p.classes; k++) {
            let target_k = off + select(0.0, on, k == label);
            dz[first + k] = (exp(z[first + k] - largest) * inverse - target_k) * p.inverse_batch;
        }
        // sum_k t_k (log exponentials - shifted_k), and the targets sum to 1.
        total += log(exponentials) - on * (z[first + label] - largest) - off * shifted;
        right += select(0u, 1u, best == label);
    }
    sh_loss[lane] = total;
    sh_hits[lane] = right;
    for (var stride = LANES / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride {
            sh_loss[lane] = sh_loss[lane] + sh_loss[lane + stride];
            sh_hits[lane] = sh_hits[lane] + sh_hits[lane + stride];
        }
    }
    if lane == 0u {
        loss[0] = loss[0] + sh_loss[0];
        hits[0] = hits[0] + sh_hits[0];
    }
}
