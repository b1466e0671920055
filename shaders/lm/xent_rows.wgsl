// xent_rows — softmax cross-entropy of each row by itself, its gradient, and whether it hits
//
//   t[b, k]   = (1 - eps) [k = label] + eps / classes
//   losses[b] = sum_k -t[b, k] log softmax(z[b, :])[k]
//   dz[b, k]  = (softmax(z[b, :])[k] - t[b, k]) / counted     the gradient of the mean over the rows that count
//   hits[b]   = 1 if the largest logit is the label's (the first of equal ones), else 0
//
//   0  p       Params                    uniform
//   1  z       f32  [batch, classes]     read     logits
//   2  labels  u32  [batch]              read     0xffffffff: the row does not count, and all it gives is 0
//   3  dz      f32  [batch, classes]     write
//   4  losses  f32  [batch]              write
//   5  hits    u32  [batch]              write
//
// Grid     one workgroup per row; the sums over classes have one fixed order.
// Moves    4 * (2 * batch * classes + 3 * batch) bytes.
// Does     8 * batch * classes operations.
// Twin     reference::xent_rows — within the rounding of a sum of `classes` exponentials.
// Source   label smoothing, arXiv 1512.00567, section 7.

override WG: u32 = 64u;

struct Params { batch: u32, classes: u32, smoothing: f32, inverse_counted: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;
@group(0) @binding(5) var<storage, read_write> hits: array<u32>;

const IGNORE: u32 = 0xffffffffu;

var<workgroup> sh_largest: array<f32, WG>;
var<workgroup> sh_best: array<u32, WG>;
var<workgroup> sh_sums: array<vec2<f32>, WG>;

fn run(row: u32, lane: u32) {
    if row >= p.batch { return; }
    let first = row * p.classes;
    if labels[row] == IGNORE {
        for (var k = lane; k < p.classes; k += WG) { dz[first + k] = 0.0; }
        if lane == 0u {
            losses[row] = 0.0;
            hits[row] = 0u;
        }
        return;
    }
    let label = min(labels[row], p.classes - 1u);       // data: clamped

    // Lanes without a class say again what the last one is.
    var best = min(lane, p.classes - 1u);
    var largest = z[first + best];
    for (var k = lane + WG; k < p.classes; k += WG) {
        let value = z[first + k];
        if value > largest {
            largest = value;
            best = k;
        }
    }
    sh_largest[lane] = largest;
    sh_best[lane] = best;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride {
            let other = sh_largest[lane + stride];
            let later = sh_best[lane + stride];
            if other > sh_largest[lane] || (other == sh_largest[lane] && later < sh_best[lane]) {
                sh_largest[lane] = other;
                sh_best[lane] = later;
            }
        }
    }
    workgroupBarrier();
    largest = sh_largest[0];
    best = sh_best[0];

    // Shifted logits: no exponential exceeds 1, and their sum is at least 1.
    var sums = vec2<f32>(0.0);
    for (var k = lane; k < p.classes; k += WG) {
        let value = z[first + k] - largest;
        sums += vec2<f32>(exp(value), value);
    }
    sh_sums[lane] = sums;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_sums[lane] = sh_sums[lane] + sh_sums[lane + stride]; }
    }
    workgroupBarrier();
    sums = sh_sums[0];

    let off = p.smoothing / f32(p.classes);
    let on = 1.0 - p.smoothing;
    let inverse = 1.0 / sums.x;
    for (var k = lane; k < p.classes; k += WG) {
        let target_k = off + select(0.0, on, k == label);
        dz[first + k] = (exp(z[first + k] - largest) * inverse - target_k) * p.inverse_counted;
    }
    if lane == 0u {
        // sum_k t_k (log exponentials - shifted_k), and the targets sum to 1.
        losses[row] = log(sums.x) - on * (z[first + label] - largest) - off * sums.y;
        hits[row] = select(0u, 1u, best == label);
    }
}
