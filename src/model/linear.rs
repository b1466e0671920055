//! One ternary layer over a caller's tensors, for programs with a network of their own. This module knows no norm, no
//! activation function and no gradient.

use crate::gpu::{Dtype::*, Error, Gpu, Op, Tensor};
use crate::kernels::{self, Int8Tensor, PackedTensor};

/// `y[batch, rows] <- (sum_k T[rows, k] q[batch, k]) beta / s[batch]`, where
/// `s = 127 / max(max |x[b, :]|, 1e-5)` and `q = clamp(round(x s), -128, 127)`: BitLinear without a norm and
/// without a bias. (BitNet b1.58, arXiv 2402.17764, section 2.)
///
/// `q` and the sums are exact: [`reference::quantize_activations`](crate::reference::quantize_activations) and
/// [`reference::matmul_ternary`](crate::reference::matmul_ternary) give the same bits. The floats `y` are those of
/// [`reference::descale_rows`](crate::reference::descale_rows) within the rounding of one division.
///
/// ```no_run
/// use sterna::gpu::{Choice, Dtype, Error, Gpu};
/// use sterna::kernels::PackedTensor;
/// use sterna::model::Linear;
/// use sterna::Packed;
///
/// # fn main() -> Result<(), Error> {
/// let gpu = Gpu::new(&Choice::default())?;
/// let weights = Packed::quantize(&[0.3, -0.2, 0.0, 0.7, -0.9, 0.1], 2, 3);
/// let weights = PackedTensor::upload(&gpu, "w", &weights)?;
/// let x = gpu.upload("x", &[1, 3], &[1.0f32, -2.0, 0.5])?;
/// let y = gpu.zeros("y", Dtype::F32, &[1, 2])?;
/// let layer = Linear::ternary(&gpu, &weights, &x, &y)?;
/// gpu.run(layer.ops())?; // or gpu.record(layer.ops(), &mut encoder), as often as x changes
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    ops: [Op; 3],
    /// The quantised activations: codes `[batch, cols]`, scales, sums.
    pub codes: Int8Tensor,
    /// The accumulators, `i32 [batch, rows]`.
    pub acc: Tensor,
}

impl Linear {
    /// Binds the layer to its weights, its input `x`, f32 `[batch, cols]`, and its output `y`, f32 `[batch, rows]`. A
    /// batch of one row uses the kernels for one row.
    ///
    /// # Errors
    /// If the adapter cannot bind the codes or the accumulators.
    ///
    /// # Panics
    /// If `x` or `y` has another type or shape. The message names the tensor.
    pub fn ternary(gpu: &Gpu, weights: &PackedTensor, x: &Tensor, y: &Tensor) -> Result<Linear, Error> {
        let batch = x.shape().first().copied().unwrap_or(0);
        // The kernels' own checks count words, so they would not notice a width that differs within a word.
        for (tensor, shape) in [(x, [batch, weights.cols]), (y, [batch, weights.rows()])] {
            assert!(
                tensor.dtype() == F32 && tensor.shape() == shape,
                "Linear::ternary: {} is {:?} {:?}, expected F32 {shape:?}",
                tensor.label(),
                tensor.dtype(),
                tensor.shape(),
            );
        }
        let codes = Int8Tensor::zeros(gpu, x.label(), batch, weights.cols)?;
        let acc = gpu.zeros(&format!("{}.acc", y.label()), I32, &[batch, weights.rows()])?;
        let product = if batch == 1 { kernels::gemv_ternary } else { kernels::matmul_ternary };
        let ops = [
            kernels::quantize_activations(gpu, x, &codes),
            product(gpu, &codes, weights, &acc),
            kernels::descale_rows(gpu, &acc, &codes.scale, &weights.beta, y),
        ];
        Ok(Linear { ops, codes, acc })
    }

    /// The ops of the layer: quantise, multiply, scale. Record or run them after each change of `x`.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
}
