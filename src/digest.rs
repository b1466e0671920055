//! One line for every integer of a forward pass: the sha256 of all int8 codes and all i32 accumulators,
//! on the device or on the twin, and where two runs first differ. From the same stored trits and gains it is the
//! same everywhere.
//!
//! What is hashed, in three bullets:
//! - item by item, an image say, so that the size of a batch leaves no mark; of an item product by product, in the
//!   network's order;
//! - of a product its codes in, `[cols]` bytes, then its accumulators out, `[rows]`, each i32 little endian;
//! - nothing else: no padding, no sizes. Beta and epsilon move floats alone, so they leave no mark either.

use sha2::{Digest as _, Sha256};

use crate::gpu::{Dtype, Error, Gpu};
use crate::model::{AnyShape, BATCH, Network, Product, TransformerShape, each_batch};
use crate::random::{self, Stream};
use crate::reference;
use crate::store::{Difference, Model};
use crate::ternary::{Packed, RMSNORM_EPS, TRITS, words};

/// The integers of one product for a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Integers {
    /// int8 codes in, `[batch, cols]`.
    pub codes: Vec<i8>,
    /// Accumulators out, `[batch, rows]`.
    pub acc: Vec<i32>,
}

/// A digest that grows batch by batch.
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Takes in the next `batch` items, from the integers of all products.
    ///
    /// # Panics
    /// If a length is no multiple of `batch`.
    pub fn feed(&mut self, batch: usize, products: &[Integers]) {
        for Integers { codes, acc } in products {
            let whole = codes.len().is_multiple_of(batch) && acc.len().is_multiple_of(batch);
            assert!(whole, "Digest: {} codes and {} sums of {batch} images", codes.len(), acc.len());
        }
        for image in 0..batch {
            for Integers { codes, acc } in products {
                let (cols, rows) = (codes.len() / batch, acc.len() / batch);
                self.0.update(bytemuck::cast_slice(&codes[image * cols..][..cols]));
                let acc = acc[image * rows..][..rows].iter().flat_map(|sum| sum.to_le_bytes());
                self.0.update(acc.collect::<Vec<u8>>());
            }
        }
    }

    /// The digest of all that was taken in: 64 digits.
    pub fn hex(self) -> String {
        crate::store::hex(&self.0.finalize())
    }
}

/// The digest of a network on the device over whole items, from its trits as they are.
///
/// # Errors
/// If the adapter cannot bind a tensor or the device failed.
///
/// # Panics
/// If the inputs are no whole items of the network.
pub fn network<T: Copy + Into<i32>>(gpu: &Gpu, network: &dyn Network, inputs: &[T]) -> Result<String, Error> {
    network_in_batches(gpu, network, inputs, BATCH)
}

/// [`network`] with this many items at a time, which changes nothing but the memory that it takes.
///
/// # Errors
/// As [`network`].
///
/// # Panics
/// As [`network`].
pub fn network_in_batches<T: Copy + Into<i32>>(
    gpu: &Gpu,
    network: &dyn Network,
    inputs: &[T],
    batch: usize,
) -> Result<String, Error> {
    let mut digest = Digest::default();
    on_device(gpu, network, inputs, batch, |count, products| digest.feed(count, &products))?;
    Ok(digest.hex())
}

/// The integers of every product on the device, for all items at once: to be compared with [`twin_integers`].
///
/// # Errors
/// As [`network`].
///
/// # Panics
/// As [`network`].
pub fn integers<T: Copy + Into<i32>>(
    gpu: &Gpu,
    network: &dyn Network,
    inputs: &[T],
) -> Result<Vec<Integers>, Error> {
    let mut all = Vec::new();
    on_device(gpu, network, inputs, BATCH, |_, products| append(&mut all, products))?;
    Ok(all)
}

/// The inputs that every network of a shape is verified on, the same for ever: 64 images, or one sequence.
pub fn fixed_inputs(shape: &AnyShape) -> Vec<i32> {
    match shape {
        AnyShape::Mlp(shape) => fixed_images(shape.dims[0]).into_iter().map(i32::from).collect(),
        AnyShape::Transformer(shape) => {
            let id = |at: usize| random::draw(1, Stream::Verify, 0, at as u32)[0] % shape.vocabulary as u32;
            (0..shape.context).map(|at| id(at) as i32).collect()
        }
    }
}

