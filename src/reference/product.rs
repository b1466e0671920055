//! Products of matrices, forward and backward: with trits, with int8 and with floats.

use half::f16;

use crate::ternary::{Base3, Bitplanes, Packed};

/// `acc[b, r] = sum_k T[r, k] q[b, k]`. It adds for 1, subtracts for -1 and skips for 0.
pub fn matmul_ternary(q: &[i8], w: &Packed) -> Vec<i32> {
    let trits = w.unpack();
    let mut acc = Vec::new();
    for x in q.chunks_exact(w.cols) {
        for row in trits.chunks_exact(w.cols) {
            let mut sum = 0;
            for (&t, &q) in row.iter().zip(x) {
                match t {
                    1 => sum += i32::from(q),
                    -1 => sum -= i32::from(q),
                    _ => {}
                }
            }
            acc.push(sum);
        }
    }
    acc
}

/// `acc[r] = sum_k T[r, k] q[k]`: [`matmul_ternary`] of one row.
pub fn gemv_ternary(q: &[i8], w: &Packed) -> Vec<i32> {
    assert_eq!(q.len(), w.cols, "gemv_ternary: one row of activations");
    matmul_ternary(q, w)
}

/// [`gemv_ternary`]. The twin uses only additions and subtractions in both cases.
pub fn gemv_ternary_addsub(q: &[i8], w: &Packed) -> Vec<i32> {
    gemv_ternary(q, w)
}

/// [`matmul_ternary`] for the same trits with five per byte.
pub fn matmul_base3(q: &[i8], w: &Base3) -> Vec<i32> {
    matmul_ternary(q, &Packed::pack(&w.unpack(), w.rows, w.cols, w.scale))
}

/// [`matmul_base3`] of one row.
pub fn gemv_base3(q: &[i8], w: &Base3) -> Vec<i32> {
    assert_eq!(q.len(), w.cols, "gemv_base3: one row of activations");
    matmul_base3(q, w)
}

/// `acc[r] = sum_k T[r, k] t[k]`. The activations `t` are trits too, as a matrix of one row.
pub fn gemv_bitplane(x: &Bitplanes, w: &Bitplanes) -> Vec<i32> {
    gemv_ternary(&x.unpack(), &Packed::pack(&w.unpack(), w.rows, w.cols, w.scale))
}

/// `acc[b, r] = sum_k w[r, k] q[b, k]`.
pub fn matmul_i8(q: &[i8], w: &[i8], cols: usize) -> Vec<i32> {
    let dot = |q: &[i8], w: &[i8]| w.iter().zip(q).map(|(&w, &q)| i32::from(w) * i32::from(q)).sum();
    q.chunks_exact(cols).flat_map(|q| w.chunks_exact(cols).map(move |w| dot(q, w))).collect()
}

/// `acc[r] = sum_k w[r, k] q[k]`: [`matmul_i8`] of one row.
pub fn gemv_i8(q: &[i8], w: &[i8]) -> Vec<i32> {
    matmul_i8(q, w, q.len())
}

/// `y[b, r] = scale[b] acc[b, r]`.
pub fn scale_rows(acc: &[i32], scale: &[f32]) -> Vec<f32> {
    let rows = acc.len() / scale.len();
    acc.iter().enumerate().map(|(i, &a)| scale[i / rows] * a as f32).collect()
}

/// `y[b, r] = acc[b, r] beta / scale[b]`.
pub fn descale_rows(acc: &[i32], scale: &[f32], beta: f32) -> Vec<f32> {
    let units: Vec<f32> = scale.iter().map(|scale| beta / scale).collect();
    scale_rows(acc, &units)
}

/// `y[n, c] = betas[i] step[n] acc[n, c]` for column `c` in part `i`. `parts` holds the number of columns of each part
/// of a stacked product.
pub fn scale_parts(acc: &[i32], step: &[f32], parts: &[usize], betas: &[f32]) -> Vec<f32> {
    let mut y = Vec::new();
    for (acc, step) in acc.chunks_exact(parts.iter().sum()).zip(step) {
        let mut acc = acc.iter();
        for (&cols, beta) in parts.iter().zip(betas) {
            y.extend(acc.by_ref().take(cols).map(|&a| (beta * step) * a as f32));
        }
    }
    y
}

