//! Conversion of floats to trits and int8, and of trits to floats. Shaders: `shaders/train`.

use super::{Int8Tensor, PackedTensor, expect, for_columns, matrix};
use crate::gpu::{Cost, Dtype::*, Error, Gpu, Grid, Kernel, Op, PART, Tensor, params};
use crate::ternary::{self, BLOCK, LEAST, mean_factor};

// --- abs_sums -------------------------------------------------------------------------------------

params! { struct SumsParams { count: u32 } }

pub static ABS_SUMS: Kernel =
    Kernel::new::<SumsParams>("abs_sums", text!("train/abs_sums", "snippets/block_sum", "snippets/entry"));

/// `sums[k] <- sum |w[i]|` over block `k` of 1024 values. The optimizers also write these sums for the values that
/// they update.
pub fn abs_sums(gpu: &Gpu, w: &Tensor, sums: &Tensor) -> Op {
    assert!(!w.is_empty(), "abs_sums: {} is empty", w.label());
    let blocks = w.len().div_ceil(BLOCK);
    expect("abs_sums", w, F32, w.shape());
    expect("abs_sums", sums, F32, &[blocks]);
    let cost = Cost { bytes: w.bytes() + sums.bytes(), ops: 2 * w.len() as u64 };
    gpu.op(&ABS_SUMS, SumsParams { count: w.len() as u32 }, &[w, sums], Grid::Groups(blocks), cost)
}

// --- absmean --------------------------------------------------------------------------------------

params! { struct MeanParams { matrices: u32, least: f32 } }

pub static ABSMEAN: Kernel =
    Kernel::new::<MeanParams>("absmean", text!("train/absmean", "snippets/block_sum", "snippets/entry"));

/// The largest number of sums that the single workgroup of the shader can add: 1024 sums of 1024 blocks.
const MOST_BLOCKS: usize = BLOCK * BLOCK;

/// Several matrices, one after another in one tensor, so that one dispatch serves all of them. Host and shader find
/// the place of each matrix here.
///
/// The weights of a matrix begin at a multiple of 1024, so that each block of [`abs_sums`](super::abs_sums) belongs
/// to one matrix. The packed words begin at a multiple of 64, and the betas are 64 apart. Gaps are zero. So each
/// matrix is a [`Tensor::part`].
#[derive(Clone, Debug)]
pub struct Stack {
    places: Vec<Place>,
    /// `u32 [matrices, 8]`: first weight, first word, rows, cols, words per row, first block, number of blocks, and
    /// the bits of the f32 `1 / n`.
    table: Tensor,
}

/// The place of one matrix in a [`Stack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of outputs of the matrix.
    pub rows: usize,
    /// Number of inputs of the matrix.
    pub cols: usize,
    /// Index of its first weight.
    pub weight: usize,
    /// Index of its first packed word.
    pub word: usize,
    /// Index of its beta.
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
    /// A stack of matrices of these `[rows, cols]`, in this order.
    ///
    /// # Errors
    /// If the adapter cannot bind the table.
    ///
    /// # Panics
    /// If the list is empty, if a matrix is empty, or if one has more than 2^30 weights.
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

    /// The place of each matrix.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    fn last(&self) -> &Place {
        self.places.last().expect("a stack has a matrix")
    }

    /// Number of weights up to the end of the last block.
    pub fn values(&self) -> usize {
        self.last().weight + self.last().blocks() * BLOCK
    }

    /// Number of packed words up to the end of the last matrix.
    pub fn words(&self) -> usize {
        self.last().word + self.last().words()
    }

    /// Number of values up to the beta of the last matrix.
    pub fn betas(&self) -> usize {
        self.last().beta + 1
    }

    /// The table for the shaders.
    pub(super) fn table(&self) -> &Tensor {
        &self.table
    }
}

/// `beta[m] <- max(mean |W_m|, 1e-5)` for every matrix of the stack. `sums` is the output of
/// [`abs_sums`](super::abs_sums).
pub fn absmean(gpu: &Gpu, stack: &Stack, sums: &Tensor, beta: &Tensor) -> Op {
    let (matrices, blocks) = (stack.places().len(), stack.values() / BLOCK);
    assert!(sums.len() >= blocks, "absmean: {} sums, expected {blocks}", sums.len());
    expect("absmean", sums, F32, sums.shape());
    expect("absmean", beta, F32, &[stack.betas()]);
    let params = MeanParams { matrices: matrices as u32, least: LEAST };
    let cost = Cost { bytes: 4 * blocks as u64 + 36 * matrices as u64, ops: (blocks + matrices) as u64 };
    gpu.op(&ABSMEAN, params, &[stack.table(), sums, beta], Grid::Groups(matrices), cost)
}

// --- quantize_weights -----------------------------------------------------------------------------

params! { struct WeightsParams { matrices: u32 } }

const ANY_QUANTIZE_WEIGHTS: Kernel =
    Kernel::new::<WeightsParams>("quantize_weights", text!("train/quantize_weights", "snippets/entry"));

/// One variant for any rows, and one for rows that start at multiples of four elements.
pub static QUANTIZE_WEIGHTS: &[&Kernel] = &[
    &ANY_QUANTIZE_WEIGHTS,
    &ANY_QUANTIZE_WEIGHTS.with(&[("WG", 64.0), ("WHOLE", 1.0)], &[("WG", 8.0), ("WHOLE", 1.0)]),
];

