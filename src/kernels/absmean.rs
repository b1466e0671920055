//! The scales of ternary tensors. Shader: `shaders/train/absmean.wgsl`.

use super::expect;
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, PART, Tensor, params};
use crate::ternary::{self, BLOCK, LEAST, mean_factor};

params! { matrices: u32, least: f32 }

pub static KERNEL: Kernel = Kernel::new::<Params>(
    "absmean",
    concat!(
        include_str!("../../shaders/train/absmean.wgsl"),
        include_str!("../../shaders/snippets/block_sum.wgsl"),
        include_str!("../../shaders/snippets/grid.wgsl"),
    ),
);

/// Sums of a matrix that the shader's one workgroup takes in: a level of 1024 sums of 1024.
const MOST_BLOCKS: usize = BLOCK * BLOCK;

/// Matrices one after another in one tensor, so that one dispatch serves all of them: where each lies, for host
/// and shader.
///
/// Weights begin at multiples of 1024, so that a block of [`abs_sums`](super::abs_sums) is of one matrix, and
/// packed words at multiples of 64; what lies between is zero. Betas stand 64 apart. Hence each is a
/// [`Tensor::part`].
#[derive(Clone, Debug)]
pub struct Stack {
    places: Vec<Place>,
    /// `u32 [matrices, 8]`: first weight, first word, rows, cols; words of a row, first block, blocks, and the
    /// bits of `1 / n`.
    table: Tensor,
}

/// Where a matrix of a [`Stack`] lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Outputs of the matrix.
    pub rows: usize,
    /// Its inputs.
    pub cols: usize,
    /// Its first weight.
    pub weight: usize,
    /// Its first packed word.
    pub word: usize,
    /// Its beta.
    pub beta: usize,
}

impl Place {
    fn blocks(&self) -> usize {
        (self.rows * self.cols).div_ceil(BLOCK)
    }

    fn words(&self) -> usize {
        self.rows * ternary::words(self.cols)
    }

    fn row(&self) -> [u32; 8] {
        let &Place { rows, cols, weight, word, .. } = self;
        let numbers = [weight, word, rows, cols, ternary::words(cols), weight / BLOCK, self.blocks()];
        let [a, b, c, d, e, f, g] = numbers.map(|n| n as u32);
        [a, b, c, d, e, f, g, mean_factor(rows * cols).to_bits()]
    }
}

impl Stack {
    /// Matrices of these `[rows, cols]`, in this order.
    ///
    /// # Errors
    /// If the adapter cannot bind the table.
    ///
    /// # Panics
    /// If there is none, one is empty, or one has more than 2^30 weights.
    pub fn new(gpu: &Gpu, label: &str, shapes: &[[usize; 2]]) -> Result<Stack, Error> {
        assert!(!shapes.is_empty(), "Stack {label}: no matrix");
        let mut places: Vec<Place> = Vec::new();
        for &[rows, cols] in shapes {
            let before = places.last();
            let place = Place {
                rows,
                cols,
                weight: before.map_or(0, |p| p.weight + p.blocks() * BLOCK),
                word: before.map_or(0, |p| (p.word + p.words()).next_multiple_of(PART)),
                beta: PART * places.len(),
            };
            let blocks = place.blocks();
            assert!((1..=MOST_BLOCKS).contains(&blocks), "Stack {label}: a matrix of {rows} x {cols}");
            places.push(place);
        }
        let rows: Vec<u32> = places.iter().flat_map(Place::row).collect();
        let table = gpu.upload(&format!("{label}.table"), &[places.len(), 8], &rows)?;
        Ok(Stack { places, table })
    }

    /// Where each matrix lies.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    fn last(&self) -> &Place {
        self.places.last().expect("a stack has a matrix")
    }

    /// Weights to the end of the last block.
    pub fn values(&self) -> usize {
        self.last().weight + self.last().blocks() * BLOCK
    }

    /// Packed words to the end of the last matrix.
    pub fn words(&self) -> usize {
        self.last().word + self.last().words()
    }

    /// Betas to the last matrix's.
    pub fn betas(&self) -> usize {
        self.last().beta + 1
    }

    /// For shaders.
    pub(super) fn table(&self) -> &Tensor {
        &self.table
    }
}

/// `beta[m] <- max(mean |W_m|, 1e-5)` for every matrix of the stack, from the sums of its blocks.
pub fn absmean(gpu: &Gpu, stack: &Stack, sums: &Tensor, beta: &Tensor) -> Op {
    let (matrices, blocks) = (stack.places().len(), stack.values() / BLOCK);
    assert!(sums.len() >= blocks, "absmean: {} sums, expected {blocks}", sums.len());
    expect("absmean", sums, F32, sums.shape());
    expect("absmean", beta, F32, &[stack.betas()]);
    let params = Params { matrices: matrices as u32, least: LEAST };
    let cost = Cost { bytes: 4 * blocks as u64 + 36 * matrices as u64, ops: (blocks + matrices) as u64 };
    gpu.op(&KERNEL, params, &[stack.table(), sums, beta], Grid::Groups(matrices), cost)
}
