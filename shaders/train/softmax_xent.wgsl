// softmax_xent — softmax cross-entropy of each row, its gradient, and the hits
//
//   t[b, k]       = (1 - eps) [k = label] + eps / classes
//   loss         += sum_b sum_k -t[b, k] log softmax(z[b, :])[k]
//   dz[b, k]      = (softmax(z[b, :])[k] - t[b, k]) / batch     the gradient of the batch's mean
//   hits         += number of rows whose largest logit is the label's (the first of equal ones)
//   clock        += {1, batch}
//
//   0  p       Params                    uniform
//   1  z       f32  [batch, classes]     read              logits
//   2  labels  u32  [batch]              read
//   3  dz      f32  [batch, classes]     write
//   4  loss    f32  [1]                  read and write    a running sum, not yet divided
//   5  hits    u32  [1]                  read and write    a running count
//   6  clock   u32  [2]                  read and write    {step, position in the epoch}
//
// Loss and hits are summed here over a whole epoch, so that the host reads back once. The clock lets a plan of
// bound Ops be replayed: the forward pass of a step reads where its batch begins, the update which step it is.
//
// Grid     one workgroup; the sum over rows has one fixed order.
// Moves    4 * (2 * batch * classes + batch + 8) bytes.
// Does     8 * batch * classes operations.
// Twin     reference::softmax_xent — within the rounding of a sum of `classes` exponentials.
// Source   label smoothing, arXiv 1512.00567, section 7.

struct Params { batch: u32, classes: u32, smoothing: f32, inverse_batch: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> hits: array<u32>;
@group(0) @binding(6) var<storage, read_write> clock: array<u32>;

var<workgroup> sh_loss: array<f32, LANES>;
var<workgroup> sh_hits: array<u32, LANES>;

fn logit(b: u32, k: u32) -> f32 {
    return z[b * p.classes + k];
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    xent(lane);
}
