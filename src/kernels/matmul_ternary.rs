//! Int8 activations times packed trits. Shaders: `shaders/matmul_ternary*.wgsl`, the base and `_large` for GPUs,
//! two register tiles for software rasterisers; `_small` and `_small_broadcast` for a few rows of activations.

use super::{Int8Tensor, PackedTensor, chosen, expect, preferred};
use crate::gpu::{Cost, Dtype::*, Gpu, Grid, Kernel, Op, Overrides, Tensor, Tuning, params, value};
use crate::ternary;

params! { batch: u32, rows: u32, words: u32 }

const fn base() -> Kernel {
    Kernel::new::<Params>(
        "matmul_ternary",
        concat!(
            include_str!("../../shaders/matmul_ternary.wgsl"),
            include_str!("../../shaders/ternary.wgsl")
        ),
    )
    .tiled([4, 4])
}

const fn large() -> Kernel {
    Kernel::new::<Params>(
        "matmul_ternary_large",
        concat!(
            include_str!("../../shaders/matmul_ternary_large.wgsl"),
            include_str!("../../shaders/ternary.wgsl")
        ),
    )
    .tiled([8, 8])
}

/// For batches of a few rows, of which `COLUMNS` share one unpacking of the weights.
const fn small(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>(
        "matmul_ternary_small",
        concat!(
            include_str!("../../shaders/matmul_ternary_small.wgsl"),
            include_str!("../../shaders/ternary.wgsl"),
            include_str!("../../shaders/grid.wgsl"),
        ),
    )
    .tiled([1, 4])
    .with(overrides, overrides)
}

/// The same for software rasterisers.
const fn small_broadcast(overrides: Overrides) -> Kernel {
    Kernel::new::<Params>(
        "matmul_ternary_small_broadcast",
        concat!(
            include_str!("../../shaders/matmul_ternary_small_broadcast.wgsl"),
            include_str!("../../shaders/ternary_pairs.wgsl"),
            include_str!("../../shaders/grid.wgsl"),
        ),
    )
    .tiled([4, 1])
    .subgroup(8)
    .with(overrides, overrides)
}

static SMALL_BROADCAST: [&Kernel; 3] = [
    &small_broadcast(&[("WG", 8.0), ("COLUMNS", 2.0)]),
    &small_broadcast(&[("WG", 8.0), ("COLUMNS", 4.0)]),
    &small_broadcast(&[("WG", 8.0), ("COLUMNS", 8.0)]),
];

pub static VARIANTS: &[&Kernel] = &[
    &base()
        .with(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 4.0)], &[("WG", 8.0), ("WG_Y", 1.0), ("DEPTH", 2.0)]),
    &base().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 8.0)]),
    &large().overridden(&[("WG", 16.0), ("WG_Y", 16.0), ("DEPTH", 2.0)]),
    &large().overridden(&[("WG", 8.0), ("WG_Y", 8.0), ("DEPTH", 4.0)]),
    &small(&[("WG", 64.0), ("COLUMNS", 2.0)]),
    &small(&[("WG", 64.0), ("COLUMNS", 4.0)]),
    &small(&[("WG", 64.0), ("COLUMNS", 8.0)]),
    &small(&[("WG", 64.0), ("COLUMNS", 16.0)]),
    &Kernel::new::<Params>(
        "matmul_ternary_wide",
        concat!(
            include_str!("../../shaders/matmul_ternary_wide.wgsl"),
            include_str!("../../shaders/ternary.wgsl")
        ),
    )
    .tiled([4, 4]),
    SMALL_BROADCAST[0],
    SMALL_BROADCAST[1],
    SMALL_BROADCAST[2],
    &Kernel::new::<Params>(
        "matmul_ternary_subgroup",
        concat!(
            include_str!("../../shaders/matmul_ternary_subgroup.wgsl"),
            include_str!("../../shaders/ternary.wgsl"),
        ),
    )
    .tiled([8, 8])
    .subgroup(8),
];

/// Columns up to which accumulators stay exact as f32: 127 * cols < 2^24.
pub const MOST_COLS: usize = 132_104;

/// Rows of activations up to which the batch counts as small.
const MOST_SMALL: usize = 16;

/// The variant for a batch of so many rows. On a software rasteriser the columns that just hold it were measured fastest;
/// a GPU's are not measured.
pub(super) fn default(gpu: &Gpu, batch: usize) -> &'static Kernel {
    let mut small = SMALL_BROADCAST.iter().filter(|kernel| {
        let columns = value(kernel.overrides(gpu.tuning()), "COLUMNS").expect("a variant sets it");
        gpu.tuning() == Tuning::Software && gpu.supports(kernel) && (batch <= columns || columns == 8)
    });
    match small.next() {
        Some(kernel) if batch <= MOST_SMALL => kernel,
        _ => preferred(gpu, VARIANTS),
    }
}

/// `acc[batch, rows] <- sum_k T[rows, k] q[batch, k]`, in i32.
pub fn matmul_ternary(gpu: &Gpu, x: &Int8Tensor, w: &PackedTensor, acc: &Tensor) -> Op {
    let shape = [x.sum.len(), w.rows(), w.cols];
    matmul_ternary_variant(gpu, chosen(gpu, "matmul_ternary", shape), x, w, acc)
}

/// [`matmul_ternary`] by a variant of one's choice.
pub fn matmul_ternary_variant(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &Int8Tensor,
    w: &PackedTensor,
    acc: &Tensor,
) -> Op {
    let (batch, rows, words) = (x.sum.len(), w.rows(), ternary::words(w.cols));
    assert!(w.cols <= MOST_COLS, "matmul_ternary: {} columns exceed {MOST_COLS}", w.cols);
    expect("matmul_ternary", &w.words, U32, &[rows, words]);
    expect("matmul_ternary", &x.q, U32, &[batch, 4 * words]);
    expect("matmul_ternary", &x.sum, I32, &[batch]);
    expect("matmul_ternary", acc, I32, &[batch, rows]);
    let params = Params { batch: batch as u32, rows: rows as u32, words: words as u32 };
    let cost = Cost {
        bytes: w.words.bytes() + x.q.bytes() + x.sum.bytes() + acc.bytes(),
        ops: 2 * (batch * rows * w.cols) as u64,
    };
    let set = |name| value(kernel.overrides(gpu.tuning()), name);
    let grid = match set("COLUMNS") {
        None => Grid::Plane(rows, batch),
        Some(columns) => {
            let rows_per_group = match kernel.tile {
                [each, 1] => each as usize * set("WG").expect("every variant sets it"),
                [_, shared] => shared as usize,
            };
            Grid::Groups(rows.div_ceil(rows_per_group) * batch.div_ceil(columns))
        }
    };
    gpu.op(kernel, params, &[&w.words, &x.q, &x.sum, acc], grid, cost)
}
