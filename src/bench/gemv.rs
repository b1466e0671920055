//! A matrix times one row of activations, or a few, in every format: what one token costs.

use super::pool::MOST_BUFFERS;
use super::sample::{Samples, sample};
use super::tune::Trial;
use super::{Failure, ReadSpeed, Room, overrides};
use crate::gpu::{Dtype, Error, Gpu, Kernel, Op, Tensor};
use crate::kernels::{self, Base3Tensor, BitplaneTensor, Int8Tensor, PackedTensor};
use crate::random::{self, Stream};
use crate::reference;
use crate::ternary::{self, Base3, Bitplanes, Packed};
use crate::wall::{Ceilings, Floor, load_seconds};

/// `[rows, cols]` of the layers of BitNet b1.58 2B4T and of a 7B LLaMA, two that no cache holds, and MNIST's.
pub const DEFAULT_SHAPES: [[usize; 2]; 12] = [
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

/// What to measure.
#[derive(Clone, Debug)]
pub struct Gemv {
    /// `[rows, cols]` each.
    pub shapes: Vec<[usize; 2]>,
    /// About as long for each kernel at each shape.
    pub seconds: f64,
    /// Rows of activations: 1, or a few for the formats that take more.
    pub batch: usize,
    /// Every variant that runs here, not only the one that this device would choose.
    pub all: bool,
    /// Only these operations, by name; empty for all.
    pub only: Vec<&'static str>,
    /// How much memory to use.
    pub room: Room,
}

/// One kernel at one shape.
#[derive(Clone, Debug)]
pub struct Row {
    /// The operation that it computes.
    pub operation: &'static str,
    /// The kernel's name.
    pub kernel: &'static str,
    /// Its overrides here.
    pub overrides: String,
    /// `[rows, cols]`.
    pub shape: [usize; 2],
    /// Rows of activations.
    pub batch: usize,
    /// Bytes that one product moves.
    pub bytes: u64,
    /// Bytes of all matrices in rotation.
    pub working_set: u64,
    /// Parts that the matrix was cut into, because the adapter binds no larger buffer.
    pub blocks: usize,
    /// From the submission until it is done, for one product.
    pub median_seconds: f64,
    /// See `median_seconds`.
    pub min_seconds: f64,
    /// By the device's clock, where it has one.
    pub device_median_seconds: Option<f64>,
    /// All samples, sorted, by the wall.
    pub samples: Vec<f64>,
    /// Additions and multiplications.
    pub ops: u64,
    /// Of the fastest f32 kernel at this shape, how many times as fast this is.
    pub ratio_to_f32: Option<f64>,
    /// Of the fastest f16 kernel.
    pub ratio_to_f16: Option<f64>,
}

impl Row {
    /// The kernel, with its overrides where several variants of the operation bear its name.
    pub fn label(&self) -> String {
        let namesakes = kernels::variants(self.operation).iter().filter(|kernel| kernel.name == self.kernel);
        match namesakes.count() {
            1 => self.kernel.into(),
            _ => format!("{} {}", self.kernel, self.overrides),
        }
    }

    fn per_second(&self, amount: f64) -> f64 {
        1e-9 * amount / self.median_seconds
    }

    /// Bytes moved, in 1e9 per second.
    pub fn gb_per_s(&self) -> f64 {
        self.per_second(self.bytes as f64)
    }

    /// Additions and multiplications, in 1e9 per second.
    pub fn gops_per_s(&self) -> f64 {
        self.per_second(self.ops as f64)
    }

    /// Weights, in 1e9 per second; each counts once, however many rows of activations it meets.
    pub fn gweights_per_s(&self) -> f64 {
        self.per_second((self.shape[0] * self.shape[1]) as f64)
    }

    /// Products of a weight and an activation, in 1e9 per second.
    pub fn gmac_per_s(&self) -> f64 {
        0.5 * self.gops_per_s()
    }

    /// Seconds that it takes at least, by what was measured of this adapter; none where its arithmetic has no probe.
    pub fn floor(&self, read: &ReadSpeed, ceilings: &Ceilings) -> Option<Floor> {
        let arithmetic = match self.operation {
            "gemv_f32" | "gemv_f16" | "matmul_f32" | "matmul_f16" => &ceilings.fma_f32,
            "gemv_ternary_addsub" => &ceilings.add_i32,
            // One of its instructions counts 32 products.
            "gemv_bitplane" => return None,
            _ => &ceilings.dot4_i8,
        };
        Some(Floor {
            load_seconds: load_seconds(self.bytes as f64, 1e9 * read.gb_per_s),
            compute_seconds: self.ops as f64 / arithmetic.value()?,
            launch_seconds: self.blocks as f64 * ceilings.launch.value()?,
        })
    }

    /// Bandwidth as a share of what the read probe saw.
    pub fn percent_of_read(&self, read: &ReadSpeed) -> f64 {
        100.0 * self.gb_per_s() / read.gb_per_s
    }

    /// Whether the matrices in rotation are as many bytes as the probe's buffers: else a cache may have answered.
    pub fn is_cold(&self, read: &ReadSpeed) -> bool {
        self.working_set >= read.working_set
    }
}

/// A shape in a format, or by a variant, that was left out.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The operation, or the variant.
    pub operation: &'static str,
    /// `[rows, cols]`.
    pub shape: [usize; 2],
    /// Rows of activations.
    pub batch: usize,
    /// Why.
    pub reason: String,
}

