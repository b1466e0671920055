//! The MLP over images of digits, layer by layer.

use super::norm::{Factors, rmsnorm, rmsnorm_quantize};
use super::quantize::Int8;
use super::{matmul_f32, matmul_ternary, relu};
use crate::ternary::Packed;

/// The values of one layer for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The input codes, `[batch, cols]`.
    pub codes: Int8,
    /// The real values of units of codes and accumulators.
    pub factors: Factors,
    /// The accumulators, `[batch, rows]`.
    pub acc: Vec<i32>,
}

/// A ternary MLP over images with pixels 0 to 255, layer by layer. The float factors and the epsilon do not affect
/// the integers.
///
/// # Panics
/// If the shapes do not chain.
pub fn mlp(packed: &[Packed], gains: &[Vec<f32>], eps: f32, images: &[u8]) -> Vec<Layer> {
    let pixels = packed[0].cols;
    assert!(images.len().is_multiple_of(pixels), "mlp: {} pixels in images of {pixels}", images.len());
    let mut x: Vec<i32> = images.iter().map(|&pixel| i32::from(pixel)).collect();
    let mut r = vec![1.0 / 255.0; images.len() / pixels];
    let layer = |(packed, gain): (&Packed, &Vec<f32>)| {
        assert_eq!(gain.len(), packed.cols, "mlp: gains of a layer");
        let (codes, factors) = rmsnorm_quantize(&x, &r, gain, packed.scale, eps);
        let acc = matmul_ternary(&codes.q, packed);
        (x, r) = (acc.clone(), factors.y_scale.clone());
        Layer { codes, factors, acc }
    };
    packed.iter().zip(gains).map(layer).collect()
}

/// The float twin of [`mlp`]. For each layer it returns RMSNorm's output `[batch, cols]`, and its product with the
/// matrix `[rows, cols]`, which is `[batch, rows]`.
///
/// # Panics
/// If the shapes do not chain.
pub fn mlp_f32(
    weights: &[Vec<f32>],
    gains: &[Vec<f32>],
    eps: f32,
    images: &[u8],
) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut x: Vec<f32> = images.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let layer = |(weights, gain): (&Vec<f32>, &Vec<f32>)| {
        let (n, _) = rmsnorm(&x, gain, eps);
        let y = matmul_f32(&n, weights, gain.len());
        x = relu(&y);
        (n, y)
    };
    weights.iter().zip(gains).map(layer).collect()
}
