//! Images of digits as a source of batches: a data set on the device, the order of its images, and their variation.

mod config;

pub use config::{Augment, Config};

#[cfg(feature = "files")]
use super::Files;
use super::{Alone, Evaluator, Exchange, Source, Trainer};
use std::sync::Arc;

use crate::augment::Distortion;
use crate::gpu::{Dtype::*, Error, Fill, Gpu, Op, Tensor};
use crate::kernels;
use crate::mnist::{Dataset, Split};
use crate::model::{Mlp, Network, Pass};

/// An image, and its variants as the network sees them.
pub type Sample = (Vec<u8>, Vec<Vec<u8>>);

/// The files of a run on digits.
#[cfg(feature = "files")]
pub const FILES: Files = Files {
    begun: &["config.json", "augment.png"],
    epoch: &["curve.svg"],
    ended: &["weights.png", "confusion.png"],
};

impl Trainer<Mlp, Digits> {
    /// Uploads the training set and binds a step, from fresh parameters.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If the batch is 0 or exceeds the training set.
    pub fn new(gpu: &Gpu, data: &Dataset, config: &Config) -> Result<Trainer<Mlp, Digits>, Error> {
        Trainer::new_among(gpu, data, config, Arc::new(Alone))
    }

    /// [`Trainer::new`] for one of several ranks, see [`Trainer::among`].
    ///
    /// # Errors
    /// As [`Trainer::new`].
    ///
    /// # Panics
    /// As [`Trainer::among`].
    pub fn new_among(
        gpu: &Gpu,
        data: &Dataset,
        config: &Config,
        exchange: Arc<dyn Exchange>,
    ) -> Result<Trainer<Mlp, Digits>, Error> {
        config.fits(gpu, data)?;
        let (shape, source) = (config.shape(data), Digits::new(gpu, data, config)?);
        let values = shape.initial(config.seed);
        let (network, recipe) = (Mlp::upload(gpu, shape, &values)?, config.recipe(data.train.len()));
        Trainer::among(gpu, network, source, recipe, exchange)
    }
}

impl Evaluator {
    /// Uploads images and binds the forward pass.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn new(gpu: &Gpu, network: &dyn Network, split: &Split) -> Result<Evaluator, Error> {
        Evaluator::on(gpu, network, &Digits::fixed(gpu, "test", split)?)
    }
}

/// One half of a data set on the device.
pub struct Digits {
    images: Tensor,
    labels: Tensor,
    order: Tensor,
    count: usize,
    /// Height and width of an image.
    size: [usize; 2],
    /// The seed of the order and of the variations. Without a seed the order is that of the data set.
    seed: Option<u64>,
    distortion: Option<&'static Distortion>,
}

impl Digits {
    /// The training set, with the order and the variations of a config.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn new(gpu: &Gpu, data: &Dataset, config: &Config) -> Result<Digits, Error> {
        let (size, distortion) = ([data.height, data.width], config.augment.distortion());
        Ok(Digits { size, seed: Some(config.seed), distortion, ..Digits::fixed(gpu, "train", &data.train)? })
    }

    /// Images without variation, in their own order.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn fixed(gpu: &Gpu, name: &str, split: &Split) -> Result<Digits, Error> {
        let name = |what: &str| format!("{name}.{what}");
        let labels: Vec<u32> = split.labels.iter().map(|&label| u32::from(label)).collect();
        let order: Vec<u32> = (0..labels.len() as u32).collect();
        Ok(Digits {
            images: gpu.upload_bytes(&name("images"), &split.images)?,
            labels: gpu.upload(&name("labels"), &[labels.len()], &labels)?,
            order: gpu.upload(&name("order"), &[labels.len()], &order)?,
            count: labels.len(),
            size: [0, 0],
            seed: None,
            distortion: None,
        })
    }

    /// The variants of the first image of each of the first `classes` classes, each with `times` draws. It is `None`
    /// if images are not varied. The call changes the order of the images until the next epoch begins.
    ///
    /// # Errors
    /// If the device failed.
    pub fn samples(&self, gpu: &Gpu, classes: usize, times: usize) -> Result<Option<Vec<Sample>>, Error> {
        let (Some(distortion), Some(seed)) = (self.distortion, self.seed) else { return Ok(None) };
        let labels = gpu.download::<u32>(&self.labels)?;
        let first = |class: usize| labels.iter().position(|&label| label as usize == class);
        let chosen: Vec<u32> = (0..classes).filter_map(first).map(|i| i as u32).collect();
        let mut order: Vec<u32> = (0..self.count as u32).collect();
        order[..chosen.len()].copy_from_slice(&chosen);
        gpu.write(&self.order, &order);
        let count = self.size[0] * self.size[1];
        let clock = gpu.zeros("samples.clock", U32, &[2])?;
        let pixels = gpu.zeros("samples", I32, &[chosen.len(), count])?;
        let of = gpu.zeros("samples.labels", U32, &[chosen.len()])?;
        let Digits { images, labels, order, size, .. } = self;
        let shown = |op: Op, step: u32| {
            gpu.write(&clock, &[step, 0]);
            gpu.run([&op])?;
            let pixels = gpu.download::<i32>(&pixels)?;
            Ok(pixels.iter().map(|&pixel| pixel as u8).collect::<Vec<u8>>())
        };
        let originals = shown(kernels::gather_batch(gpu, &clock, order, images, labels, &pixels, &of), 0)?;
        let vary = || {
            kernels::augment_batch(gpu, distortion, seed, &clock, order, images, labels, *size, &pixels, &of)
        };
        let varied = (0..times).map(|step| shown(vary(), step as u32)).collect::<Result<Vec<_>, Error>>()?;
        let image = |all: &Vec<u8>, i: usize| all[i * count..][..count].to_vec();
        let sample = |i| (image(&originals, i), varied.iter().map(|all| image(all, i)).collect());
        Ok(Some((0..chosen.len()).map(sample).collect()))
    }
}

impl Source for Digits {
    fn items(&self) -> usize {
        self.count
    }

    fn labels(&self) -> usize {
        self.count
    }

    fn aim(&self) -> Vec<(Tensor, Fill)> {
        let order = |seed| (self.order.clone(), Fill::permutation(seed));
        self.seed.map(order).into_iter().collect()
    }

    fn fill(&self, gpu: &Gpu, clock: &Tensor, pass: &Pass) -> Vec<Op> {
        let Digits { images, labels, order, size, .. } = self;
        let (pixels, of) = (&pass.input, &pass.labels);
        vec![match (self.distortion, self.seed) {
            (Some(by), Some(seed)) => {
                kernels::augment_batch(gpu, by, seed, clock, order, images, labels, *size, pixels, of)
            }
            _ => kernels::gather_batch(gpu, clock, order, images, labels, pixels, of),
        }]
    }
}
