//! The embedding: it turns tokens into rows of floats. Its backward pass adds the gradients of these rows to the rows
//! of the table. The head multiplies by the same table.

use half::f16;

use super::product::matmul_f32;
use crate::ternary::int8_row;

/// `h[n, d] <- e[ids[n], d]`, with the table `e [vocabulary, d]`.
///
/// # Panics
/// If an id is not below the number of rows of the table.
pub fn embed_gather(ids: &[u32], e: &[f32], width: usize) -> Vec<f32> {
    ids.iter().flat_map(|&id| &e[id as usize * width..][..width]).copied().collect()
}

/// [`embed_gather`] of a table that is stored as f16.
///
/// # Panics
/// As [`embed_gather`].
pub fn embed_gather_f16(ids: &[u32], e: &[f32], width: usize) -> Vec<f32> {
    embed_gather(ids, &halfs(e), width)
}

/// [`embed_gather`] of a table that is stored as int8 with a real value of one step for each row.
///
/// # Panics
/// As [`embed_gather`].
pub fn embed_gather_int8(ids: &[u32], e: &[f32], width: usize) -> Vec<f32> {
    embed_gather(ids, &bytes(e, width), width)
}

/// The values as f16 and back.
fn halfs(e: &[f32]) -> Vec<f32> {
    e.iter().map(|&x| f16::from_f32(x).to_f32()).collect()
}

/// The rows as int8 and back.
fn bytes(e: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| {
        let (scale, codes) = int8_row(row);
        codes.into_iter().map(move |code| scale * f32::from(code))
    };
    e.chunks_exact(width).flat_map(row).collect()
}

/// `de[v, d] += sum of dh[t, d] over the tokens t with ids[t] = v`, in the order of the tokens.
pub fn embed_grad(ids: &[u32], dh: &[f32], width: usize, de: &mut [f32]) {
    for (&id, dh) in ids.iter().zip(dh.chunks_exact(width)) {
        let row = &mut de[id as usize * width..][..width];
        row.iter_mut().zip(dh).for_each(|(sum, dh)| *sum += dh);
    }
}

/// The logits `y[b, v] = sum_k x[b, k] e[v, k]`.
pub fn head_f32(x: &[f32], e: &[f32], width: usize) -> Vec<f32> {
    matmul_f32(x, e, width)
}

/// [`head_f32`] of a table that is stored as f16. `x` stays f32.
pub fn head_f16(x: &[f32], e: &[f32], width: usize) -> Vec<f32> {
    matmul_f32(x, &halfs(e), width)
}

/// `y[b, v] = scale[v] sum_k x[b, k] q[v, k]` with the rows of the table as int8, see [`int8_row`]. `x` stays f32.
pub fn head_int8(x: &[f32], e: &[f32], width: usize) -> Vec<f32> {
    let rows: Vec<(f32, Vec<i8>)> = e.chunks_exact(width).map(int8_row).collect();
    let codes: Vec<f32> = rows.iter().flat_map(|(_, codes)| codes).map(|&code| f32::from(code)).collect();
    let sums = matmul_f32(x, &codes, width);
    sums.iter().enumerate().map(|(i, sum)| rows[i % rows.len()].0 * sum).collect()
}
