//! Training as a whole: it learns, it repeats to the bit, and it drops nothing.

mod common;

use std::sync::OnceLock;

use common::{Shaders, gpu};
use sterna::mnist::{Dataset, Split};
use sterna::model::{Mlp, Precision, Shape, logits};
use sterna::store::{Checkpoint, Saved};
use sterna::train::{Augment, Config, Evaluator, Optimizer, Score, Trainer, classes};
use sterna::{Gpu, Packed};

fn mnist() -> &'static Dataset {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    DATA.get_or_init(Dataset::embedded)
}

/// The first `train` training and `test` test images of MNIST.
fn part(train: usize, test: usize) -> Dataset {
    let first = |split: &Split, count: usize| Split {
        images: split.images[..count * mnist().pixels()].to_vec(),
        labels: split.labels[..count].to_vec(),
    };
    Dataset { train: first(&mnist().train, train), test: first(&mnist().test, test), ..mnist().clone() }
}

fn train(gpu: &Gpu, data: &Dataset, config: Config) -> (Vec<Vec<f32>>, Vec<Score>) {
    let mut trainer = Trainer::new(gpu, data, &config).expect("the data fits");
    let scores = (0..config.epochs).map(|_| trainer.run_epoch(&mut |_| {}).expect("an epoch")).collect();
    (trainer.network.params.download(gpu).expect("downloaded"), scores)
}

#[test]
fn two_epochs_reach_what_the_recipe_promises() {
    let gpu = gpu(Shaders::Plain);
    let config = Config { epochs: 2, augment: Augment::None, ..Config::default() };
    let mut trainer = Trainer::new(gpu, mnist(), &config).expect("the data fits");
    let mut heard = Vec::new();
    trainer.run_epoch(&mut |images| heard.push(images)).expect("an epoch");
    trainer.run_epoch(&mut |_| {}).expect("an epoch");
    let test = Evaluator::new(gpu, &trainer.network, &mnist().test)
        .expect("the data fits")
        .score()
        .expect("a score");
    assert!(test.accuracy >= 0.974, "{test:?}");
    assert_eq!(trainer.steps(), 2 * 469, "the short batch is a step");
    assert!(
        heard.is_sorted() && heard.iter().all(|&images| images <= 60_000) && heard.len() > 3,
        "{heard:?}"
    );
}

#[test]
fn one_seed_gives_the_same_bits_and_another_gives_others() {
    let data = part(1000, 10);
    let config = Config { epochs: 2, hidden: vec![40, 24], ..Config::default() };
    let (first, scores) = train(gpu(Shaders::Plain), &data, config.clone());
    assert_eq!((&first, &scores), (&train(gpu(Shaders::Plain), &data, config.clone()).0, &scores));
    let (again, same) = train(gpu(Shaders::Plain), &data, config.clone());
    assert!(first == again && scores == same, "a second run differs");
    let (other, _) = train(gpu(Shaders::Plain), &data, Config { seed: 1, ..config });
    assert!(first != other, "another seed gives the same weights");
}

#[test]
fn checked_shaders_give_the_same_bits() {
    let data = part(500, 10);
    let config = Config { epochs: 1, batch: 100, hidden: vec![40, 24], ..Config::default() };
    assert!(train(gpu(Shaders::Plain), &data, config.clone()) == train(gpu(Shaders::Checked), &data, config));
}

#[test]
fn a_batch_of_64_is_overfitted() {
    let data = part(64, 64);
    let config = Config { epochs: 60, batch: 64, augment: Augment::None, ..Config::default() };
    let (_, scores) = train(gpu(Shaders::Plain), &data, config);
    assert_eq!(scores.last().map(|score| score.accuracy), Some(1.0), "{scores:?}");
}

#[test]
fn a_step_and_an_evaluation_see_every_image_once() {
    // At a rate of almost nothing the training score is the score of the first weights, whatever the
    // batches; 150 images are two batches of 64 and a short one of 22.
    let mut data = part(150, 10);
    data.test = data.train.clone();
    let gpu = gpu(Shaders::Plain);
    for batch in [150, 64, 1] {
        let config = Config {
            epochs: 1,
            batch,
            lr: 1e-30,
            hidden: vec![33],
            augment: Augment::None,
            ..Config::default()
        };
        let mut trainer = Trainer::new(gpu, &data, &config).expect("the data fits");
        let evaluator = Evaluator::new(gpu, &trainer.network, &data.test).expect("the data fits");
        let (trained, scored) =
            (trainer.run_epoch(&mut |_| {}).expect("an epoch"), evaluator.score().expect("a score"));
        assert_eq!(trained.accuracy, scored.accuracy, "batch {batch}");
        // A sum of 150 losses in another order: 150 roundings of 2^-24 each way.
        assert!(
            (trained.loss - scored.loss).abs() <= 2.0 * 150.0 * 2f64.powi(-24) * scored.loss,
            "batch {batch}"
        );
        let logits = logits(gpu, &trainer.network, &data.test.images).expect("predictions");
        let said = classes(&logits, data.classes);
        let hits =
            said.iter().zip(&data.test.labels).filter(|(said, label)| **said == usize::from(**label)).count();
        assert_eq!(hits as f64 / 150.0, scored.accuracy, "batch {batch}");
    }
}

