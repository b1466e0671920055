// scale_softmax_xent — z[b, k] = scale[b] acc[b, k], then softmax_xent of z
//
//   0  p       Params                    uniform
//   1  acc     i32  [batch, classes]     read              accumulators of the last layer
//   2  scale   f32  [batch]              read              real value of one unit of the row
//   3  labels  u32  [batch]              read
//   4  z       f32  [batch, classes]     read and write    logits
//   5  dz      f32  [batch, classes]     write             gradient of the batch's mean loss
//   6  loss    f32  [1]                  read and write    a running sum, not yet divided
//   7  hits    u32  [1]                  read and write    a running count
//   8  clock   u32  [2]                  read and write    {step, position in the epoch}
//
// Grid     one workgroup; the sum over rows has one fixed order.
// Moves    4 * (3 * batch * classes + 2 * batch + 8) bytes.
// Does     9 * batch * classes operations.
// Twin     reference::scale_softmax_xent — logits equal, the rest as softmax_xent.
// Source   as softmax_xent.

struct Params { batch: u32, classes: u32, smoothing: f32, inverse_batch: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<i32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;
@group(0) @binding(5) var<storage, read_write> dz: array<f32>;
@group(0) @binding(6) var<storage, read_write> loss: array<f32>;
@group(0) @binding(7) var<storage, read_write> hits: array<u32>;
@group(0) @binding(8) var<storage, read_write> clock: array<u32>;

var<workgroup> sh_loss: array<f32, LANES>;
var<workgroup> sh_hits: array<u32, LANES>;

fn logit(b: u32, k: u32) -> f32 {
    return z[b * p.classes + k];
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Each lane makes the rows that it reads.
    for (var b = lane; b < p.batch; b += LANES) {
        let unit = scale[b];
        for (var i = b * p.classes; i < (b + 1u) * p.classes; i++) { z[i] = unit * f32(acc[i]); }
    }
    xent(lane);
}
