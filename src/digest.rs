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

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::gpu::{Error, Gpu, Op};
use crate::model::{
    AnyShape, BATCH, Network, Params, Precision, Product, TransformerShape, WeightSource, each_batch,
};
use crate::parameter::{Parameter, Role};
use crate::random::{self, Stream};
use crate::reference;
use crate::reference::transformer::{self, Layers};
use crate::rotary::rope_table;
use crate::store::{Difference, FileError, Model, Values, Weights};
use crate::ternary::{LEAST, Packed, RMSNORM_EPS, TRITS, words};

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

/// The fixed input for the verification of a network, with the expected integers. For given weights it never changes.
///
/// An MLP gets 64 images, and a transformer gets one sequence. The floats between the products of a transformer differ
/// a little from device to device. So each product that reads floats gets the rows that the CPU twin computed there
/// (teacher forcing). From given rows the integers are exact. If a row is so small that RMSNorm's lower bound applies,
/// its codes depend on an inexact square root. Such a row is left out, and its integers count as 0.
///
/// Of a transformer with more than [`ALL_LAYERS`] layers only the first, the middle and the last layer are verified, each
/// by itself: [`Fixed::sampled`]. The input of such a layer is made up.
pub struct Fixed {
    shape: AnyShape,
    inputs: Vec<i32>,
    /// The layers, if they are a sample. Their inputs are given, so `inputs` is empty.
    sample: Vec<usize>,
    products: Vec<Forced>,
    integers: Vec<Integers>,
}

/// The largest number of layers of a transformer that [`Fixed::of`] verifies whole.
pub const ALL_LAYERS: usize = 4;

/// The largest number of tokens that a sampled layer gets.
const SAMPLED_TOKENS: usize = 32;

/// The input of a product.
#[derive(Default)]
struct Forced {
    /// The rows of floats. It is `None` if the product reads integers.
    rows: Option<Vec<f32>>,
    /// Whether each row is left out. It is empty if all rows count.
    left_out: Vec<bool>,
}

impl Fixed {
    /// The fixed input for a network, with the integers of its twin.
    ///
    /// # Errors
    /// A clause, if this program does not run the network.
    pub fn of(model: &Model) -> Result<Fixed, String> {
        let shape = AnyShape::of(&model.arch)?;
        Ok(match &shape {
            AnyShape::Mlp(of) => {
                let (packed, gains) = model.parts();
                let images = fixed_images(of.dims[0]);
                let integers = twin_integers(&packed, &gains, &images);
                let inputs = images.into_iter().map(i32::from).collect();
                let products = integers.iter().map(|_| Forced::default()).collect();
                Fixed { shape, inputs, sample: Vec::new(), products, integers }
            }
            AnyShape::Transformer(of) => {
                let inputs = fixed_ids(of);
                let (products, integers) = taught(of, model, &inputs);
                let inputs = inputs.into_iter().map(|id| id as i32).collect();
                Fixed { shape, inputs, sample: Vec::new(), products, integers }
            }
        })
    }

    /// The fixed input for the first, the middle and the last layer of a ternary transformer, with the integers of the
    /// twin. The input of a layer are at most 32 rows of uniform numbers from -1 to 1, drawn by counter. So the memory
    /// holds one layer at a time, and no layer depends on another.
    ///
    /// # Errors
    /// If the source cannot be read.
    ///
    /// # Panics
    /// If the network is not ternary.
    pub fn sampled(shape: &TransformerShape, source: &dyn WeightSource) -> Result<Fixed, FileError> {
        assert_eq!(shape.precision, Precision::Ternary, "Fixed: the integers of a ternary network");
        let mut sample = vec![0, shape.layers / 2, shape.layers - 1];
        sample.dedup();
        let twin = Twin::new(shape, source);
        let a = twin.config.attention(1, shape.context.min(SAMPLED_TOKENS));
        let table = rope_table(0..a.tokens, a.width, shape.theta);
        let (mut products, mut integers) = (Vec::new(), Vec::new());
        for &layer in &sample {
            let block = twin.block(layer)?;
            let h = random::uniform(1, Stream::Verify, layer as u32, a.tokens * shape.width, 1.0);
            let pass = block.forward(&a, &table, shape.eps, h, transformer::Cache::new(&a));
            teach(pass, &mut products, &mut integers);
        }
        Ok(Fixed {
            shape: AnyShape::Transformer(shape.clone()),
            inputs: Vec::new(),
            sample,
            products,
            integers,
        })
    }

    /// The verified layers, if they are a sample. Otherwise it is empty, and all layers are verified.
    pub fn sample(&self) -> &[usize] {
        &self.sample
    }

    /// The input of the network.
    pub fn inputs(&self) -> &[i32] {
        &self.inputs
    }

    /// Number of images or sequences.
    pub fn items(&self) -> usize {
        match &self.shape {
            AnyShape::Mlp(shape) => self.inputs.len() / shape.dims[0],
            AnyShape::Transformer(_) if !self.sample.is_empty() => 1,
            AnyShape::Transformer(shape) => self.inputs.len() / shape.context,
        }
    }