/// The packed matrices are the twin's of the weights beside them.
fn assert_quantised(gpu: &Gpu, mlp: &Mlp) {
    for param in mlp.params.ternary() {
        let packed = param.packed().download(gpu).expect("downloaded");
        let weights: Vec<f32> = gpu.download(param.value()).expect("downloaded");
        let name = &param.parameter.name;
        assert!(packed == Packed::quantize(&weights, packed.rows, packed.cols), "{name}");
    }
}

#[test]
fn the_trits_are_always_those_of_the_weights() {
    // Widths that fill neither words, vectors nor blocks: what pads them must stay zero, or the betas would differ.
    let gpu = gpu(Shaders::Plain);
    let data = part(300, 10);
    for optimizer in [Optimizer::AdamW, Optimizer::Sgd] {
        let hidden = vec![37, 66, 5];
        let config =
            Config { epochs: 2, batch: 64, hidden, optimizer, weight_decay: 0.1, ..Config::default() };
        let mut trainer = Trainer::new(gpu, &data, &config).expect("the data fits");
        assert_quantised(gpu, &trainer.network);
        for _ in 0..2 {
            trainer.run_epoch(&mut |_| {}).expect("an epoch");
            assert_quantised(gpu, &trainer.network);
        }
    }
}

#[test]
fn layers_that_no_tensor_holds_together_lie_in_several() {
    // Two matrices of 96 MiB: many adapters bind only 128 MiB at once.
    let gpu = gpu(Shaders::Plain);
    let shape = Shape { dims: vec![5, 5000, 5000, 5000, 2], eps: 1e-5, precision: Precision::Ternary };
    let mlp = Mlp::upload(gpu, shape.clone(), &shape.initial(0)).expect("each of them fits");
    assert_quantised(gpu, &mlp);
}

#[test]
fn what_is_said_to_fit_fits_and_one_more_does_not() {
    let gpu = gpu(Shaders::Plain);
    let data = part(100, 10);
    let config = |hidden: Vec<usize>| Config { hidden, batch: 100, ..Config::default() };
    for asked in [vec![500_000_000], vec![80_000, 90_000], vec![90_000, 100, 90_000]] {
        config(asked.clone()).fits(gpu, &data).expect_err("too large");
        let widths = config(asked.clone()).widest_bound(gpu, &data).expect("advice");
        let widest = widths.iter().copied().max().expect("a width");
        config(widths.clone()).fits(gpu, &data).expect("it was said to fit");
        let more = widths.iter().map(|&width| if width == widest { width + 1 } else { width }).collect();
        config(more).fits(gpu, &data).expect_err("one more does not fit");
        assert!(widths.iter().zip(&asked).all(|(width, asked)| width <= asked), "{widths:?}");
    }
}

#[test]
fn the_rate_rises_for_half_an_epoch_and_ends_at_zero() {
    let config = Config { epochs: 4, batch: 10, lr: 0.5, ..Config::default() };
    let rates = config.rates(1000);
    assert_eq!(rates.len(), 400);
    let peak = rates.iter().copied().fold(0.0, f64::max);
    assert_eq!((rates[0], rates[49], peak), (0.01, 0.5, 0.5));
    assert!(rates[49..].is_sorted_by(|a, b| a >= b) && rates[399] < 1e-4 * peak, "{:?}", &rates[390..]);
}

#[test]
fn moments_and_weights_survive_the_file() {
    let gpu = gpu(Shaders::Plain);
    let data = part(200, 10);
    let config = Config { epochs: 1, batch: 50, hidden: vec![20], ..Config::default() };
    let mut trainer = Trainer::new(gpu, &data, &config).expect("the data fits");
    trainer.run_epoch(&mut |_| {}).expect("an epoch");
    let saved = trainer
        .checkpoint(&trainer.network.shape.arch(), serde_json::json!({"epoch": 1}))
        .expect("downloaded");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    saved.save(&path).expect("saved");
    let loaded = Checkpoint::load(&path).expect("loaded");
    assert_eq!(loaded, saved);
    assert_eq!(Shape::of(&loaded.arch).expect("an MLP").dims, [784, 20, 10]);
    let trained =
        |saved: &Saved| saved.moments.as_ref().is_some_and(|moments| moments.v.iter().any(|&v| v > 0.0));
    assert!(loaded.parameters.iter().all(trained), "moments of a trained network are not all zero");
}
