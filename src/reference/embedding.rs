//! The embedding: it turns tokens into rows of floats. Its backward pass adds the gradients of these rows to the rows
//! of the table.

/// `h[n, d] <- e[ids[n], d]`, with the table `e [vocabulary, d]`.
///
/// # Panics
/// If an id is not below the number of rows of the table.
pub fn embed_gather(ids: &[u32], e: &[f32], width: usize) -> Vec<f32> {
    ids.iter().flat_map(|&id| &e[id as usize * width..][..width]).copied().collect()
}

/// `de[v, d] += sum of dh[t, d] over the tokens t with ids[t] = v`, in the order of the tokens.
pub fn embed_grad(ids: &[u32], dh: &[f32], width: usize, de: &mut [f32]) {
    for (&id, dh) in ids.iter().zip(dh.chunks_exact(width)) {
        let row = &mut de[id as usize * width..][..width];
        row.iter_mut().zip(dh).for_each(|(sum, dh)| *sum += dh);
    }
}