/// The rows of floats that product `i` is verified on: nearly normal with the deviation 1.
fn fixed_rows(i: usize, count: usize) -> Vec<f32> {
    random::normal(2, Stream::Verify, i as u32, count, 1.0)
}

/// The integers of a network on the device over [`fixed_inputs`]. Where a product reads rows of floats, these are fixed
/// too: floats of the layers before differ a little from device to device, the integers of given floats do not.
///
/// # Errors
/// As [`network`].
pub fn fixed(gpu: &Gpu, network: &dyn Network, shape: &AnyShape) -> Result<Vec<Integers>, Error> {
    match shape {
        AnyShape::Mlp(_) => integers(gpu, network, &fixed_inputs(shape)),
        AnyShape::Transformer(_) => {
            let inputs = fixed_inputs(shape);
            let bound = network.bind(gpu, inputs.len() / network.inputs(), None)?;
            gpu.write(&bound.input, &inputs);
            let product = |(i, product): (usize, &Product)| {
                if product.input.dtype() == Dtype::F32 {
                    gpu.write(&product.input, &fixed_rows(i, product.input.len()));
                }
                gpu.run(&bound.forward[product.ops.clone()])?;
                read(gpu, product)
            };
            bound.products.iter().enumerate().map(product).collect()
        }
    }
}

/// What [`fixed`] must give, by the CPU twin.
///
/// # Errors
/// A clause, if this program does not run the network.
pub fn fixed_twin(model: &Model) -> Result<Vec<Integers>, String> {
    match AnyShape::of(&model.arch)? {
        AnyShape::Mlp(shape) => {
            let (packed, gains) = model.parts();
            Ok(twin_integers(&packed, &gains, &fixed_images(shape.dims[0])))
        }
        AnyShape::Transformer(shape) => Ok(transformer_twin(&shape, model)),
    }
}

/// The integers of every product of a transformer on the twin, each from its [`fixed_rows`]; down follows from gate|up.
fn transformer_twin(shape: &TransformerShape, model: &Model) -> Vec<Integers> {
    let matrices: Vec<&Packed> = model.matrices().collect();
    // The embedding comes first, and the last gain after those of all layers.
    let gains: Vec<&[f32]> = model.floats().skip(1).collect();
    let mut all: Vec<Integers> = Vec::new();
    let mut product = |codes: Vec<i8>, matrices: &[&Packed]| {
        let words = matrices.iter().flat_map(|packed| packed.words.iter().copied()).collect();
        let rows = matrices.iter().map(|packed| packed.rows).sum();
        let acc =
            reference::matmul_ternary(&codes, &Packed { rows, words, cols: matrices[0].cols, scale: 1.0 });
        all.push(Integers { codes, acc: acc.clone() });
        acc
    };
    for i in 0..shape.layers {
        let &[q, k, v, o, gate, up, down] = &matrices[7 * i..][..7] else { unreachable!("seven of a layer") };
        let &[g1, g2, g3, g4] = &gains[4 * i..][..4] else { unreachable!("four of a layer") };
        let quantized = |j: usize, gain: &[f32]| {
            let rows = fixed_rows(4 * i + j, shape.context * shape.width);
            reference::rmsnorm_quantize_f32(&rows, gain, shape.eps)
        };
        product(quantized(0, g1).0.q, &[q, k, v]);
        product(quantized(1, g2).0.q, &[o]);
        let (codes, _, step) = quantized(2, g3);
        let acc = product(codes.q, &[gate, up]);
        let betas = [gate.scale, up.scale];
        let (codes, ..) = reference::relu2_gate_quantize(&acc, &step, betas, g4, shape.eps);
        product(codes.q, &[down]);
    }
    all
}

