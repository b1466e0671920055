//! One line for every integer of a forward pass: the sha256 of all int8 codes and all i32 accumulators,
//! on the device or on the twin, and where two runs first differ. From the same stored trits and gains it is the
//! same everywhere.
//!
//! What is hashed, in three bullets:
//! - image by image, so that the size of a batch leaves no mark; of an image layer by layer, first to last;
//! - of a layer its codes in, `[cols]` bytes, then its accumulators out, `[rows]`, each i32 little endian;
//! - nothing else: no padding, no sizes. Beta and epsilon move floats alone, so they leave no mark either.

use sha2::{Digest as _, Sha256};

use crate::formats::Difference;
use crate::gpu::{Error, Gpu};
use crate::model::Mlp;
use crate::random::{self, Stream};
use crate::reference::{self, Int8};
use crate::ternary::{Packed, TRITS, words};

/// The integers of one layer for a batch.
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
    /// Takes in the next `batch` images, from the integers of all layers.
    ///
    /// # Panics
    /// If a length is no multiple of `batch`.
    pub fn feed(&mut self, batch: usize, layers: &[Integers]) {
        for Integers { codes, acc } in layers {
            let whole = codes.len().is_multiple_of(batch) && acc.len().is_multiple_of(batch);
            assert!(whole, "Digest: {} codes and {} sums of {batch} images", codes.len(), acc.len());
        }
        for image in 0..batch {
            for Integers { codes, acc } in layers {
                let (cols, rows) = (codes.len() / batch, acc.len() / batch);
                self.0.update(bytemuck::cast_slice(&codes[image * cols..][..cols]));
                let acc = acc[image * rows..][..rows].iter().flat_map(|sum| sum.to_le_bytes());
                self.0.update(acc.collect::<Vec<u8>>());
            }
        }
    }

    /// The digest of all that was taken in: 64 digits.
    pub fn hex(self) -> String {
        crate::checkpoint::hex(&self.0.finalize())
    }
}

/// Images in one batch at most.
const BATCH: usize = 1000;

/// The digest of a network on the device over `images[count, pixels]`, from its packed weights as they are.
///
/// # Errors
/// If the adapter cannot bind a tensor or the device failed.
///
/// # Panics
/// If the images have another number of pixels than the network has inputs.
pub fn network(gpu: &Gpu, mlp: &Mlp, images: &[u8]) -> Result<String, Error> {
    network_in_batches(gpu, mlp, images, mlp.batch_that_fits(gpu, BATCH))
}

/// [`network`] with this many images at a time, which changes nothing but the memory that it takes.
///
/// # Errors
/// As [`network`].
///
/// # Panics
/// As [`network`].
pub fn network_in_batches(gpu: &Gpu, mlp: &Mlp, images: &[u8], batch: usize) -> Result<String, Error> {
    let mut digest = Digest::default();
    on_device(gpu, mlp, images, batch, |count, layers| digest.feed(count, &layers))?;
    Ok(digest.hex())
}

/// [`network`] on the CPU twin, plain and slow.
///
/// # Panics
/// If shapes do not chain.
pub fn twin(packed: &[Packed], gains: &[Vec<f32>], images: &[u8]) -> String {
    let mut digest = Digest::default();
    on_twin(packed, gains, images, |count, layers| digest.feed(count, &layers));
    digest.hex()
}

/// The integers of every layer on the device, for all images at once: to be compared with [`twin_integers`].
///
/// # Errors
/// As [`network`].
///
/// # Panics
/// As [`network`].
pub fn integers(gpu: &Gpu, mlp: &Mlp, images: &[u8]) -> Result<Vec<Integers>, Error> {
    let mut all = Vec::new();
    on_device(gpu, mlp, images, mlp.batch_that_fits(gpu, BATCH), |_, layers| append(&mut all, layers))?;
    Ok(all)
}

/// The integers of every layer on the twin, for all images at once.
///
/// # Panics
/// If shapes do not chain.
pub fn twin_integers(packed: &[Packed], gains: &[Vec<f32>], images: &[u8]) -> Vec<Integers> {
    let mut all = Vec::new();
    on_twin(packed, gains, images, |_, layers| append(&mut all, layers));
    all
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
        let differs = |of, at: usize, count: usize, values: [f64; 2]| {
            let width = count / images;
            Difference { layer: Some(layer), of, row: Some(at / width), column: Some(at % width), values }
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
fn on_device(
    gpu: &Gpu,
    mlp: &Mlp,
    images: &[u8],
    batch: usize,
    mut each: impl FnMut(usize, Vec<Integers>),
) -> Result<(), Error> {
    let pixels = mlp.shape.dims[0];
    assert!(images.len().is_multiple_of(pixels), "digest: {} pixels in images of {pixels}", images.len());
    let (mut size, mut bound) = (0, None);
    for images in images.chunks(batch * pixels) {
        let count = images.len() / pixels;
        // Bound once; the last batch may be shorter and is bound anew.
        let (on, forward) = match bound.take() {
            Some(bound) if size == count => bound,
            _ => {
                let on = mlp.activations(gpu, count)?;
                let forward = mlp.forward(gpu, &on);
                (on, forward)
            }
        };
        gpu.write(&on.pixels, &images.iter().map(|&pixel| i32::from(pixel)).collect::<Vec<_>>());
        gpu.run(&forward)?;
        let mut layers = Vec::new();
        for ((x, acc), &cols) in on.integers().zip(&mlp.shape.dims) {
            let filled: Vec<u32> = gpu.download(&x.q)?;
            let rows = filled.chunks_exact(words(cols) * TRITS / 4);
            let codes = rows.flat_map(|row| row.iter().flat_map(|word| word.to_le_bytes()).take(cols));
            layers.push(Integers { codes: codes.map(|code| code as i8).collect(), acc: gpu.download(acc)? });
        }
        each(count, layers);
        (size, bound) = (count, Some((on, forward)));
    }
    Ok(())
}

/// Runs batches on the twin and hands on the integers of each.
fn on_twin(packed: &[Packed], gains: &[Vec<f32>], images: &[u8], mut each: impl FnMut(usize, Vec<Integers>)) {
    let pixels = packed[0].cols;
    assert!(images.len().is_multiple_of(pixels), "digest: {} pixels in images of {pixels}", images.len());
    for images in images.chunks(BATCH * pixels) {
        let mut x: Vec<i32> = images.iter().map(|&pixel| i32::from(pixel)).collect();
        let mut layers = Vec::new();
        for (packed, gain) in packed.iter().zip(gains) {
            assert_eq!(gain.len(), packed.cols, "digest: gains of a layer");
            // The factors that travel beside the integers reach none of them: any unit and scale will do.
            let ones = vec![1.0; images.len() / pixels];
            let (Int8 { q: codes, .. }, _) = reference::rmsnorm_quantize(&x, &ones, gain, 1.0, 1.0);
            x = reference::matmul_ternary(&codes, packed);
            layers.push(Integers { codes, acc: x.clone() });
        }
        each(images.len() / pixels, layers);
    }
}
