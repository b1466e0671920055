//! One line for every integer of a forward pass: the sha256 of all int8 codes and all i32 accumulators,
//! on the device or on the twin. From the same stored trits and gains it is the same everywhere.
//!
//! What is hashed, in three bullets:
//! - image by image, so that the size of a batch leaves no mark; of an image layer by layer, first to last;
//! - of a layer its codes in, `[cols]` bytes, then its accumulators out, `[rows]`, each i32 little endian;
//! - nothing else: no padding, no sizes. Beta and epsilon move floats alone, so they leave no mark either.

use sha2::{Digest as _, Sha256};

use crate::gpu::{Error, Gpu};
use crate::model::Mlp;
use crate::reference::{self, Int8};
use crate::ternary::{Packed, TRITS, words};

/// The integers of one layer for a batch.
#[derive(Clone, Debug, PartialEq)]
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
    let pixels = mlp.shape.dims[0];
    assert!(images.len().is_multiple_of(pixels), "digest: {} pixels in images of {pixels}", images.len());
    let mut digest = Digest::default();
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
        digest.feed(count, &layers);
        (size, bound) = (count, Some((on, forward)));
    }
    Ok(digest.hex())
}

/// [`network`] on the CPU twin, plain and slow.
///
/// # Panics
/// If shapes do not chain.
pub fn twin(packed: &[Packed], gains: &[Vec<f32>], images: &[u8]) -> String {
    let pixels = packed[0].cols;
    assert!(images.len().is_multiple_of(pixels), "digest: {} pixels in images of {pixels}", images.len());
    let mut digest = Digest::default();
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
        digest.feed(images.len() / pixels, &layers);
    }
    digest.hex()
}
