//! A product of a matrix in some format and rows of activations. It is bound to the device once for each copy of its
//! operands, and its result is compared with its twin.

use super::room::{MOST_BUFFERS, Room};
use super::{MeasureError, Wanted};
use crate::gpu::{Arithmetic, Dtype, Error, Gpu, Kernel, MOST_GROUPS, Op, Tensor};
use crate::kernels::{self, Base3Tensor, BitplaneTensor, Int8Tensor, PackedTensor};
use crate::random::{self, Stream};
use crate::reference;
use crate::ternary::{self, Base3, Bitplanes, Packed};

/// The format of the weights of a product. It also decides the type of the activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// Floats in f32.
    F32,
    /// Floats in f16. Products and sums are f32.
    F16,
    /// Int8 weights, multiplied with int8 activations.
    Int8,
    /// Trits of two bits each, multiplied with int8 activations.
    Ternary,
    /// Trits of two bits each with int8 activations, only by additions and subtractions.
    AddSub,
    /// Trits, five per byte, multiplied with int8 activations.
    Base3,
    /// Trits as bit planes, multiplied with ternary activations.
    Bitplane,
}

/// The formats that benchmarks compare, by decreasing bytes.
pub const WEIGHT_FORMATS: [WeightFormat; 5] =
    [WeightFormat::F32, WeightFormat::F16, WeightFormat::Int8, WeightFormat::Ternary, WeightFormat::Base3];

impl WeightFormat {
    /// All formats.
    pub const ALL: [WeightFormat; 7] = [
        WeightFormat::F32,
        WeightFormat::F16,
        WeightFormat::Int8,
        WeightFormat::Ternary,
        WeightFormat::AddSub,
        WeightFormat::Base3,
        WeightFormat::Bitplane,
    ];

    /// Its name, its product with one row of activations, and its product with several rows, if there is one.
    fn row(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            WeightFormat::F32 => ("f32", "gemv_f32", Some("matmul_f32")),
            WeightFormat::F16 => ("f16", "gemv_f16", Some("matmul_f16")),
            WeightFormat::Int8 => ("int8", "gemv_i8", Some("matmul_i8")),
            WeightFormat::Ternary => ("2-bit", "gemv_ternary", Some("matmul_ternary")),
            WeightFormat::AddSub => ("2-bit, added", "gemv_ternary_addsub", None),
            WeightFormat::Base3 => ("base-3", "gemv_base3", Some("matmul_base3")),
            WeightFormat::Bitplane => ("bit planes", "gemv_bitplane", None),
        }
    }

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The format with this name.
    pub fn named(name: &str) -> Option<WeightFormat> {
        WeightFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of an operation's weights.
    pub(super) fn of(operation: &str) -> Option<WeightFormat> {
        let of =
            |format: &WeightFormat| [1, 2].map(|batch| format.operation(batch)).contains(&Some(operation));
        WeightFormat::ALL.into_iter().find(of)
    }

    /// The operation for this number of rows of activations, if there is one.
    pub fn operation(self, batch: usize) -> Option<&'static str> {
        let (_, single, several) = self.row();
        if batch == 1 { Some(single) } else { several }
    }

    /// The kind of most operations in its products.
    pub fn arithmetic(self) -> Arithmetic {
        kernels::variants(self.row().1)[0].arithmetic
    }

    /// Bytes of a matrix, with rows padded to whole blocks.
    pub fn bytes(self, rows: usize, cols: usize) -> u64 {
        4 * (rows * self.words(cols)) as u64
    }

    /// Bytes of one row of activations and of its outputs. Ternary products also read the sum of the activations.
    pub fn row_bytes(self, rows: usize, cols: usize) -> u64 {
        let sum = usize::from(matches!(self, WeightFormat::Ternary | WeightFormat::Base3));
        4 * (self.activation_words(cols) + sum + rows) as u64
    }

    /// Number of words in a row of activations.
    fn activation_words(self, cols: usize) -> usize {
        match self {
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bitplane => self.words(cols),
            _ => 4 * ternary::words(cols),
        }
    }

    /// Number of words in a row of the matrix.
    fn words(self, cols: usize) -> usize {
        match self {
            WeightFormat::F32 => cols,
            WeightFormat::F16 => 4 * kernels::f16_vectors(cols),
            WeightFormat::Int8 => 4 * ternary::words(cols),
            WeightFormat::Ternary | WeightFormat::AddSub => ternary::words(cols),
            WeightFormat::Base3 => 4 * ternary::base3_vectors(cols),
            WeightFormat::Bitplane => 4 * ternary::bitplane_vectors(cols),
        }
    }
}

