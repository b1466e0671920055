//! Quantisation of floats: to trits with one scale for each matrix, and to int8 with one scale for each row.

use crate::ternary::{LEAST, Packed, ternarize};
pub use crate::ternary::{abs_sums, absmean};

/// int8 activations of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    /// `[batch, cols]`.
    pub q: Vec<i8>,
    /// `[batch]`: `127 / max`.
    pub scale: Vec<f32>,
    /// `[batch]`: sum of `q` over the row.
    pub sum: Vec<i32>,
}

/// `T = clamp(round(w / beta), -1, 1)`, packed.
pub fn quantize_weights(w: &[f32], beta: f32, rows: usize, cols: usize) -> Packed {
    Packed::pack(&ternarize(w, beta), rows, cols, beta)
}

/// `w[r, c] = beta T[r, c]`.
pub fn dequantize_weights(packed: &Packed) -> Vec<f32> {
    packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect()
}

/// `s = 127 / max(max |x[b, :]|, 1e-5)`, `q = clamp(round(x s), -128, 127)`, ties to even.
pub fn quantize_activations(x: &[f32], cols: usize) -> Int8 {
    quantize_rows(x, cols, |_| LEAST)
}

/// [`quantize_activations`] with a lower bound of the maximum for each row.
pub(super) fn quantize_rows(x: &[f32], cols: usize, floor: impl Fn(usize) -> f32) -> Int8 {
    let mut out = Int8 { q: Vec::new(), scale: Vec::new(), sum: Vec::new() };
    for (i, row) in x.chunks_exact(cols).enumerate() {
        let largest = row.iter().fold(floor(i), |largest, x| largest.max(x.abs()));
        let s = 127.0 / largest;
        let q = row.iter().map(|x| (x * s).round_ties_even().clamp(-128.0, 127.0) as i8);
        out.q.extend(q);
        out.scale.push(s);
        out.sum.push(out.q[out.q.len() - cols..].iter().map(|&q| i32::from(q)).sum());
    }
    out
}