/// Measures every format at every shape; rows come in the order of the shapes.
///
/// # Errors
/// If the device failed, or a kernel differs from its twin.
pub fn gemv(
    gpu: &Gpu,
    what: &Gemv,
    progress: &mut dyn FnMut(String),
) -> Result<(Vec<Row>, Vec<Skipped>), Failure> {
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for &shape in &what.shapes {
        let first = rows.len();
        let mut skip = |operation, reason: String, progress: &mut dyn FnMut(String)| {
            progress(format!("{operation} {}x{} left out: {reason}", shape[0], shape[1]));
            skipped.push(Skipped { operation, shape, batch: what.batch, reason });
        };
        let wanted =
            |format: &Format| what.only.is_empty() || what.only.contains(&format.operation(what.batch));
        // The others take one row of activations.
        let takes = |format: &Format| what.batch == 1 || format.operation(what.batch) != format.operation(1);
        for format in Format::ALL.into_iter().filter(wanted).filter(takes) {
            let operation = format.operation(what.batch);
            let matrices = match Matrices::new(gpu, format, shape, what.batch, what.room)? {
                Ok(matrices) => matrices,
                Err(reason) => {
                    skip(operation, reason, progress);
                    continue;
                }
            };
            let chosen = kernels::chosen(gpu, operation, [what.batch, shape[0], shape[1]]);
            for &kernel in kernels::variants(operation) {
                if !std::ptr::eq(kernel, chosen) && !what.all {
                    continue;
                }
                if let Some(reason) = gpu.lacks(kernel) {
                    skip(kernel.name, reason, progress);
                    continue;
                }
                let instances = matrices.bind(gpu, kernel);
                matrices.check(gpu, kernel, &instances[0])?;
                let row = matrices.row(gpu, kernel, &instances, &sample(gpu, &instances, what.seconds)?);
                progress(format!(
                    "{} {}x{}: {:.3} ms",
                    row.label(),
                    shape[0],
                    shape[1],
                    1e3 * row.median_seconds
                ));
                rows.push(row);
            }
        }
        compare(&mut rows[first..], [Format::F32, Format::F16].map(|dense| dense.operation(what.batch)));
    }
    Ok((rows, skipped))
}