/// The result of the twin, `[batch, drawn rows]`.
enum Twin {
    Exact(Vec<i32>),
    /// Floats, each with a bound for sums in another order.
    Within(Vec<(f32, f64)>),
}

impl Twin {
    /// The product in floats, and a bound for sums in another order.
    fn float(product: impl Fn(&[f32], &[f32]) -> Vec<f32>, x: &[f32], w: &[f32], cols: usize) -> Twin {
        let absolute = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
        // Each of the two sums rounds cols times, by half a unit each. The bound is 2 cols 2^-24 times the magnitude
        // of the terms.
        let bound = |m: f32| f64::from(m) * cols as f64 / f64::from(1 << 23);
        let bounds = product(&absolute(x), &absolute(w)).into_iter().map(bound);
        Twin::Within(product(x, w).into_iter().zip(bounds).collect())
    }

    /// The first value of a tensor that differs from its twin: its index, the value, and the expected value. The twin
    /// of value `i` is at `at(i)`.
    fn first_difference(
        &self,
        gpu: &Gpu,
        out: &Tensor,
        at: impl Fn(usize) -> usize,
    ) -> Result<Option<(usize, String, String)>, Error> {
        Ok(match self {
            Twin::Exact(twin) => {
                let got = gpu.download::<i32>(out)?;
                let wrong = (0..got.len()).find(|&i| got[i] != twin[at(i)]);
                wrong.map(|i| (i, got[i].to_string(), twin[at(i)].to_string()))
            }
            Twin::Within(twin) => {
                let got = gpu.download::<f32>(out)?;
                // A NaN is within no bound.
                let fits = |i: usize| (f64::from(got[i]) - f64::from(twin[at(i)].0)).abs() <= twin[at(i)].1;
                let wrong = (0..got.len()).find(|&i| !fits(i));
                wrong.map(|i| (i, got[i].to_string(), twin[at(i)].0.to_string()))
            }
        })
    }
}

/// One product with several copies of its operands. Each matrix is split into blocks of rows that the adapter can
/// bind.
pub(super) struct Product {
    wanted: Wanted,
    copies: Vec<Operands>,
    twin: Twin,
    /// Number of rows of activations and of the matrix that were drawn. The other rows repeat them.
    drawn: [usize; 2],
}

/// The operands of one product.
struct Operands {
    x: Activations,
    blocks: Vec<Tensor>,
}

enum Activations {
    /// Activations as f32, or as words of f16.
    Floats(Tensor),
    Int8(Int8Tensor),
    Trits(BitplaneTensor),
}

/// The largest number of drawn rows of activations. It is prime, so that neighbouring rows in a tile always differ.
const DRAWN: usize = 17;

