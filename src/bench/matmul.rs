//! A matrix times a batch of activations: what a training step and a prompt cost.

use super::gemv::{Row, Skipped, Twin, compare, draws, padded_words, uniform};
use super::pool::MOST_BUFFERS;
use super::sample::sample;
use super::tune::Trial;
use super::{Failure, Room, overrides};
use crate::gpu::{Dtype, Gpu, Kernel, Op, Tensor};
use crate::kernels::{self, Int8Tensor, PackedTensor};
use crate::reference;
use crate::ternary::{self, Packed};

/// `[batch, rows, cols]` that are measured if nothing else is asked for: MNIST's layers in training, a batch
/// as large as the matrix, and on a GPU what only that is fast enough for.
pub fn default_shapes(gpu: &Gpu) -> Vec<[usize; 3]> {
    let mut shapes = vec![[128, 256, 784], [128, 128, 256], [128, 10, 128], [1024, 512, 1024]];
    if !gpu.is_software() {
        shapes.push([4096, 4096, 4096]);
    }
    shapes
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Matmul {
    /// `[batch, rows, cols]` each.
    pub shapes: Vec<[usize; 3]>,
    /// About as long for each kernel at each shape.
    pub seconds: f64,
    /// Every variant that runs here, not only the one that this device would choose.
    pub all: bool,
    /// How much memory to use.
    pub room: Room,
}

/// Measures the dense products and the ternary one at every shape; rows come in the order of the shapes.
///
/// # Errors
/// If the device failed, or a kernel differs from its twin.
pub fn matmul(
    gpu: &Gpu,
    what: &Matmul,
    progress: &mut dyn FnMut(String),
) -> Result<(Vec<Row>, Vec<Skipped>), Failure> {
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    // A batch does hundreds of operations for each of its bytes: a CPU need not wait for a gigabyte of them.
    let room = match gpu.is_software() {
        true => Room { working_set: what.room.working_set.min(1 << 26), ..what.room },
        false => what.room,
    };
    for &shape in &what.shapes {
        let (first, [batch, outputs, inputs]) = (rows.len(), shape);
        for precision in Precision::ALL {
            let operation = precision.operation();
            let products = match Products::new(gpu, precision, shape, room)? {
                Ok(products) => products,
                Err(reason) => {
                    progress(format!("{operation} {outputs}x{inputs}x{batch} left out: {reason}"));
                    skipped.push(Skipped { operation, shape: [outputs, inputs], batch, reason });
                    continue;
                }
            };
            let chosen = kernels::chosen(gpu, operation, shape);
            for &kernel in kernels::variants(operation) {
                if !(kernel == chosen || what.all && gpu.supports(kernel)) {
                    continue;
                }
                let instances = products.bind(gpu, kernel);
                products.check(gpu, kernel, &instances[0])?;
                let samples = sample(gpu, &instances, what.seconds)?;
                let bytes = instances[0][0].cost().bytes;
                let row = Row {
                    operation,
                    kernel: kernel.name,
                    overrides: overrides(gpu, kernel),
                    shape: [outputs, inputs],
                    batch,
                    bytes,
                    working_set: bytes * instances.len() as u64,
                    blocks: 1,
                    median_seconds: samples.median(),
                    min_seconds: samples.min(),
                    device_median_seconds: samples.device_median(),
                    samples: samples.wall,
                    ops: 2 * (batch * outputs * inputs) as u64,
                    ratio_to_f32: None,
                    ratio_to_f16: None,
                };
                let name = kernel.described(gpu.tuning());
                progress(format!("{name} {outputs}x{inputs}x{batch}: {:.3} ms", 1e3 * row.median_seconds));
                rows.push(row);
            }
        }
        compare(&mut rows[first..], ["matmul_f32", "matmul_f16"]);
    }
    Ok((rows, skipped))
}

/// What the matrix holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    F32,
    F16,
    Ternary,
}

impl Precision {
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::F16, Precision::Ternary];

    pub fn operation(self) -> &'static str {
        match self {
            Precision::F32 => "matmul_f32",
            Precision::F16 => "matmul_f16",
            Precision::Ternary => "matmul_ternary",
        }
    }

    pub fn of(operation: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|precision| precision.operation() == operation)
    }
}

/// A matrix and a batch, on the device as often as the rotation needs.
pub(super) struct Products {
    /// `[batch, rows, cols]`.
    shape: [usize; 3],
    copies: Vec<Operands>,
    twin: Twin,
    /// Rows of activations and of the matrix that were drawn; the others repeat them.
    drawn: [usize; 2],
}

/// One product's inputs.
enum Operands {
    Float { x: Tensor, w: Tensor },
    Ternary(Box<(Int8Tensor, PackedTensor)>),
}

/// Rows that are drawn, primes: two neighbours in a tile are never the same row.
const DRAWN: [usize; 2] = [13, 61];