/// `scaled[n, c] = betas[i] dy[n, c]` for column `c` in part `i`. The gradient of a stacked product's input is computed
/// from it.
pub fn scale_gradients(dy: &[f32], parts: &[usize], betas: &[f32]) -> Vec<f32> {
    let of_columns: Vec<f32> =
        parts.iter().zip(betas).flat_map(|(&cols, &beta)| std::iter::repeat_n(beta, cols)).collect();
    dy.iter().enumerate().map(|(i, dy)| of_columns[i % of_columns.len()] * dy).collect()
}

/// `sum_k x[k] w[k]`, from the first to the last.
pub(super) fn dot(x: &[f32], w: &[f32]) -> f32 {
    x.iter().zip(w).map(|(x, w)| x * w).sum()
}

/// `y[b, r] = sum_k x[b, k] w[r, k]`.
pub fn matmul_f32(x: &[f32], w: &[f32], cols: usize) -> Vec<f32> {
    x.chunks_exact(cols).flat_map(|x| w.chunks_exact(cols).map(move |w| dot(x, w))).collect()
}

/// `y[r] = sum_k x[k] w[r, k]`.
pub fn gemv_f32(x: &[f32], w: &[f32]) -> Vec<f32> {
    matmul_f32(x, w, x.len())
}

/// [`matmul_f32`] after rounding both inputs to f16.
pub fn matmul_f16(x: &[f32], w: &[f32], cols: usize) -> Vec<f32> {
    let stored = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x).to_f32()).collect::<Vec<_>>();
    matmul_f32(&stored(x), &stored(w), cols)
}

/// [`matmul_f16`] of one row.
pub fn gemv_f16(x: &[f32], w: &[f32]) -> Vec<f32> {
    matmul_f16(x, w, x.len())
}

/// `dx[b, c] = beta sum_r dy[b, r] T[r, c]`.
pub fn matmul_ternary_dx(w: &Packed, dy: &[f32]) -> Vec<f32> {
    let trits = w.unpack();
    let mut dx = Vec::new();
    for dy in dy.chunks_exact(w.rows) {
        let mut row = vec![0.0; w.cols];
        for (&d, t) in dy.iter().zip(trits.chunks_exact(w.cols)) {
            for (sum, &t) in row.iter_mut().zip(t) {
                *sum += d * f32::from(t);
            }
        }
        dx.extend(row.iter().map(|sum| w.scale * sum));
    }
    dx
}

/// `dw[r, c] = sum_b dy[b, r] step[b] q[b, c]`.
pub fn matmul_ternary_dw(dy: &[f32], step: &[f32], q: &[i8]) -> Vec<f32> {
    let batch = step.len();
    let (rows, cols) = (dy.len() / batch, q.len() / batch);
    let mut dw = vec![0.0; rows * cols];
    for b in 0..batch {
        for r in 0..rows {
            let d = step[b] * dy[b * rows + r];
            for c in 0..cols {
                dw[r * cols + c] += d * f32::from(q[b * cols + c]);
            }
        }
    }
    dw
}

/// `dx[b, c] = sum_r dy[b, r] w[r, c]`.
pub fn matmul_f32_dx(w: &[f32], dy: &[f32], [rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut dx = vec![0.0; dy.len() / rows * cols];
    for (dy, dx) in dy.chunks_exact(rows).zip(dx.chunks_exact_mut(cols)) {
        for (&d, w) in dy.iter().zip(w.chunks_exact(cols)) {
            dx.iter_mut().zip(w).for_each(|(sum, w)| *sum += d * w);
        }
    }
    dx
}

/// `dw[r, c] = sum_b dy[b, r] x[b, c]`.
pub fn matmul_f32_dw(dy: &[f32], x: &[f32], batch: usize) -> Vec<f32> {
    let (rows, cols) = (dy.len() / batch, x.len() / batch);
    let mut dw = vec![0.0; rows * cols];
    for (dy, x) in dy.chunks_exact(rows).zip(x.chunks_exact(cols)) {
        for (&d, dw) in dy.iter().zip(dw.chunks_exact_mut(cols)) {
            dw.iter_mut().zip(x).for_each(|(sum, x)| *sum += d * x);
        }
    }
    dw
}
