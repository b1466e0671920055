//! The loss of a batch and the gradient of its mean.

use super::product::scale_rows;
pub use crate::text::IGNORE;

/// The summed softmax cross-entropy with label smoothing, the gradient of the batch's mean, and the number of hits.
pub fn softmax_xent(z: &[f32], labels: &[u32], smoothing: f32) -> (f32, Vec<f32>, u32) {
    let classes = z.len() / labels.len();
    let off = smoothing / classes as f32;
    let on = 1.0 - smoothing;
    let (mut loss, mut dz, mut hits) = (0.0, Vec::new(), 0);
    for (z, &label) in z.chunks_exact(classes).zip(labels) {
        let label = label as usize;
        let mut best = 0;
        for k in 1..classes {
            if z[k] > z[best] {
                best = k;
            }
        }
        let shifted: Vec<f32> = z.iter().map(|x| x - z[best]).collect();
        let exponentials: f32 = shifted.iter().map(|x| x.exp()).sum();
        for (k, x) in shifted.iter().enumerate() {
            let target = off + if k == label { on } else { 0.0 };
            dz.push((x.exp() / exponentials - target) / labels.len() as f32);
        }
        loss += exponentials.ln() - on * shifted[label] - off * shifted.iter().sum::<f32>();
        hits += u32::from(best == label);
    }
    (loss, dz, hits)
}

/// `z[b, k] = scale[b] acc[b, k]`, then [`softmax_xent`] of `z`. Returns the logits `z` first.
pub fn scale_softmax_xent(
    acc: &[i32],
    scale: &[f32],
    labels: &[u32],
    smoothing: f32,
) -> (Vec<f32>, (f32, Vec<f32>, u32)) {
    let z = scale_rows(acc, scale);
    let loss = softmax_xent(&z, labels, smoothing);
    (z, loss)
}

/// The result of [`xent_rows`] for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// `[n]`: the loss of a row, 0 where it is ignored.
    pub losses: Vec<f32>,
    /// `[n]`: `ln sum_k exp z[k]`.
    pub lse: Vec<f32>,
    /// `[n, classes]`: the gradient of the mean over the rows that count. It is 0 where a row is ignored.
    pub dz: Vec<f32>,
    /// `[n]`: 1 if the label has the largest logit, else 0. Of equal logits the first one is the largest.
    pub hits: Vec<u32>,
}

/// Softmax cross-entropy of each row of `z [n, classes]` with label smoothing. Rows with the label [`IGNORE`] do not
/// count.
///
/// `lse = max + ln sum_k exp(z_k - max)`. The target `t` is `smoothing / classes` for each class, plus `1 - smoothing`
/// for the label. Then `loss = sum_k t_k (lse - z_k)` and `dz = (exp(z - lse) - t) / rows that count`.
pub fn xent_rows(z: &[f32], labels: &[u32], classes: usize, smoothing: f32) -> Rows {
    let counted = labels.iter().filter(|&&label| label != IGNORE).count() as f32;
    let mut rows = Rows { losses: Vec::new(), lse: Vec::new(), dz: Vec::new(), hits: Vec::new() };
    for (z, &label) in z.chunks_exact(classes).zip(labels) {
        let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = z.iter().map(|z| (z - largest).exp()).sum();
        rows.lse.push(largest + sum.ln());
        if label == IGNORE {
            rows.losses.push(0.0);
            rows.hits.push(0);
            rows.dz.extend(vec![0.0; classes]);
            continue;
        }
        // One row is a batch of one: it gives the loss, the hit, and `counted` times the gradient of the row.
        let (loss, dz, hits) = softmax_xent(z, &[label], smoothing);
        rows.losses.push(loss);
        rows.hits.push(hits);
        rows.dz.extend(dz.iter().map(|dz| dz / counted));
    }
    rows
}

/// The sums of the results of [`xent_rows`] over all rows: the loss, and the hits.
pub fn xent_totals(losses: &[f32], hits: &[u32]) -> (f32, u32) {
    (losses.iter().sum(), hits.iter().sum())
}
