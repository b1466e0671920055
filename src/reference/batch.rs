//! A batch: images of the data set and their variations, or sequences of a text.

use crate::augment::{self, Distortion};
use crate::random::{self, Stream};
use crate::text::IGNORE;

/// `x[b, c] = images[order[position + b], c]`, `y[b] = labels[order[position + b]]`.
pub fn gather_batch(
    position: usize,
    order: &[u32],
    images: &[u8],
    labels: &[u32],
    batch: usize,
) -> (Vec<i32>, Vec<u32>) {
    let pixels = images.len() / labels.len();
    let chosen = || order[position..position + batch].iter().map(|&i| i as usize);
    let x = chosen().flat_map(|i| images[i * pixels..][..pixels].iter().map(|&p| i32::from(p))).collect();
    (x, chosen().map(|i| labels[i]).collect())
}

/// [`gather_batch`] with an affine map for each image. The map is drawn anew for each step. Interpolation is bilinear,
/// and pixels outside the image are zero.
#[allow(clippy::too_many_arguments)] // the arguments of gather_batch, and those of the transforms
pub fn augment_batch(
    by: &Distortion,
    seed: u64,
    step: u32,
    position: usize,
    order: &[u32],
    images: &[u8],
    labels: &[u32],
    [height, width]: [usize; 2],
    batch: usize,
) -> (Vec<i32>, Vec<u32>) {
    let (originals, labels) = gather_batch(position, order, images, labels, batch);
    let [right, bottom] = [width, height].map(|size| size as i32 - 1);
    let mut x = Vec::new();
    for (row, image) in originals.chunks_exact(height * width).enumerate() {
        let a = by.choose(random::draw(seed, Stream::Augment, step, row as u32));
        let pixel = |u: i32, v: i32| match (0..=right).contains(&u) && (0..=bottom).contains(&v) {
            true => image[v as usize * width + u as usize],
            false => 0,
        };
        for v in 0..=bottom {
            for u in 0..=right {
                // Distances from the centre are in half pixels, so the source has 13 fractional bits. 8 of them are
                // used.
                let [from_left, from_top] = [2 * u - right, 2 * v - bottom];
                let source_x = a.xx * from_left + a.xy * from_top + augment::ONE * right + 2 * a.x;
                let source_y = a.yx * from_left + a.yy * from_top + augment::ONE * bottom + 2 * a.y;
                let [left, top] = [source_x >> 13, source_y >> 13];
                let [to_right, down] = [(source_x >> 5) & 255, (source_y >> 5) & 255];
                let line = |v| pixel(left, v) * (256 - to_right) + pixel(left + 1, v) * to_right;
                x.push((line(top) * (256 - down) + line(top + 1) * down + (1 << 15)) >> 16);
            }
        }
    }
    (x, labels)
}

/// `x[i, j] = ids[s_i + j]`, `y[i, j] = ids[s_i + j + 1]` for `items` items: sequences of a text, and for each token
/// the next token. With a seed, `s_i` is drawn for (seed, step, i) from the starts that have all these tokens. Without
/// a seed, the sequences follow each other from the given item on. After the end of the text, `x` is the last id and
/// `y` is [`IGNORE`].
pub fn text_batch(
    ids: &[u32],
    context: usize,
    seed: Option<u64>,
    [step, item]: [u32; 2],
    items: usize,
) -> (Vec<i32>, Vec<u32>) {
    let start = |i: usize| match seed {
        Some(seed) => random::draw(seed, Stream::Text, step, i as u32)[0] as usize % (ids.len() - context),
        None => (item as usize + i) * context,
    };
    let places = || (0..items).flat_map(|i| (0..context).map(move |j| start(i) + j));
    let x = places().map(|at| ids[at.min(ids.len() - 1)] as i32).collect();
    (x, places().map(|at| ids.get(at + 1).copied().unwrap_or(IGNORE)).collect())
}