    /// Number of rows of a product: images or tokens.
    pub fn rows(&self) -> usize {
        match &self.shape {
            AnyShape::Mlp(_) => self.items(),
            AnyShape::Transformer(shape) if !self.sample.is_empty() => shape.context.min(SAMPLED_TOKENS),
            AnyShape::Transformer(_) => self.inputs.len(),
        }
    }

    /// The twin's integers for each product.
    pub fn integers(&self) -> &[Integers] {
        &self.integers
    }

    /// Binds the products of a network and writes their inputs. The ops of a product change the input of no other one, so
    /// all of them may run in one list.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn bind(&self, gpu: &Gpu, network: &dyn Network) -> Result<Vec<(Vec<Op>, Product)>, Error> {
        let mut bound: Vec<(Vec<Op>, Product)> = Vec::new();
        let mut add = |ops: &[Op], products: Vec<Product>| {
            bound.extend(products.into_iter().map(|product| (ops[product.ops.clone()].to_vec(), product)));
        };
        if self.sample.is_empty() {
            let pass = network.bind(gpu, self.items(), None)?;
            gpu.write(&pass.input, &self.inputs);
            add(&pass.forward, pass.products);
        } else {
            let network = network.transformer().expect("the fixed input of a transformer");
            for &layer in &self.sample {
                let (ops, products) = network.bind_layer(gpu, layer, self.rows())?;
                add(&ops, products);
            }
        }
        for ((_, product), given) in bound.iter().zip(&self.products) {
            if let Some(rows) = &given.rows {
                gpu.write(&product.input, rows);
            }
        }
        Ok(bound)
    }

    /// The rows of a product that are left out, in order.
    pub fn left_out(&self, product: usize) -> Vec<usize> {
        let all = self.products[product].left_out.iter().enumerate();
        all.filter(|(_, left_out)| **left_out).map(|(row, _)| row).collect()
    }

    /// Computes the integers of a network on the device.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor or the device failed.
    pub fn on(&self, gpu: &Gpu, network: &dyn Network) -> Result<Vec<Integers>, Error> {
        let run = |((ops, product), given): (&(Vec<Op>, Product), &Forced)| {
            gpu.run(ops)?;
            Ok(without(read(gpu, product)?, &given.left_out))
        };
        self.bind(gpu, network)?.iter().zip(&self.products).map(run).collect()
    }

    /// The digest of these integers.
    pub fn hex(&self, integers: &[Integers]) -> String {
        let mut digest = Digest::default();
        digest.feed(self.items(), integers);
        digest.hex()
    }

    /// The first difference between the integers of a device and those of the twin: the number of the product, and the
    /// place.
    ///
    /// # Panics
    /// If the integers belong to another network.
    pub fn first_difference(&self, device: &[Integers]) -> Option<(usize, Difference)> {
        let difference = first_difference(device, &self.integers, self.rows())?;
        let i = difference.layer.expect("integers belong to a product");
        let (layer, name) = self.product(i);
        let of = if name.is_empty() { difference.of } else { format!("{name} {}", difference.of) };
        Some((i, Difference { layer: Some(layer), of, ..difference }))
    }

    /// The layer of product `i`, and the name of the product if a layer has several.
    pub fn product(&self, i: usize) -> (usize, &'static str) {
        match &self.shape {
            AnyShape::Mlp(_) => (i, ""),
            AnyShape::Transformer(shape) => {
                let products = shape.stacked();
                let layer = i / products.len();
                (self.sample.get(layer).copied().unwrap_or(layer), products[i % products.len()].0)
            }
        }
    }
}

/// The integers, with zeros in the rows that are left out.
fn without(mut integers: Integers, left_out: &[bool]) -> Integers {
    let Integers { codes, acc } = &mut integers;
    let (cols, rows) = (codes.len() / left_out.len().max(1), acc.len() / left_out.len().max(1));
    for row in (0..left_out.len()).filter(|&row| left_out[row]) {
        codes[row * cols..][..cols].fill(0);
        acc[row * rows..][..rows].fill(0);
    }
    integers
}

/// The sequence for the verification of every transformer of this shape.
fn fixed_ids(shape: &TransformerShape) -> Vec<u32> {
    let id = |at: usize| random::draw(1, Stream::Verify, 0, at as u32)[0] % shape.vocabulary as u32;
    (0..shape.context).map(id).collect()
}

/// Computes on the twin the rows of floats before every product of a transformer, and the integers of every product.
fn taught(shape: &TransformerShape, model: &Model, ids: &[u32]) -> (Vec<Forced>, Vec<Integers>) {
    let twin = twin_network(shape, model);
    let a = twin.config.attention(1, ids.len());
    let pass = twin.forward(&a, ids, twin.caches(&a));
    let (mut given, mut integers) = (Vec::new(), Vec::new());
    pass.blocks.into_iter().for_each(|block| teach(block, &mut given, &mut integers));
    (given, integers)
}

