//! One line for every integer of a forward pass: the SHA-256 of all int8 codes and all i32 accumulators, on the
//! device or on the twin. This module also finds the first difference between two runs. Equal trits and gains give an
//! equal digest on every device.
//!
//! The hashed bytes:
//! - the items, such as images, one after another, so the size of a batch does not matter. Each item has its products
//!   in the network's order;
//! - each product has its input codes, `[cols]` bytes, and then its accumulators, `[rows]`, each as i32
//!   little-endian;
//! - nothing else: no padding and no sizes. Beta and epsilon affect floats only, so they do not affect the digest
//!   either.

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
    /// The int8 input codes, `[batch, cols]`.
    pub codes: Vec<i8>,
    /// The accumulators, `[batch, rows]`.
    pub acc: Vec<i32>,
}

/// A digest under construction, batch by batch.
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Adds the next `batch` items, given by the integers of all products.
    ///
    /// # Panics
    /// If a length is not a multiple of `batch`.
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

    /// The digest of all items so far: 64 hexadecimal digits.
    pub fn hex(self) -> String {
        crate::store::hex(&self.0.finalize())
    }
}

/// The digest of a network on the device over whole items. It uses the current trits.
///
/// # Errors
/// If the adapter cannot bind a tensor or the device failed.
///
/// # Panics
/// If the inputs are not whole items of the network.
pub fn network<T: Copy + Into<i32>>(gpu: &Gpu, network: &dyn Network, inputs: &[T]) -> Result<String, Error> {
    network_in_batches(gpu, network, inputs, BATCH)
}

/// [`network`] with this many items per batch. The number changes the memory, not the digest.
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

/// The integers of every product on the device, for all items at once. Compare them with [`twin_integers`].
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

/// The digest of an MLP over images, computed by the CPU twin, which is slow.
///
/// # Panics
/// If the shapes do not chain.
pub fn twin(packed: &[Packed], gains: &[Vec<f32>], images: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.feed(images.len() / packed[0].cols, &twin_integers(packed, gains, images));
    digest.hex()
}

/// The integers of every layer of an MLP on the twin, for all images at once.
///
/// # Panics
/// If the shapes do not chain.
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

/// The first difference between the integers of two runs over `images` images. Layers are compared in order, and
/// codes before accumulators.
///
/// # Panics
/// If the runs have different shapes.
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

/// The images for the verification of a network with this many pixels. There are always the same [`IMAGES`] images: a
/// black one, a white one, and random ones.
pub fn fixed_images(pixels: usize) -> Vec<u8> {
    let random = |image: u32| {
        let sixteen =
            move |at: u32| random::draw(0, Stream::Verify, image, at).into_iter().flat_map(u32::to_le_bytes);
        (0..pixels.div_ceil(16) as u32).flat_map(sixteen).take(pixels)
    };
    let flat = [0, 255].into_iter().flat_map(|level| std::iter::repeat_n(level, pixels));
    flat.chain((2..IMAGES as u32).flat_map(random)).collect()
}

/// Number of images in [`fixed_images`].
pub const IMAGES: usize = 64;

/// Runs batches on the device and passes on the integers of each batch.
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