/// One product by this kernel, held against its twin, over up to `most` matrices to take in rotation; or why there
/// is none.
///
/// # Errors
/// If the device failed, or the kernel differs from its twin.
pub fn gemv_ops(
    gpu: &Gpu,
    kernel: &'static Kernel,
    shape: [usize; 2],
    most: usize,
) -> Result<Result<Vec<Vec<Op>>, String>, Failure> {
    let of = |format: &Format| kernels::variants(format.operation(1)).iter().any(|k| k.name == kernel.name);
    let Some(format) = Format::ALL.into_iter().find(of) else {
        return Ok(Err(format!("{} multiplies no matrix with one row", kernel.name)));
    };
    let mut matrices = match Matrices::new(gpu, format, shape, 1, Room::of(gpu))? {
        Ok(matrices) => matrices,
        Err(reason) => return Ok(Err(reason)),
    };
    matrices.copies.truncate(most);
    let instances = matrices.bind(gpu, kernel);
    matrices.check(gpu, kernel, &instances[0])?;
    Ok(Ok(instances))
}

/// How many times as fast as the fastest dense product of the same shape each row is, in f32 and in f16.
pub(super) fn compare(rows: &mut [Row], dense: [&str; 2]) {
    let fastest = |operation: &str| {
        let of = |row: &&Row| row.operation == operation;
        rows.iter().filter(of).map(|row| row.median_seconds).reduce(f64::min)
    };
    let [f32, f16] = dense.map(fastest);
    for row in rows {
        [row.ratio_to_f32, row.ratio_to_f16] =
            [f32, f16].map(|dense| dense.map(|dense| dense / row.median_seconds));
    }
}

/// One operation over matrices in rotation, bound to the kernel that this device would choose and held against its
/// twin; or why not.
pub(super) fn rotation(
    gpu: &Gpu,
    operation: &str,
    shape: [usize; 2],
    room: Room,
) -> Result<Result<Vec<Vec<Op>>, String>, Failure> {
    let Some(format) = Format::of(operation) else {
        return Ok(Err(format!("there is no {operation}")));
    };
    Matrices::new(gpu, format, shape, 1, room)?
        .map(|matrices| {
            let kernel = kernels::chosen(gpu, format.operation(1), [1, shape[0], shape[1]]);
            let instances = matrices.bind(gpu, kernel);
            matrices.check(gpu, kernel, &instances[0])?;
            Ok(instances)
        })
        .map_or_else(|reason| Ok(Err(reason)), |bound: Result<_, Failure>| bound.map(Ok))
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    F32,
    F16,
    Int8,
    Ternary,
    AddSub,
    Base3,
    Bitplane,
}

impl Format {
    pub const ALL: [Format; 7] = [
        Format::F32,
        Format::F16,
        Format::Int8,
        Format::Ternary,
        Format::AddSub,
        Format::Base3,
        Format::Bitplane,
    ];

    /// The format of an operation on one row of activations.
    pub fn of(operation: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.operation(1) == operation)
    }

    /// What multiplies it by so many rows of activations; by one where nothing takes more.
    pub fn operation(self, batch: usize) -> &'static str {
        match self {
            Format::F32 if batch > 1 => "matmul_f32",
            Format::F32 => "gemv_f32",
            Format::F16 if batch > 1 => "matmul_f16",
            Format::F16 => "gemv_f16",
            Format::Int8 => "gemv_i8",
            Format::Ternary if batch > 1 => "matmul_ternary",
            Format::Ternary => "gemv_ternary",
            Format::AddSub => "gemv_ternary_addsub",
            Format::Base3 => "gemv_base3",
            Format::Bitplane => "gemv_bitplane",
        }
    }

    /// Words of a row of the matrix.
    fn words(self, cols: usize) -> usize {
        match self {
            Format::F32 => cols,
            Format::F16 => 4 * kernels::f16_vectors(cols),
            Format::Int8 => 4 * ternary::words(cols),
            Format::Ternary | Format::AddSub => ternary::words(cols),
            Format::Base3 => 4 * ternary::base3_vectors(cols),
            Format::Bitplane => 4 * ternary::bitplane_vectors(cols),
        }
    }
}

/// What the twin says, `[batch, drawn rows]`.
pub(super) enum Twin {
    Exact(Vec<i32>),
    /// With how far a float sum in another order may lie from it.
    Within(Vec<(f32, f64)>),
}

