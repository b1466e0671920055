// xent — the loss of a batch by one workgroup, its gradient, the hits, and the clock moved on.
//
// For kernels of LANES lanes that declare p { batch, classes, smoothing, inverse_batch }, labels, dz, loss, hits,
// clock, sh_loss, sh_hits (LANES of each) and logit(b, k).

const LANES: u32 = 128u;

fn xent(lane: u32) {
    let off = p.smoothing / f32(p.classes);
    let on = 1.0 - p.smoothing;
    var total = 0.0;
    var right = 0u;
    for (var b = lane; b < p.batch; b += LANES) {
        let label = min(labels[b], p.classes - 1u);     // data: clamped
        var largest = logit(b, 0u);
        var best = 0u;
        for (var k = 1u; k < p.classes; k++) {
            let value = logit(b, k);
            if value > largest { largest = value; best = k; }
        }
        // Shifted logits: no exponential exceeds 1, and their sum is at least 1.
        var exponentials = 0.0;
        var shifted = 0.0;
        for (var k = 0u; k < p.classes; k++) {
            let value = logit(b, k) - largest;
            exponentials += exp(value);
            shifted += value;
        }
        let inverse = 1.0 / exponentials;
        for (var k = 0u; k < p.classes; k++) {
            let target_k = off + select(0.0, on, k == label);
            dz[b * p.classes + k] = (exp(logit(b, k) - largest) * inverse - target_k) * p.inverse_batch;
        }
        // sum_k t_k (log exponentials - shifted_k), and the targets sum to 1.
        total += log(exponentials) - on * (logit(b, label) - largest) - off * shifted;
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
        clock[0] = clock[0] + 1u;
        clock[1] = clock[1] + p.batch;
    }
}
