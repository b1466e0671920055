//! A matrix with a row for each token: the embedding of a network, and its head, which is usually the embedding. In training
//! it is a parameter. For inference it may be stored as f16 or int8, and it may consist of several tensors, because an
//! adapter binds only so many bytes at once.

#[cfg(feature = "files")]
use crate::gpu::{Dtype::*, Error};
use crate::gpu::{Gpu, Op, Tensor};
use crate::kernels;
#[cfg(feature = "files")]
use crate::store::Floats;

/// The rows of all tokens, in pieces.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pieces: Vec<Piece>,
}

/// The rows of the ids from `first` on.
#[derive(Clone, Debug)]
struct Piece {
    first: usize,
    rows: Rows,
}

#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "files"), allow(dead_code))] // only a network from a file has the other forms
enum Rows {
    F32(Tensor),
    F16(Tensor),
    /// The codes, and the real value of one step of each row.
    Int8(Tensor, Tensor),
}

impl Table {
    /// The table of a parameter.
    pub(super) fn of(embedding: &Tensor) -> Table {
        Table { pieces: vec![Piece { first: 0, rows: Rows::F32(embedding.clone()) }] }
    }

    /// `h[tokens, width] <- e[ids[tokens], width]`. Each piece writes the rows of its own ids.
    pub(super) fn gather(&self, gpu: &Gpu, ids: &Tensor, h: &Tensor) -> Vec<Op> {
        let gather = |&Piece { first, ref rows }: &Piece| match rows {
            Rows::F32(e) => kernels::embed_gather_from(gpu, ids, e, first, h),
            Rows::F16(e) => kernels::embed_gather_f16(gpu, ids, e, first, h),
            Rows::Int8(e, scale) => kernels::embed_gather_int8(gpu, ids, e, scale, first, h),
        };
        self.pieces.iter().map(gather).collect()
    }

    /// `logits[n, vocabulary] <- x[n, width] e[vocabulary, width]^T`. Each piece writes the columns of its own ids.
    pub(super) fn head(&self, gpu: &Gpu, x: &Tensor, logits: &Tensor) -> Vec<Op> {
        if let [Piece { rows: Rows::F32(e), .. }] = &self.pieces[..] {
            return vec![kernels::matmul_f32(gpu, x, e, logits)];
        }
        let head = |&Piece { first, ref rows }: &Piece| match rows {
            Rows::F32(e) => kernels::head_f32(gpu, x, e, first, logits),
            Rows::F16(e) => kernels::head_f16(gpu, x, e, first, logits),
            Rows::Int8(e, scale) => kernels::head_int8(gpu, x, e, scale, first, logits),
        };
        self.pieces.iter().map(head).collect()
    }
}

/// Rows that are converted and written at once. Every format begins them at a place where a part of a tensor may begin.
#[cfg(feature = "files")]
const ROWS: usize = 256;

#[cfg(feature = "files")]
impl Table {
    /// A table of zeros in as few pieces as the adapter can bind.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub(super) fn zeros(gpu: &Gpu, [vocabulary, width]: [usize; 2], format: Floats) -> Result<Table, Error> {
        let words = match format {
            Floats::F32 => width,
            Floats::F16 => width / 2,
            Floats::Int8 => width / 4,
        };
        let rows = |pieces: usize| vocabulary.div_ceil(pieces).next_multiple_of(ROWS).min(vocabulary);
        let fits = |pieces: &usize| gpu.fits("embedding", &[rows(*pieces), words]).is_ok();
        let rows = rows((1..=vocabulary.div_ceil(ROWS)).find(fits).unwrap_or(1));
        let piece = |first: usize| {
            let rows = rows.min(vocabulary - first);
            let zeros = |dtype| gpu.zeros(&format!("embedding.{first}"), dtype, &[rows, words]);
            let rows = match format {
                Floats::F32 => Rows::F32(zeros(F32)?),
                Floats::F16 => Rows::F16(zeros(U32)?),
                Floats::Int8 => {
                    Rows::Int8(zeros(U32)?, gpu.zeros(&format!("embedding.{first}.scale"), F32, &[rows])?)
                }
            };
            Ok(Piece { first, rows })
        };
        Ok(Table { pieces: (0..vocabulary).step_by(rows).map(piece).collect::<Result<_, Error>>()? })
    }

    /// Fills the table. `read` returns some rows of it, and `write` is called after each tensor was written to, with the
    /// number of bytes.
    ///
    /// # Errors
    /// The errors of `read` and `write`.
    pub(super) fn fill<E>(
        &self,
        gpu: &Gpu,
        width: usize,
        mut read: impl FnMut(std::ops::Range<usize>) -> Result<Vec<f32>, E>,
        mut written: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        for Piece { first, rows } in &self.pieces {
            let (Rows::F32(e) | Rows::F16(e) | Rows::Int8(e, _)) = rows;
            let &[count, words] = e.shape() else { unreachable!("a piece is a matrix") };
            for at in (0..count).step_by(ROWS) {
                let here = ROWS.min(count - at);
                let values = read(first + at..first + at + here)?;
                let part = e.part("rows", at * words, &[here, words]);
                match rows {
                    Rows::F32(_) => gpu.write(&part, &values),
                    Rows::F16(_) => gpu.write(&part, &kernels::f16_words(&values, width)),
                    Rows::Int8(_, scale) => {
                        let (codes, scales) = kernels::int8_words(&values, width);
                        gpu.write(&part, &codes);
                        gpu.write(&scale.part("scales", at, &[here]), &scales);
                    }
                }
                written(part.bytes() as usize)?;
            }
        }
        Ok(())
    }
}