impl Twin {
    /// What a product in floats says, and how far another order of its sums may lie from that.
    pub fn float(product: impl Fn(&[f32], &[f32]) -> Vec<f32>, x: &[f32], w: &[f32], cols: usize) -> Twin {
        let absolute = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
        // Two sides, each of cols roundings of half a unit: 2 cols 2^-24 of the terms' magnitude.
        let bound = |m: f32| f64::from(m) * cols as f64 / f64::from(1 << 23);
        let bounds = product(&absolute(x), &absolute(w)).into_iter().map(bound);
        Twin::Within(product(x, w).into_iter().zip(bounds).collect())
    }

    /// Outputs.
    fn len(&self) -> usize {
        match self {
            Twin::Exact(twin) => twin.len(),
            Twin::Within(twin) => twin.len(),
        }
    }

    /// The first of a tensor's values that is not its twin's, which is at `at(i)`: where, what it is, and what it
    /// should be.
    pub fn first_difference(
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
                // A NaN is within nothing.
                let fits = |i: usize| (f64::from(got[i]) - f64::from(twin[at(i)].0)).abs() <= twin[at(i)].1;
                let wrong = (0..got.len()).find(|&i| !fits(i));
                wrong.map(|i| (i, got[i].to_string(), twin[at(i)].0.to_string()))
            }
        })
    }
}

/// One matrix on the device as often as the rotation needs, each in blocks of rows.
pub(super) struct Matrices {
    format: Format,
    shape: [usize; 2],
    batch: usize,
    copies: Vec<Vec<Tensor>>,
    x: Activations,
    beta: Tensor,
    twin: Twin,
}

/// The activations in each format.
struct Activations {
    f32: Tensor,
    f16: Tensor,
    int8: Int8Tensor,
    trits: BitplaneTensor,
}

/// Rows that are drawn and multiplied by the twin, fewer for a larger batch; a larger matrix repeats them.
fn drawn_rows([rows, cols]: [usize; 2], batch: usize) -> usize {
    rows.min((1 << 22) / (cols * batch) + 61)
}

