//! Gradients as fixed-point integers, whose sum does not depend on the order of the terms. Shaders: `shaders/train`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, PART, Tensor, params};

/// Asserts the shapes that the three kernels have in common.
fn common(kernel: &str, owners: &Tensor, exponents: &Tensor, g: &Tensor) {
    expect(kernel, owners, U32, &[g.len().div_ceil(PART)]);
    expect(kernel, exponents, I32, &[exponents.len()]);
    expect(kernel, g, F32, &[g.len()]);
}

params! { struct ShareParams { count: u32, share: f32 } }

// --- gradient_exponents ---------------------------------------------------------------------------

pub static GRADIENT_EXPONENTS: Kernel = Kernel::new::<ShareParams>(
    "gradient_exponents",
    text!("train/gradient_exponents", "snippets/shares", "snippets/entry"),
)
.tiled([4, 1]);

/// `exponents[k] <- max(exponents[k], exponent of share g[i])` over the values of parameter `k`. `owners[j]` is the number
/// of the parameter that the values `64 j` to `64 j + 63` of `g[count]` belong to. An exponent is that of the bits of a
/// float: 0 for zero, 255 for infinity and NaN.
pub fn gradient_exponents(gpu: &Gpu, owners: &Tensor, g: &Tensor, share: f32, exponents: &Tensor) -> Op {
    common("gradient_exponents", owners, exponents, g);
    let cost = Cost { bytes: g.bytes() + owners.bytes() + exponents.bytes(), ops: 2 * g.len() as u64 };
    let params = ShareParams { count: g.len() as u32, share };
    gpu.op(&GRADIENT_EXPONENTS, params, &[owners, g, exponents], Grid::Each(g.len()), cost)
}

// --- gradient_to_fixed ----------------------------------------------------------------------------

pub static GRADIENT_TO_FIXED: Kernel = Kernel::new::<ShareParams>(
    "gradient_to_fixed",
    text!("train/gradient_to_fixed", "snippets/shares", "snippets/entry"),
)
.tiled([4, 1]);

/// The largest number of terms whose sum fits into 31 bits. A term has at most 24 bits.
pub const MOST_TERMS: usize = 64;

/// `sums[i] <- sums[i] + round(share g[i] 2^(150 - e))` with `e = max(24, exponents[k])` of the parameter `k` of the value.
/// Values whose exponent is larger than `e`, and values that are not finite, become `2^24` with their sign. `saturated[1]`
/// counts them.
pub fn gradient_to_fixed(
    gpu: &Gpu,
    owners: &Tensor,
    exponents: &Tensor,
    g: &Tensor,
    share: f32,
    sums: &Tensor,
    saturated: &Tensor,
) -> Op {
    common("gradient_to_fixed", owners, exponents, g);
    expect("gradient_to_fixed", sums, I32, &[g.len()]);
    expect("gradient_to_fixed", saturated, U32, &[1]);
    let bytes = 3 * g.bytes() + owners.bytes() + exponents.bytes() + 4;
    let params = ShareParams { count: g.len() as u32, share };
    let tensors = [owners, exponents, g, sums, saturated];
    gpu.op(&GRADIENT_TO_FIXED, params, &tensors, Grid::Each(g.len()), Cost { bytes, ops: 4 * g.len() as u64 })
}

// --- gradient_from_fixed --------------------------------------------------------------------------

params! { struct CountParams { count: u32 } }

pub static GRADIENT_FROM_FIXED: Kernel =
    Kernel::new::<CountParams>("gradient_from_fixed", text!("train/gradient_from_fixed", "snippets/entry"))
        .tiled([4, 1]);

/// `g[i] <- sums[i] 2^(e - 150)` with `e = max(24, exponents[k])` of the parameter `k` of the value, or NaN if the exponent
/// is 255.
pub fn gradient_from_fixed(gpu: &Gpu, owners: &Tensor, exponents: &Tensor, sums: &Tensor, g: &Tensor) -> Op {
    common("gradient_from_fixed", owners, exponents, g);
    expect("gradient_from_fixed", sums, I32, &[g.len()]);
    let cost = Cost { bytes: 2 * g.bytes() + owners.bytes() + exponents.bytes(), ops: 2 * g.len() as u64 };
    let params = CountParams { count: g.len() as u32 };
    gpu.op(&GRADIENT_FROM_FIXED, params, &[owners, exponents, sums, g], Grid::Each(g.len()), cost)
}