/// `T[rows, cols] <- clamp(round(w / beta), -1, 1)`, packed, for every matrix of the stack.
pub fn quantize_weights(gpu: &Gpu, stack: &Stack, w: &Tensor, beta: &Tensor, packed: &Tensor) -> Op {
    let last = stack.places().last().expect("a stack has a matrix");
    let end = last.weight + last.rows * last.cols;
    assert!(w.len() >= end, "quantize_weights: {} weights, expected {end}", w.len());
    expect("quantize_weights", w, F32, w.shape());
    expect("quantize_weights", beta, F32, &[stack.betas()]);
    assert_eq!(packed.len(), stack.words(), "quantize_weights: the words of {}", packed.label());
    expect("quantize_weights", packed, U32, packed.shape());
    let weights: usize = stack.places().iter().map(|place| place.rows * place.cols).sum();
    let params = WeightsParams { matrices: stack.places().len() as u32 };
    let cost = Cost {
        bytes: 4 * (weights + params.matrices as usize) as u64 + packed.bytes(),
        ops: 2 * weights as u64,
    };
    let kernel =
        QUANTIZE_WEIGHTS[usize::from(stack.places().iter().all(|place| place.cols.is_multiple_of(4)))];
    gpu.op(kernel, params, &[stack.table(), w, beta, packed], Grid::Each(stack.words()), cost)
}

/// Quantises one matrix: `packed <- ternary(w)` with its beta. [`Stack`] serves many matrices.
///
/// # Errors
/// If the adapter cannot bind the sums.
pub fn quantize(gpu: &Gpu, w: &Tensor, packed: &PackedTensor) -> Result<[Op; 3], Error> {
    let [rows, cols] = matrix("quantize", w);
    let stack = Stack::new(gpu, w.label(), &[[rows, cols]])?;
    let sums = gpu.zeros(&format!("{}.sums", w.label()), F32, &[w.len().div_ceil(BLOCK)])?;
    Ok([
        abs_sums(gpu, w, &sums),
        absmean(gpu, &stack, &sums, &packed.beta),
        quantize_weights(gpu, &stack, w, &packed.beta, &packed.words),
    ])
}

// --- dequantize_weights ---------------------------------------------------------------------------

params! { struct DequantizeParams { count: u32, cols: u32, words: u32 } }

pub static DEQUANTIZE_WEIGHTS: Kernel = Kernel::new::<DequantizeParams>(
    "dequantize_weights",
    text!("train/dequantize_weights", "snippets/ternary", "snippets/entry"),
);

/// `w[rows, cols] <- beta T[rows, cols]`.
pub fn dequantize_weights(gpu: &Gpu, from: &PackedTensor, w: &Tensor) -> Op {
    let (rows, cols, words) = (from.rows(), from.cols, ternary::words(from.cols));
    expect("dequantize_weights", &from.words, U32, &[rows, words]);
    expect("dequantize_weights", &from.beta, F32, &[1]);
    expect("dequantize_weights", w, F32, &[rows, cols]);
    let params = DequantizeParams { count: from.words.len() as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost { bytes: from.words.bytes() + 4 + w.bytes(), ops: w.len() as u64 };
    gpu.op(&DEQUANTIZE_WEIGHTS, params, &[&from.words, &from.beta, w], Grid::Each(from.words.len()), cost)
}

// --- quantize_activations -------------------------------------------------------------------------

params! { struct ActivationsParams { batch: u32, cols: u32, words: u32 } }

const ANY_QUANTIZE_ACTIVATIONS: Kernel = Kernel::new::<ActivationsParams>(
    "quantize_activations",
    text!(
        "train/quantize_activations",
        "snippets/row_f32",
        "snippets/quantize_row",
        "snippets/int8",
        "snippets/entry"
    ),
);

/// One variant for any rows, and one for rows that start at multiples of four elements.
pub static QUANTIZE_ACTIVATIONS: &[&Kernel] =
    &[&ANY_QUANTIZE_ACTIVATIONS.rowwise(), &ANY_QUANTIZE_ACTIVATIONS.whole_rowwise()];

/// `s = 127 / max(max |x[b, :]|, 1e-5)`, `q[batch, cols] <- clamp(round(x s), -128, 127)`. It also writes the sum of
/// `q` for each row.
pub fn quantize_activations(gpu: &Gpu, x: &Tensor, out: &Int8Tensor) -> Op {
    let [batch, cols] = matrix("quantize_activations", x);
    let words = ternary::words(cols);
    expect("quantize_activations", x, F32, &[batch, cols]);
    out.expect("quantize_activations", batch, cols);
    let params = ActivationsParams { batch: batch as u32, cols: cols as u32, words: words as u32 };
    let cost = Cost { bytes: x.bytes() + out.q.bytes() + 8 * batch as u64, ops: 4 * (batch * cols) as u64 };
    let kernel = for_columns(QUANTIZE_ACTIVATIONS, cols);
    gpu.op(kernel, params, &[x, &out.q, &out.scale, &out.sum], Grid::Groups(batch), cost)
}
