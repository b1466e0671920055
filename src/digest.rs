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

use crate::gpu::{Error, Gpu};
use crate::model::{BATCH, Network, each_batch};
use crate::random::{self, Stream};
use crate::reference;
use crate::store::Difference;
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
        let mut products = Vec::new();
        for product in &bound.pass.products {
            let filled: Vec<u32> = gpu.download(&product.codes.q)?;
            let rows = filled.chunks_exact(words(product.cols) * TRITS / 4);
            let codes =
                rows.flat_map(|row| row.iter().flat_map(|word| word.to_le_bytes()).take(product.cols));
            let codes = codes.map(|code| code as i8).collect();
            products.push(Integers { codes, acc: gpu.download(&product.acc)? });
        }
        each(count, products);
        Ok(())
    })
}
