//! The angles of rotary position embedding, for the host and for the twin. The device reads their sines and cosines
//! from a table, because WGSL guarantees little accuracy for its own sine and cosine.

/// `[positions, e]`: the row of position `p` holds the cosines of the angles `p theta^(-2 i / e)`, `i` from 0 to
/// `e / 2 - 1`, and then their sines. The values are computed in f64 and rounded once to f32. (RoFormer, arXiv
/// 2104.09864, equation 15.)
///
/// # Panics
/// If the head width `e` is odd.
pub fn rope_table(positions: impl IntoIterator<Item = usize>, e: usize, theta: f64) -> Vec<f32> {
    assert!(
        e.is_multiple_of(2),
        "rope_table: the head width {e} is odd, but the values of a head turn in pairs"
    );
    let mut table = Vec::new();
    for position in positions {
        let angle = |i: usize| position as f64 * theta.powf(-2.0 * i as f64 / e as f64);
        table.extend((0..e / 2).map(|i| angle(i).cos() as f32));
        table.extend((0..e / 2).map(|i| angle(i).sin() as f32));
    }
    table
}