impl Matrices {
    /// Fills the device, or says why it does not.
    pub fn new(
        gpu: &Gpu,
        format: Format,
        shape: [usize; 2],
        batch: usize,
        room: Room,
    ) -> Result<Result<Matrices, String>, Failure> {
        let [rows, cols] = shape;
        let words = format.words(cols);
        let bytes = 4 * (rows * words) as u64;
        let memory = room.memory;
        if bytes > memory {
            return Ok(Err(format!("{} MiB, of which {} MiB may be used", bytes >> 20, memory >> 20)));
        }
        let most = if matches!(format, Format::Int8) { kernels::MOST_COLS_I8 } else { kernels::MOST_COLS };
        if cols > most {
            return Ok(Err(format!("{cols} columns are more than the kernel sums exactly")));
        }
        let drawn = drawn_rows(shape, batch);
        let x = uniform(0, batch * cols);
        // Quantisation yields no -128.
        let q: Vec<i8> = draws(0, batch * cols).map(|draw| (draw as i8).max(-127)).collect();
        let t = Bitplanes::pack(&Packed::quantize(&x[..cols], 1, cols));
        let (part, twin) = match format {
            Format::F32 | Format::F16 => {
                let w = uniform(1, drawn * cols);
                let product = |x: &[f32], w: &[f32]| match format {
                    Format::F16 => reference::matmul_f16(x, w, cols),
                    _ => reference::matmul_f32(x, w, cols),
                };
                let twin = Twin::float(product, &x, &w, cols);
                let words = match format {
                    Format::F16 => kernels::f16_words(&w, cols),
                    _ => w.iter().map(|w| w.to_bits()).collect(),
                };
                (words, twin)
            }
            Format::Int8 => {
                let w: Vec<i8> = draws(1, drawn * cols).map(|draw| draw as i8).collect();
                (padded_words(&w, cols), Twin::Exact(reference::gemv_i8(&q, &w)))
            }
            Format::Ternary | Format::AddSub | Format::Base3 | Format::Bitplane => {
                let trits: Vec<i8> = draws(1, drawn * cols).map(|draw| (draw % 3) as i8 - 1).collect();
                let w = Packed::pack(&trits, drawn, cols, 1.0);
                match format {
                    Format::Bitplane => {
                        let w = Bitplanes::pack(&w);
                        let twin = reference::gemv_bitplane(&t, &w);
                        (w.words, Twin::Exact(twin))
                    }
                    Format::Base3 => (Base3::pack(&w).words, Twin::Exact(reference::gemv_ternary(&q, &w))),
                    _ => {
                        let twin = reference::matmul_ternary(&q, &w);
                        (w.words, Twin::Exact(twin))
                    }
                }
            }
        };
        let mut blocks = 1;
        while gpu.fits("matrix", &[rows.div_ceil(blocks), words]).is_err() {
            blocks += 1;
        }
        let count = room.working_set.div_ceil(bytes).min(memory / bytes).clamp(1, MOST_BUFFERS);
        let mut copies = Vec::new();
        let mut repeated: Vec<u32> = Vec::with_capacity(rows * words);
        while repeated.len() < rows * words {
            repeated.extend_from_slice(&part[..part.len().min(rows * words - repeated.len())]);
        }
        for copy in 0..count {
            let upload = |(i, block): (usize, &[u32])| {
                let label = format!("{}.{copy}.{i}", format.operation(batch));
                let shape = [block.len() / words, words];
                match format {
                    Format::F32 => gpu.upload::<f32>(&label, &shape, bytemuck::cast_slice(block)),
                    _ => gpu.upload(&label, &shape, block),
                }
            };
            let blocks = repeated.chunks(rows.div_ceil(blocks) * words).enumerate().map(upload);
            copies.push(blocks.collect::<Result<Vec<_>, Error>>()?);
        }
        let sum: Vec<i32> = q.chunks(cols).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect();
        let x = Activations {
            f16: gpu.upload(
                "x.f16",
                &[batch, 4 * kernels::f16_vectors(cols)],
                &kernels::f16_words(&x, cols),
            )?,
            f32: gpu.upload("x", &[batch, cols], &x)?,
            int8: Int8Tensor {
                q: gpu.upload("x.q", &[batch, 4 * ternary::words(cols)], &padded_words(&q, cols))?,
                scale: gpu.upload("x.scale", &[batch], &vec![1.0f32; batch])?,
                sum: gpu.upload("x.sum", &[batch], &sum)?,
            },
            trits: BitplaneTensor::upload(gpu, "x", &t)?,
        };
        let beta = gpu.upload("w.beta", &[1], &[1.0f32])?;
        Ok(Ok(Matrices { format, shape, batch, copies, x, beta, twin }))
    }

    fn row(&self, gpu: &Gpu, kernel: &'static Kernel, instances: &[Vec<Op>], samples: &Samples) -> Row {
        let [rows, cols] = self.shape;
        let matrix: u64 = self.copies[0].iter().map(Tensor::bytes).sum();
        let outputs = 4 * (self.batch * rows) as u64;
        // Each block reads the activations, but the product moves them once.
        let activations = instances[0][0].cost().bytes
            - self.copies[0][0].bytes()
            - 4 * (self.batch * self.copies[0][0].shape()[0]) as u64;
        Row {
            batch: self.batch,
            operation: self.format.operation(self.batch),
            kernel: kernel.name,
            overrides: overrides(gpu, kernel),
            shape: self.shape,
            bytes: matrix + activations + outputs,
            working_set: matrix * samples.rotated as u64,
            blocks: instances[0].len(),
            median_seconds: samples.median(),
            min_seconds: samples.min(),
            device_median_seconds: samples.device_median(),
            samples: samples.wall.clone(),
            ops: 2 * (self.batch * rows * cols) as u64,
            ratio_to_f32: None,
            ratio_to_f16: None,
        }
    }
}

