//! Train and evaluate a ternary network with nothing hidden: every op of a step in one list.
//!
//! `cargo run --release --example mnist`

use sterna::gpu::{Choice, Error, Gpu};
use sterna::kernels::{AdamW, Totals, gather_batch};
use sterna::mnist::{Dataset, Split};
use sterna::model::{Mlp, Precision, Shape, Update};
use sterna::random::permutation;

const BATCH: usize = 125; // divides 60,000 and 10,000, so no short batch is left
const STEPS: usize = 60_000 / BATCH;

fn main() -> Result<(), Error> {
    let gpu = Gpu::new(&Choice::default())?;
    let data = Dataset::embedded();
    let shape = Shape { dims: vec![784, 256, 128, 10], eps: 1e-5, precision: Precision::Ternary };
    let mlp = Mlp::upload(&gpu, shape.clone(), &shape.initial(0))?;
    let on = mlp.activations(&gpu, BATCH)?;

    // The learning rate of every step lies on the device, up for half an epoch, down to 0 in two; no weight decay.
    let rate = |step: usize| {
        [3e-3 * f64::min(step as f64 / (STEPS / 2) as f64, 1.0 - step as f64 / (2 * STEPS) as f64), 0.0]
    };
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let schedule = gpu.upload("schedule", &[2 * STEPS, 4], &adamw.schedule((0..2 * STEPS).map(rate)))?;

    // One step, bound once. gather -> forward -> loss -> backward -> update and quantise. The loss moves the clock.
    let train = Images::upload(&gpu, &data.train)?;
    let mut step = vec![train.gather(&gpu, &on.pixels, &on.labels)];
    step.extend(mlp.forward(&gpu, &on));
    step.push(mlp.loss(&gpu, &on, 0.0, &train.totals));
    step.extend(mlp.backward(&gpu, &on));
    step.extend(mlp.params.update(&gpu, Update::AdamW(adamw), None, &train.totals.clock, &schedule));

    for epoch in 0..2 {
        gpu.write(&train.order, &permutation(0, epoch, 60_000));
        gpu.write(&train.totals.clock, &[epoch * STEPS as u32, 0]);
        train.totals.clear(&gpu);
        for _ in 0..STEPS {
            gpu.run(&step)?;
        }
        let loss = gpu.download::<f32>(&train.totals.loss)?[0] / 60_000.0;
        println!("epoch {}: training loss {loss:.4}", epoch + 1);
    }

    let test = Images::upload(&gpu, &data.test)?;
    let mut step = vec![test.gather(&gpu, &on.pixels, &on.labels)];
    step.extend(mlp.forward(&gpu, &on));
    step.push(mlp.loss(&gpu, &on, 0.0, &test.totals));
    for _ in 0..10_000 / BATCH {
        gpu.run(&step)?;
    }
    let hits = gpu.download::<u32>(&test.totals.hits)?[0];
    println!("test accuracy {:.2} % on {}", f64::from(hits) / 100.0, gpu.name());
    Ok(())
}

/// One half of the data set on the device.
struct Images {
    pixels: sterna::Tensor,
    labels: sterna::Tensor,
    order: sterna::Tensor,
    totals: Totals,
}

impl Images {
    fn upload(gpu: &Gpu, split: &Split) -> Result<Images, Error> {
        let labels: Vec<u32> = split.labels.iter().map(|&label| label.into()).collect();
        let order: Vec<u32> = (0..labels.len() as u32).collect();
        Ok(Images {
            pixels: gpu.upload_bytes("pixels", &split.images)?,
            labels: gpu.upload("labels", &[labels.len()], &labels)?,
            order: gpu.upload("order", &[labels.len()], &order)?,
            totals: Totals::zeros(gpu, "totals")?,
        })
    }

    fn gather(&self, gpu: &Gpu, x: &sterna::Tensor, y: &sterna::Tensor) -> sterna::Op {
        gather_batch(gpu, &self.totals.clock, &self.order, &self.pixels, &self.labels, x, y)
    }
}