/// Appends the rows of floats before the products of a layer, and the integers of its products.
fn teach(block: transformer::BlockPass, given: &mut Vec<Forced>, integers: &mut Vec<Integers>) {
    let mut add = |product: transformer::Product, reads_floats: bool, before: &[bool]| {
        let transformer::Input::Codes(codes, step) = product.input else { return Vec::new() };
        // The lower bound applies if the real value of a code is at most a 127th of it. Rows up to twice this limit are
        // left out, because the last bits of a square root may differ.
        let small = |(row, step): (usize, &f32)| {
            127.0 * step < 2.0 * LEAST || before.get(row).is_some_and(|&left_out| left_out)
        };
        let left_out: Vec<bool> = step.iter().enumerate().map(small).collect();
        integers.push(without(Integers { codes: codes.q, acc: product.acc }, &left_out));
        given.push(Forced { rows: reads_floats.then_some(product.x), left_out: left_out.clone() });
        left_out
    };
    add(block.qkv, true, &[]);
    add(block.o, true, &[]);
    let gate_up = add(block.gate_up, true, &[]);
    // Down reads the integers of gate and up.
    add(block.down, false, &gate_up);
}

/// The constants of a transformer for the CPU twin.
pub fn twin_config(shape: &TransformerShape) -> transformer::Config {
    let &TransformerShape { layers, width, heads, kv_heads, ffn, vocabulary, theta, eps, .. } = shape;
    let &TransformerShape { precision, activation, sub_norms, tied, .. } = shape;
    let ternary = precision == Precision::Ternary;
    transformer::Config {
        layers,
        width,
        heads,
        kv_heads,
        ffn,
        vocabulary,
        theta,
        eps,
        ternary,
        activation,
        sub_norms,
        tied,
    }
}

/// The CPU twin of a transformer whose parameters are read when they are needed.
pub struct Twin<'a> {
    config: transformer::Config,
    parameters: Vec<Parameter>,
    source: &'a dyn WeightSource,
}

impl<'a> Twin<'a> {
    /// The twin of a transformer in this source.
    pub fn new(shape: &TransformerShape, source: &'a dyn WeightSource) -> Twin<'a> {
        Twin { config: twin_config(shape), parameters: shape.parameters(), source }
    }

    fn floats(&self, name: &str, rows: Range<usize>) -> Result<Cow<'_, [f32]>, FileError> {
        let i = self.parameters.iter().position(|parameter| parameter.name == name);
        self.source.floats(i.unwrap_or_else(|| panic!("no parameter {name}")), rows).map(Cow::Owned)
    }
}

impl Layers for Twin<'_> {
    type Error = FileError;

    fn config(&self) -> &transformer::Config {
        &self.config
    }

    fn block(&self, i: usize) -> Result<Cow<'_, transformer::Block>, FileError> {
        let prefix = format!("model.layers.{i}.");
        let (mut floats, mut trits) = (BTreeMap::new(), BTreeMap::new());
        for (i, Parameter { name, role, shape }) in self.parameters.iter().enumerate() {
            if !name.starts_with(&prefix) {
                continue;
            }
            let rows = if shape.len() == 2 { shape[0] } else { 1 };
            match role {
                Role::Ternary => drop(trits.insert(name.clone(), self.source.trits(i)?)),
                Role::Gain | Role::Float => {
                    drop(floats.insert(name.clone(), self.source.floats(i, 0..rows)?))
                }
            }
        }
        Ok(Cow::Owned(transformer::Block::new(&self.config, &prefix, &floats, &trits)))
    }

    fn embedding(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>, FileError> {
        self.floats(transformer::EMBEDDING, rows)
    }

    fn head(&self, rows: Range<usize>) -> Result<Cow<'_, [f32]>, FileError> {
        self.floats(if self.config.tied { transformer::EMBEDDING } else { transformer::HEAD }, rows)
    }

    fn gain(&self) -> Result<Cow<'_, [f32]>, FileError> {
        self.floats(transformer::NORM, 0..1)
    }
}

/// A transformer on the CPU twin, with the values that its parameters have on the device. Its matrices are quantised
/// from them.
///
/// # Errors
/// If the device failed.
pub fn twin_of(gpu: &Gpu, shape: &TransformerShape, params: &Params) -> Result<transformer::Network, Error> {
    let names = shape.parameters().into_iter().map(|parameter| parameter.name);
    let values = names.zip(params.download(gpu)?).collect();
    Ok(transformer::Network::new(&twin_config(shape), &values, &BTreeMap::new()))
}

/// The CPU twin of a transformer from a file.
///
/// # Panics
/// If the parameters of the file do not belong to its shape.
pub fn twin_network(shape: &TransformerShape, model: &Model) -> transformer::Network {
    let (mut floats, mut trits) = (BTreeMap::new(), BTreeMap::new());
    for Weights { parameter, values } in &model.parameters {
        match values {
            Values::Floats(values) => drop(floats.insert(parameter.name.clone(), values.clone())),
            Values::Trits(packed) => drop(trits.insert(parameter.name.clone(), packed.clone())),
        }
    }
    transformer::Network::new(&twin_config(shape), &floats, &trits)
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