impl Trial for Matrices {
    /// The product over each copy, as one op per block.
    fn bind(&self, gpu: &Gpu, kernel: &'static Kernel) -> Vec<Vec<Op>> {
        let op = |w: &Tensor| {
            let float = matches!(self.format, Format::F32 | Format::F16);
            let dtype = if float { Dtype::F32 } else { Dtype::I32 };
            let shape = [self.batch, w.shape()[0]];
            let out = gpu.zeros("out", dtype, &shape).expect("a few values a row fit");
            let (x, cols) = (&self.x, self.shape[1]);
            let packed = || PackedTensor { words: w.clone(), beta: self.beta.clone(), cols };
            match self.format {
                Format::F32 if self.batch > 1 => kernels::matmul_f32_variant(gpu, kernel, &x.f32, w, &out),
                Format::F32 => kernels::gemv_f32_variant(gpu, kernel, &x.f32, w, &out),
                Format::F16 if self.batch > 1 => kernels::matmul_f16_variant(gpu, kernel, &x.f16, w, &out),
                Format::F16 => kernels::gemv_f16_variant(gpu, kernel, &x.f16, w, &out),
                Format::Int8 => kernels::gemv_i8_variant(gpu, kernel, &x.int8, w, &out),
                Format::Ternary if self.batch > 1 => {
                    kernels::matmul_ternary_variant(gpu, kernel, &x.int8, &packed(), &out)
                }
                Format::Ternary => kernels::gemv_ternary_variant(gpu, kernel, &x.int8, &packed(), &out),
                Format::AddSub => kernels::gemv_ternary_addsub(gpu, &x.int8, &packed(), &out),
                Format::Base3 => {
                    kernels::gemv_base3(gpu, &x.int8, &Base3Tensor { words: w.clone(), cols }, &out)
                }
                Format::Bitplane => {
                    let w = BitplaneTensor { words: w.clone(), cols };
                    kernels::gemv_bitplane_variant(gpu, kernel, &x.trits, &w, &out)
                }
            }
        };
        self.copies.iter().map(|blocks| blocks.iter().map(op).collect()).collect()
    }

    fn check(&self, gpu: &Gpu, kernel: &'static Kernel, instance: &[Op]) -> Result<(), Failure> {
        gpu.run(instance)?;
        let [rows, cols] = self.shape;
        let mut first = 0;
        for op in instance {
            let out = op.tensors().last().expect("every op writes something");
            let block = out.shape()[1];
            // A larger matrix repeats the rows that were drawn.
            let drawn = self.twin.len() / self.batch;
            let at = |i: usize| i / block * drawn + (first + i % block) % drawn;
            if let Some((i, got, want)) = self.twin.first_difference(gpu, out, at)? {
                return Err(Failure::Wrong {
                    kernel: kernel.name,
                    rows,
                    cols,
                    row: first + i % block,
                    got,
                    want,
                });
            }
            first += block;
        }
        Ok(())
    }
}

/// Random floats; none is so small that a device might count it as 0 in f16.
pub(super) fn uniform(tensor: u32, count: usize) -> Vec<f32> {
    let normal = |x: f32| if x.abs() < 1.0 / 16_384.0 { 0.0 } else { x };
    random::uniform(1, Stream::Weights, tensor, count, 1.0).into_iter().map(normal).collect()
}

/// Random bytes, never zeros alone.
pub(super) fn draws(tensor: u32, count: usize) -> impl Iterator<Item = u8> {
    let four = move |i: usize| random::draw(1, Stream::Order, tensor, i as u32);
    (0..count.div_ceil(16)).flat_map(four).flat_map(u32::to_le_bytes).take(count)
}

/// Rows of int8 as words, filled with zeros to whole vectors of sixteen.
pub(super) fn padded_words(q: &[i8], cols: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(q.len() / 4);
    for row in q.chunks_exact(cols) {
        let at = |i: usize| u32::from(row.get(i).copied().unwrap_or(0) as u8);
        let word = |i: usize| at(4 * i) | at(4 * i + 1) << 8 | at(4 * i + 2) << 16 | at(4 * i + 3) << 24;
        words.extend((0..4 * ternary::words(cols)).map(word));
    }
    words
}