/// The digest of an MLP over images, on the CPU twin, plain and slow.
///
/// # Panics
/// If shapes do not chain.
pub fn twin(packed: &[Packed], gains: &[Vec<f32>], images: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.feed(images.len() / packed[0].cols, &twin_integers(packed, gains, images));
    digest.hex()
}

/// The integers of every layer of an MLP on the twin, for all images at once.
///
/// # Panics
/// If shapes do not chain.
pub fn twin_integers(packed: &[Packed], gains: &[Vec<f32>], images: &[u8]) -> Vec<Integers> {
    let layers = reference::mlp(packed, gains, RMSNORM_EPS as f32, images);
    layers.into_iter().map(|layer| Integers { codes: layer.codes.q, acc: layer.acc }).collect()
}

fn append(all: &mut Vec<Integers>, layers: Vec<Integers>) {
    all.resize_with(layers.len(), Integers::default);
    for (all, layer) in all.iter_mut().zip(layers) {
        all.codes.extend(layer.codes);
        all.acc.extend(layer.acc);
    }
}

/// Where the integers of two runs over `images` images first differ, layer by layer, codes before sums.
///
/// # Panics
/// If the runs are of other shapes.
pub fn first_difference(a: &[Integers], b: &[Integers], images: usize) -> Option<Difference> {
    let sizes = |run: &[Integers]| run.iter().map(|x| [x.codes.len(), x.acc.len()]).collect::<Vec<_>>();
    assert_eq!(sizes(a), sizes(b), "digest: two runs of one network expected");
    let first = |(layer, (a, b)): (usize, (&Integers, &Integers))| {
        let differs = |of: &str, at: usize, count: usize, values: [f64; 2]| {
            let width = count / images;
            Difference {
                layer: Some(layer),
                of: String::from(of),
                row: Some(at / width),
                column: Some(at % width),
                values,
            }
        };
        let at = a.codes.iter().zip(&b.codes).position(|(a, b)| a != b);
        let codes =
            at.map(|at| differs("codes", at, a.codes.len(), [a.codes[at], b.codes[at]].map(f64::from)));
        codes.or_else(|| {
            let at = a.acc.iter().zip(&b.acc).position(|(a, b)| a != b)?;
            Some(differs("accumulators", at, a.acc.len(), [a.acc[at], b.acc[at]].map(f64::from)))
        })
    };
    a.iter().zip(b).enumerate().find_map(first)
}

/// Images that a network of this many pixels is verified on: [`IMAGES`] of them, the same for ever. The first is
/// black, the second white, the others random.
pub fn fixed_images(pixels: usize) -> Vec<u8> {
    let random = |image: u32| {
        let sixteen =
            move |at: u32| random::draw(0, Stream::Verify, image, at).into_iter().flat_map(u32::to_le_bytes);
        (0..pixels.div_ceil(16) as u32).flat_map(sixteen).take(pixels)
    };
    let flat = [0, 255].into_iter().flat_map(|level| std::iter::repeat_n(level, pixels));
    flat.chain((2..IMAGES as u32).flat_map(random)).collect()
}

/// Images in [`fixed_images`].
pub const IMAGES: usize = 64;

/// Runs batches on the device and hands on the integers of each.
fn on_device<T: Copy + Into<i32>>(
    gpu: &Gpu,
    network: &dyn Network,
    inputs: &[T],
    batch: usize,
    mut each: impl FnMut(usize, Vec<Integers>),
) -> Result<(), Error> {
    each_batch(gpu, network, inputs, batch, |bound, _, count| {
        let products = bound.pass.products.iter().map(|product| read(gpu, product));
        each(count, products.collect::<Result<_, Error>>()?);
        Ok(())
    })
}

/// Reads the integers of a product back.
fn read(gpu: &Gpu, product: &Product) -> Result<Integers, Error> {
    let filled: Vec<u32> = gpu.download(&product.codes.q)?;
    let rows = filled.chunks_exact(words(product.cols) * TRITS / 4);
    let codes = rows.flat_map(|row| row.iter().flat_map(|word| word.to_le_bytes()).take(product.cols));
    Ok(Integers { codes: codes.map(|code| code as i8).collect(), acc: gpu.download(&product.acc)? })
}