impl Products {
    /// Fills the device, or says why it does not.
    pub fn new(
        gpu: &Gpu,
        precision: Precision,
        shape: [usize; 3],
        room: Room,
    ) -> Result<Result<Products, String>, Failure> {
        let [batch, rows, cols] = shape;
        let words = ternary::words(cols);
        if cols > kernels::MOST_COLS {
            return Ok(Err(format!("{cols} columns are more than the kernel sums exactly")));
        }
        let (x_words, w_words) = match precision {
            Precision::F32 => (cols, cols),
            Precision::F16 => [4 * kernels::f16_vectors(cols); 2].into(),
            Precision::Ternary => (4 * words, words),
        };
        for (label, shape) in [("x", [batch, x_words]), ("w", [rows, w_words]), ("y", [batch, rows])] {
            if let Err(error) = gpu.fits(label, &shape) {
                return Ok(Err(error.to_string()));
            }
        }
        let bytes = 4 * (batch * x_words + rows * w_words + batch * rows) as u64;
        let memory = room.memory;
        if bytes > memory {
            return Ok(Err(format!("{} MiB, of which {} MiB may be used", bytes >> 20, memory >> 20)));
        }
        let count = room.working_set.div_ceil(bytes).min(memory / bytes).clamp(1, MOST_BUFFERS);
        let drawn = [batch.min(DRAWN[0]), rows.min(DRAWN[1])];
        let mut copies = Vec::new();
        let twin = match precision {
            Precision::F32 | Precision::F16 => {
                let (x, w) = (uniform(0, drawn[0] * cols), uniform(1, drawn[1] * cols));
                let product = |x: &[f32], w: &[f32]| match precision {
                    Precision::F16 => reference::matmul_f16(x, w, cols),
                    _ => reference::matmul_f32(x, w, cols),
                };
                for copy in 0..count {
                    let operand = |name: &str, rows: usize, words: usize, drawn: &[f32]| {
                        let label = format!("{name}.{copy}");
                        match precision {
                            Precision::F16 => {
                                let drawn = kernels::f16_words(drawn, cols);
                                gpu.upload(&label, &[rows, words], &repeated(&drawn, rows * words))
                            }
                            _ => gpu.upload(&label, &[rows, words], &repeated(drawn, rows * words)),
                        }
                    };
                    let (x, w) = (operand("x", batch, x_words, &x)?, operand("w", rows, w_words, &w)?);
                    copies.push(Operands::Float { x, w });
                }
                Twin::float(product, &x, &w, cols)
            }
            Precision::Ternary => {
                let q: Vec<i8> = draws(0, drawn[0] * cols).map(|draw| (draw as i8).max(-127)).collect();
                let trits: Vec<i8> = draws(1, drawn[1] * cols).map(|draw| (draw % 3) as i8 - 1).collect();
                let sums: Vec<i32> =
                    q.chunks_exact(cols).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect();
                let some = Packed::pack(&trits, drawn[1], cols, 1.0);
                let packed = Packed { rows, words: repeated(&some.words, rows * words), ..some.clone() };
                let all_q = repeated(&padded_words(&q, cols), batch * x_words);
                for copy in 0..count {
                    let x = Int8Tensor {
                        q: gpu.upload(&format!("x.{copy}.q"), &[batch, x_words], &all_q)?,
                        scale: gpu.upload("x.scale", &[batch], &vec![1.0f32; batch])?,
                        sum: gpu.upload("x.sum", &[batch], &repeated(&sums, batch))?,
                    };
                    let w = PackedTensor::upload(gpu, &format!("w.{copy}"), &packed)?;
                    copies.push(Operands::Ternary(Box::new((x, w))));
                }
                Twin::Exact(reference::matmul_ternary(&q, &some))
            }
        };
        Ok(Ok(Products { shape, copies, twin, drawn }))
    }
}

/// The rows over and over, until there are so many values.
fn repeated<T: Copy>(rows: &[T], count: usize) -> Vec<T> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend_from_slice(&rows[..rows.len().min(count - all.len())]);
    }
    all
}

impl Trial for Products {
    fn bind(&self, gpu: &Gpu, kernel: &'static Kernel) -> Vec<Vec<Op>> {
        let [batch, rows, _] = self.shape;
        let op = |operands: &Operands| {
            let out = |dtype| gpu.zeros("out", dtype, &[batch, rows]).expect("it was asked whether it fits");
            match operands {
                Operands::Float { x, w } if x.dtype() == Dtype::U32 => {
                    kernels::matmul_f16_variant(gpu, kernel, x, w, &out(Dtype::F32))
                }
                Operands::Float { x, w } => kernels::matmul_f32_variant(gpu, kernel, x, w, &out(Dtype::F32)),
                Operands::Ternary(both) => {
                    kernels::matmul_ternary_variant(gpu, kernel, &both.0, &both.1, &out(Dtype::I32))
                }
            }
        };
        self.copies.iter().map(|operands| vec![op(operands)]).collect()
    }

    fn check(&self, gpu: &Gpu, kernel: &'static Kernel, instance: &[Op]) -> Result<(), Failure> {
        gpu.run(instance)?;
        let [_, rows, cols] = self.shape;
        let out = instance[0].tensors().last().expect("every op writes something");
        let at = |i: usize| i / rows % self.drawn[0] * self.drawn[1] + i % rows % self.drawn[1];
        let wrong = self.twin.first_difference(gpu, out, at)?;
        wrong.map_or(Ok(()), |(i, got, want)| {
            Err(Failure::Wrong { kernel: kernel.name, rows, cols, row: i % rows, got, want })
        })
    }
}