impl Product {
    /// Creates up to `most` copies of the operands on the device, or returns the reason why it cannot.
    ///
    /// # Errors
    /// If the device failed.
    pub fn new(
        gpu: &Gpu,
        wanted: Wanted,
        room: Room,
        most: u64,
    ) -> Result<Result<Product, String>, MeasureError> {
        let Wanted { operation, shape: [batch, rows, cols] } = wanted;
        let Some(format) = WeightFormat::of(operation).filter(|f| f.operation(batch) == Some(operation))
        else {
            return Ok(Err(format!("{operation} is no product with a batch of {batch}")));
        };
        let most_cols = match format {
            WeightFormat::F32 | WeightFormat::F16 => usize::MAX,
            WeightFormat::Int8 => kernels::MOST_COLS_I8,
            _ => kernels::MOST_COLS,
        };
        if cols > most_cols {
            return Ok(Err(format!("{cols} columns are more than the kernel sums exactly")));
        }
        let (words, x_words) = (format.words(cols), format.activation_words(cols));
        let bytes = 4 * (rows * words + batch * (x_words + rows)) as u64;
        let memory = room.memory;
        if bytes > memory {
            return Ok(Err(format!("{} MiB, of which {} MiB may be used", bytes >> 20, memory >> 20)));
        }
        if batch > MOST_GROUPS {
            return Ok(Err(format!("a batch of {batch} exceeds a grid's {MOST_GROUPS} workgroups")));
        }
        if let Err(error) = gpu.fits("x", &[batch, x_words]) {
            return Ok(Err(error.to_string()));
        }
        let fits =
            |block: usize| gpu.fits("w", &[block, words]).and_then(|()| gpu.fits("y", &[batch, block]));
        // In a batch product a workgroup takes eight rows or more.
        let mut blocks = if batch == 1 { 1 } else { rows.div_ceil(8 * MOST_GROUPS) };
        while let Err(error) = fits(rows.div_ceil(blocks)) {
            if blocks == rows {
                return Ok(Err(error.to_string()));
            }
            blocks += 1;
        }
        let block = rows.div_ceil(blocks);

        let mut drawn = [batch.min(DRAWN), 0];
        // Few enough that the twin does not take longer than the device, and odd, so that no tile repeats.
        drawn[1] = rows.min(((1 << 20) / (cols * drawn[0]) + 61) | 1);
        let (x, w, twin) = draw(format, drawn, cols);
        let all_x = repeated(&x.words, batch * x_words);
        let upload = |label: &str, row: usize, words: &[u32]| {
            let shape = [words.len() / row, row];
            match format {
                WeightFormat::F32 => gpu.upload::<f32>(label, &shape, bytemuck::cast_slice(words)),
                _ => gpu.upload(label, &shape, words),
            }
        };
        let period = upload("w", words, &w)?;
        let copy = |copy: u64| {
            let x = match format {
                WeightFormat::F32 | WeightFormat::F16 => {
                    Activations::Floats(upload(&format!("x.{copy}"), x_words, &all_x)?)
                }
                WeightFormat::Bitplane => Activations::Trits(BitplaneTensor {
                    words: upload(&format!("x.{copy}"), x_words, &all_x)?,
                    cols,
                }),
                _ => Activations::Int8(Int8Tensor {
                    q: upload(&format!("x.{copy}.q"), x_words, &all_x)?,
                    scale: gpu.upload("x.scale", &[batch], &vec![1.0f32; batch])?,
                    sum: gpu.upload("x.sum", &[batch], &repeated(&x.sums, batch))?,
                }),
            };
            let blocks = (0..rows).step_by(block).map(|first| {
                let shape = [block.min(rows - first), words];
                gpu.repeat(&format!("w.{copy}.{}", first / block), &shape, &period, first % drawn[1] * words)
            });
            Ok(Operands { x, blocks: blocks.collect::<Result<_, Error>>()? })
        };
        let count = room.working_set.div_ceil(bytes).min(memory / bytes).clamp(1, most);
        let copies = (0..count).map(copy).collect::<Result<_, Error>>()?;
        Ok(Ok(Product { wanted, copies, twin, drawn }))
    }

    /// The product over each copy of its operands, with one op per block.
    pub fn bind(&self, gpu: &Gpu, kernel: &'static Kernel) -> Vec<Vec<Op>> {
        let [batch, _, cols] = self.wanted.shape;
        let beta = gpu.upload("w.beta", &[1], &[1.0f32]).expect("one value fits");
        let op = |x: &Activations, w: &Tensor| {
            let float = matches!(x, Activations::Floats(_));
            let dtype = if float { Dtype::F32 } else { Dtype::I32 };
            let out = &gpu.zeros("out", dtype, &[batch, w.shape()[0]]).expect("it was asked whether it fits");
            let packed = &PackedTensor { words: w.clone(), beta: beta.clone(), cols };
            let base3 = &Base3Tensor { words: w.clone(), cols };
            let planes = &BitplaneTensor { words: w.clone(), cols };
            match (x, self.wanted.operation) {
                (Activations::Floats(x), "gemv_f32") => kernels::gemv_f32_variant(gpu, kernel, x, w, out),
                (Activations::Floats(x), "gemv_f16") => kernels::gemv_f16_variant(gpu, kernel, x, w, out),
                (Activations::Floats(x), "matmul_f32") => kernels::matmul_f32_variant(gpu, kernel, x, w, out),
                (Activations::Floats(x), "matmul_f16") => kernels::matmul_f16_variant(gpu, kernel, x, w, out),
                (Activations::Int8(x), "gemv_i8") => kernels::gemv_i8_variant(gpu, kernel, x, w, out),
                (Activations::Int8(x), "matmul_i8") => kernels::matmul_i8_variant(gpu, kernel, x, w, out),
                (Activations::Int8(x), "gemv_ternary") => {
                    kernels::gemv_ternary_variant(gpu, kernel, x, packed, out)
                }
                (Activations::Int8(x), "matmul_ternary") => {
                    kernels::matmul_ternary_variant(gpu, kernel, x, packed, out)
                }
                (Activations::Int8(x), "gemv_ternary_addsub") => {
                    kernels::gemv_ternary_addsub_variant(gpu, kernel, x, packed, out)
                }
                (Activations::Int8(x), "gemv_base3") => {
                    kernels::gemv_base3_variant(gpu, kernel, x, base3, out)
                }
                (Activations::Int8(x), "matmul_base3") => {
                    kernels::matmul_base3_variant(gpu, kernel, x, base3, out)
                }
                (Activations::Trits(x), "gemv_bitplane") => {
                    kernels::gemv_bitplane_variant(gpu, kernel, x, planes, out)
                }
                (_, other) => unreachable!("{other} is no product"),
            }
        };
        let copy = |Operands { x, blocks }: &Operands| blocks.iter().map(|w| op(x, w)).collect();
        self.copies.iter().map(copy).collect()
    }

    /// [`Product::bind`], and a comparison of the first copy with the twin.
    ///
    /// # Errors
    /// If the device failed, or an output differs.
    pub fn checked(&self, gpu: &Gpu, kernel: &'static Kernel) -> Result<Vec<Vec<Op>>, MeasureError> {
        let instances = self.bind(gpu, kernel);
        self.check(gpu, kernel, &instances[0]).map(|()| instances)
    }

    /// Runs one copy and compares every output with the twin.
    ///
    /// # Errors
    /// If the device failed, or an output differs.
    fn check(&self, gpu: &Gpu, kernel: &'static Kernel, instance: &[Op]) -> Result<(), MeasureError> {
        gpu.run(instance)?;
        let ([_, rows, cols], [drawn_x, drawn_w]) = (self.wanted.shape, self.drawn);
        let mut first = 0;
        for op in instance {
            let out = op.tensors().last().expect("every op writes something");
            let block = out.shape()[1];
            let at = |i: usize| i / block % drawn_x * drawn_w + (first + i % block) % drawn_w;
            if let Some((i, got, want)) = self.twin.first_difference(gpu, out, at)? {
                let row = first + i % block;
                return Err(MeasureError::Wrong { kernel: kernel.name, rows, cols, row, got, want });
            }
            first += block;
        }
        Ok(())
    }

    /// Bytes that one product moves. Each block reads the activations, but the product counts them once.
    pub fn bytes(&self, instance: &[Op]) -> u64 {
        let [batch, rows, _] = self.wanted.shape;
        let first = &self.copies[0].blocks[0];
        let activations = instance[0].cost().bytes - first.bytes() - 4 * (batch * first.shape()[0]) as u64;
        let matrix: u64 = self.copies[0].blocks.iter().map(Tensor::bytes).sum();
        matrix + activations + 4 * (batch * rows) as u64
    }
}

/// Rows of activations as words, and the sum of each row in int8.
struct Drawn {
    words: Vec<u32>,
    sums: Vec<i32>,
}

/// Rows of activations and of a matrix in the form of the kernels, and their products.
fn draw(format: WeightFormat, [batch, rows]: [usize; 2], cols: usize) -> (Drawn, Vec<u32>, Twin) {
    let floats = |words: Vec<u32>| Drawn { words, sums: Vec::new() };
    // Quantisation never gives -128.
    let int8 = || draws(0, batch * cols).map(|draw| (draw as i8).max(-127)).collect::<Vec<i8>>();
    let drawn = |q: &[i8]| Drawn {
        words: padded_words(q, cols),
        sums: q.chunks_exact(cols).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect(),
    };
    let trits = || {
        let trits: Vec<i8> = draws(1, rows * cols).map(|draw| (draw % 3) as i8 - 1).collect();
        Packed::pack(&trits, rows, cols, 1.0)
    };
    match format {
        WeightFormat::F32 | WeightFormat::F16 => {
            let (x, w) = (uniform(0, batch * cols), uniform(1, rows * cols));
            let half = matches!(format, WeightFormat::F16);
            let product = if half { reference::matmul_f16 } else { reference::matmul_f32 };
            let words = |values: &[f32]| match half {
                true => kernels::f16_words(values, cols),
                false => values.iter().map(|value| value.to_bits()).collect(),
            };
            let twin = Twin::float(|x, w| product(x, w, cols), &x, &w, cols);
            (floats(words(&x)), words(&w), twin)
        }
        WeightFormat::Int8 => {
            let (q, w): (_, Vec<i8>) = (int8(), draws(1, rows * cols).map(|draw| draw as i8).collect());
            (drawn(&q), padded_words(&w, cols), Twin::Exact(reference::matmul_i8(&q, &w, cols)))
        }
        WeightFormat::Ternary | WeightFormat::AddSub => {
            let (q, w) = (int8(), trits());
            let twin = Twin::Exact(reference::matmul_ternary(&q, &w));
            (drawn(&q), w.words, twin)
        }
        WeightFormat::Base3 => {
            let (q, w) = (int8(), trits());
            let twin = Twin::Exact(reference::matmul_ternary(&q, &w));
            (drawn(&q), Base3::pack(&w).words, twin)
        }
        WeightFormat::Bitplane => {
            let x = Bitplanes::pack(&Packed::quantize(&uniform(0, batch * cols), batch, cols));
            let w = Bitplanes::pack(&trits());
            let twin = Twin::Exact(reference::gemv_bitplane(&x, &w));
            (floats(x.words), w.words, twin)
        }
    }
}

/// The rows, repeated up to `count` values.
fn repeated<T: Copy>(rows: &[T], count: usize) -> Vec<T> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend_from_slice(&rows[..rows.len().min(count - all.len())]);
    }
    all
}

/// The product of one kernel with one row of activations, bound to up to `most` matrices that are used in rotation.
/// It was compared with its twin. A reason takes the place of a missing product.
///
/// # Errors
/// If the device failed, or the kernel differs from its twin.
pub fn rotation(
    gpu: &Gpu,
    kernel: &'static Kernel,
    [rows, cols]: [usize; 2],
    room: Room,
    most: u64,
) -> Result<Result<Vec<Vec<Op>>, String>, MeasureError> {
    let operations = WeightFormat::ALL.into_iter().filter_map(|format| format.operation(1));
    let mut own = operations.filter(|operation| kernels::variants(operation).contains(&kernel));
    let Some(operation) = own.next() else {
        return Ok(Err(format!("{} multiplies no matrix with one row", kernel.name)));
    };
    let wanted = Wanted { operation, shape: [1, rows, cols] };
    match Product::new(gpu, wanted, room, most.min(MOST_BUFFERS))? {
        Ok(product) => product.checked(gpu, kernel).map(Ok),
        Err(reason) => Ok(Err(reason)),
    }
}

/// Random floats. None is small enough that a device might take it for 0 in f16.
fn uniform(tensor: u32, count: usize) -> Vec<f32> {
    let normal = |x: f32| if x.abs() < 1.0 / 16_384.0 { 0.0 } else { x };
    random::uniform(1, Stream::Weights, tensor, count, 1.0).into_iter().map(normal).collect()
}

/// Random bytes, not all zero.
fn draws(tensor: u32, count: usize) -> impl Iterator<Item = u8> {
    let four = move |i: usize| random::draw(1, Stream::Order, tensor, i as u32);
    (0..count.div_ceil(16)).flat_map(four).flat_map(u32::to_le_bytes).take(count)
}

/// Rows of int8 as words, padded with zeros to whole vectors of sixteen.
fn padded_words(q: &[i8], cols: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(q.len() / 4);
    for row in q.chunks_exact(cols) {
        let at = |i: usize| u32::from(row.get(i).copied().unwrap_or(0) as u8);
        let word = |i: usize| at(4 * i) | at(4 * i + 1) << 8 | at(4 * i + 2) << 16 | at(4 * i + 3) << 24;
        words.extend((0..4 * ternary::words(cols)).map(word));
    }
    words
}

/// `[rows, cols]` of the layers of BitNet b1.58 2B4T and of LLaMA 7B, of two matrices that no cache holds, and of the
/// network for MNIST.
pub const GEMV_SHAPES: [[usize; 2]; 12] = [
    [2560, 2560],
    [640, 2560],
    [6912, 2560],
    [2560, 6912],
    [4096, 4096],
    [11_008, 4096],
    [4096, 11_008],
    [16_384, 16_384],
    [28_672, 16_384],
    [256, 784],
    [128, 256],
    [10, 128],
];

/// The default shapes `[batch, rows, cols]`: the layers of MNIST in training, a batch as large as its matrix, and on
/// a GPU shapes that only a GPU computes fast enough.
pub fn matmul_shapes(gpu: &Gpu) -> Vec<[usize; 3]> {
    let mut shapes = vec![[128, 256, 784], [128, 128, 256], [128, 10, 128], [1024, 512, 1024]];
    if !gpu.is_software() {
        shapes.push([4096, 4096, 4096]);
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_whole_blocks() {
        let bytes = |rows, cols| WEIGHT_FORMATS.map(|format| format.bytes(rows, cols));
        assert_eq!(bytes(2, 80), [640, 320, 160, 40, 32]);
        assert_eq!(bytes(1, 81), [324, 176, 96, 24, 32]);
        // 80 or 81 activations in f32, f16 and int8, one sum for trits, and outputs of four bytes.
        let row = |rows, cols| WEIGHT_FORMATS.map(|format| format.row_bytes(rows, cols));
        assert_eq!(row(2, 80), [328, 168, 88, 92, 92]);
        assert_eq!(row(1, 81), [328, 180, 100, 104, 104]);
    }
}
