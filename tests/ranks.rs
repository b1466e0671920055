//! Several ranks that train one network together: the same bits as one rank, whatever their number.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use common::{Shaders, choice};
use sterna::gpu::Gpu;
use sterna::mnist::{Dataset, Split};
use sterna::model::{Mlp, Network, Transformer};
use sterna::store::{Arch, Checkpoint};
use sterna::text::Corpus;
use sterna::train::{
    Alone, Augment, Config, Digits, Exchange, ExchangeError, Text, TextConfig, Threads, TrainError, Trainer,
};

/// Longer than any exchange of these tests takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Images of 10 x 12 in three classes.
fn set(images: usize) -> Dataset {
    let split = |count: usize| Split {
        images: (0..count * 120)
            .map(|i| ((i / 40 % 3 == i / 120 % 3) as u8) * 200 + (i * 7 % 31) as u8)
            .collect(),
        labels: (0..count).map(|i| (i % 3) as u8).collect(),
    };
    let (name, train, test) = ("bands".into(), split(images), split(30));
    Dataset { name, height: 10, width: 12, classes: 3, transposed: false, train, test }
}

/// Four steps of 32 images and one of two, in which most micro-batches are empty.
fn config(epochs: usize) -> Config {
    Config {
        epochs,
        batch: 32,
        hidden: vec![24],
        augment: Augment::Affine,
        micro_batches: Some(4),
        seed: 3,
        ..Config::default()
    }
}

const IMAGES: usize = 130;

/// What each of `size` ranks returns. Each rank opens a device of its own.
fn on_ranks<T: Send>(size: usize, work: impl Fn(&Gpu, Arc<dyn Exchange>) -> T + Sync) -> Vec<T> {
    let rank = |exchange: Arc<dyn Exchange>| {
        let gpu = Gpu::new(&choice(Shaders::Plain)).unwrap_or_else(|error| panic!("{error}"));
        work(&gpu, exchange)
    };
    if size == 1 {
        return vec![rank(Arc::new(Alone))];
    }
    std::thread::scope(|scope| {
        let ranks = Threads::new(size, TIMEOUT).into_iter();
        let handles: Vec<_> = ranks.map(|exchange| scope.spawn(|| rank(Arc::new(exchange)))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a rank ends")).collect()
    })
}

fn file<N: Network, S: sterna::train::Source>(trainer: &Trainer<N, S>, arch: &Arch) -> Checkpoint {
    trainer.checkpoint(arch, serde_json::Value::Null).expect("read back")
}

/// Trains all epochs, or those from a checkpoint on, up to epoch `end`.
fn train<N: Network, S: sterna::train::Source>(
    mut trainer: Trainer<N, S>,
    arch: &Arch,
    from: Option<&Checkpoint>,
    end: usize,
) -> Checkpoint {
    if let Some(from) = from {
        trainer.restore(from).expect("restored");
    }
    while trainer.epoch < end && !trainer.is_done() {
        trainer.run_epoch(&mut |_| {}).expect("an epoch");
    }
    assert_eq!(trainer.saturated, 0, "no gradient is out of range");
    file(&trainer, arch)
}

fn digits(gpu: &Gpu, exchange: Arc<dyn Exchange>, config: &Config) -> Trainer<Mlp, Digits> {
    Trainer::new_among(gpu, &set(IMAGES), config, exchange).expect("the data fits")
}

/// The file of digits after `end` epochs by `size` ranks. All ranks must have the same.
fn digits_file(size: usize, from: Option<&Checkpoint>, end: usize) -> Checkpoint {
    let config = config(3);
    let arch = config.shape(&set(IMAGES)).arch();
    let work = |gpu: &Gpu, exchange| train(digits(gpu, exchange, &config), &arch, from, end);
    same(on_ranks(size, work))
}

/// The file that all ranks have.
fn same(mut files: Vec<Checkpoint>) -> Checkpoint {
    let bytes: Vec<Vec<u8>> = files.iter().map(Checkpoint::to_bytes).collect();
    assert!(bytes.iter().all(|other| *other == bytes[0]), "the ranks have different files");
    files.swap_remove(0)
}

#[test]
fn any_number_of_ranks_gives_the_same_file_of_digits() {
    let alone = digits_file(1, None, 3);
    assert!(alone.is_finite());
    for size in [2, 3, 4] {
        assert!(digits_file(size, None, 3).to_bytes() == alone.to_bytes(), "{size} ranks");
    }
    // Begun by four ranks, continued by two and by one.
    let begun = digits_file(4, None, 1);
    assert!(begun.to_bytes() != alone.to_bytes());
    for size in [2, 1] {
        assert!(digits_file(size, Some(&begun), 3).to_bytes() == alone.to_bytes(), "resumed by {size}");
    }
}

#[test]
fn any_number_of_ranks_gives_the_same_file_of_a_text() {
    let corpus = Corpus::embedded();
    let config = TextConfig {
        steps: 9,
        every: 3,
        batch: 5,
        context: 16,
        layers: 1,
        width: 64,
        heads: 2,
        kv_heads: 1,
        ffn: 128,
        warmup: 2,
        micro_batches: Some(4),
        ..TextConfig::default()
    };
    let arch = config.shape(corpus.vocabulary.len()).arch_of_text(&corpus.vocabulary);
    let files = |size: usize, from: Option<&Checkpoint>, end: usize| {
        same(on_ranks(size, |gpu, exchange| {
            let trainer: Trainer<Transformer, Text> =
                Trainer::on_text_among(gpu, &corpus, &config, exchange).expect("the text fits");
            train(trainer, &arch, from, end)
        }))
    };
    let alone = files(1, None, 3);
    assert!(alone.is_finite());
    for size in [2, 4] {
        assert!(files(size, None, 3).to_bytes() == alone.to_bytes(), "{size} ranks");
    }
    let begun = files(4, None, 2);
    assert!(files(2, Some(&begun), 3).to_bytes() == alone.to_bytes(), "four resumed as two");
}

#[test]
fn the_gradient_of_micro_batches_is_that_of_the_whole_batch() {
    // Without variation the micro-batches hold the images of the whole batch.
    let data = set(64);
    let whole = Config { augment: Augment::None, epochs: 1, batch: 64, micro_batches: None, ..config(1) };
    let parts = Config { micro_batches: Some(4), ..whole.clone() };
    let gradients = |config: &Config| {
        on_ranks(1, |gpu, exchange| {
            let mut trainer = Trainer::new_among(gpu, &data, config, exchange).expect("the data fits");
            let score = trainer.run_epoch(&mut |_| {}).expect("an epoch");
            let params = trainer.network.params().iter();
            (
                score,
                params.map(|param| gpu.download::<f32>(param.grad()).expect("read back")).collect::<Vec<_>>(),
            )
        })
        .remove(0)
    };
    let ((score, whole), (of_parts, parts)) = (gradients(&whole), gradients(&parts));
    assert_eq!(score.accuracy, of_parts.accuracy);
    assert!((score.loss - of_parts.loss).abs() < 1e-6 * score.loss, "{score:?} {of_parts:?}");
    for (whole, parts) in whole.iter().zip(&parts) {
        let largest = whole.iter().fold(0f32, |largest, g| largest.max(g.abs()));
        for (whole, parts) in whole.iter().zip(parts) {
            // Four roundings to 2^-24 of the largest exponent, and sums of 64 terms in another order.
            assert!((whole - parts).abs() <= 1e-5 * largest, "{whole} and {parts} of at most {largest}");
        }
    }
}

#[test]
fn a_rank_with_other_weights_is_named() {
    // An epoch of 5 steps ends before the ranks compare for the first time, one of 101 steps does not.
    for (batch, images, step) in [(32, IMAGES, 5), (4, 404, 100)] {
        named_after(batch, images, step);
    }
}

fn named_after(batch: usize, images: usize, step: usize) {
    let config = Config { augment: Augment::None, batch, ..config(1) };
    let errors = on_ranks(3, |gpu, exchange| {
        let rank = exchange.rank();
        let trainer = Trainer::new_among(gpu, &set(images), &config, exchange);
        let mut trainer: Trainer<Mlp, Digits> = trainer.expect("the data fits");
        if rank == 1 {
            // So little that the trits stay equal at first.
            let param = &trainer.network.layers[1].weight;
            let other: Vec<f32> = gpu
                .download::<f32>(param.value())
                .expect("read back")
                .iter()
                .map(|w| 1.000_001 * w)
                .collect();
            gpu.write(param.value(), &other);
        }
        loop {
            match trainer.run(&mut |_| ControlFlow::Continue(())) {
                Ok(_) => assert!(trainer.steps() < 100, "nobody noticed"),
                Err(error) => return error,
            }
        }
    });
    for error in errors {
        let what = format!("after step {step}, layers.1.weight");
        let TrainError::Exchange(found) = &error else { panic!("{error}") };
        assert_eq!(*found, ExchangeError::Differs { what, ranks: vec![1] });
        let sentence = format!("after step {step}, layers.1.weight of rank 1 differs from that of rank 0");
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn ranks_find_the_step_at_which_values_stop_being_finite() {
    let config = Config { lr: 1e38, ..config(2) };
    let arch = config.shape(&set(IMAGES)).arch();
    let faults = on_ranks(2, |gpu, exchange| {
        let mut trainer = digits(gpu, exchange, &config);
        let start = file(&trainer, &arch);
        trainer.run_epoch(&mut |_| {}).expect("the device works");
        let saturated = trainer.saturated;
        (trainer.first_fault(&start, 5).expect("the device works").expect("it diverges"), saturated)
    });
    assert_eq!(faults[0].0.step, faults[1].0.step);
    assert!(faults.iter().all(|(_, saturated)| *saturated == faults[0].1 && *saturated > 0), "{faults:?}");
}

#[test]
fn one_rank_stops_all() {
    let answers = on_ranks(3, |gpu, exchange| {
        let rank = exchange.rank();
        let trainer = digits(gpu, exchange, &config(1));
        [trainer.any(rank == 2), trainer.any(false)].map(|answer| answer.expect("all ranks come"))
    });
    assert_eq!(answers, [[true, false]; 3]);
}

#[cfg(all(feature = "cli", not(feature = "mpi")))]
#[test]
fn a_program_without_mpi_says_what_to_build() {
    use common::process::{code, stderr};
    for (variable, program) in [("OMPI_COMM_WORLD_SIZE", "mpirun"), ("SLURM_STEP_NUM_TASKS", "srun")] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sterna"));
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("run");
        let output =
            command.env(variable, "4").arg("train").arg("--out").arg(&out).output().expect("it runs");
        let sentence = format!(
            "sterna: {program} started this program with 4 ranks, but it was built without MPI: build it with cargo build \
             --release --features mpi\n"
        );
        assert_eq!((code(&output), stderr(&output)), (2, sentence));
        assert!(!out.exists());
    }
}

/// A small run on a text with three micro-batches in a step, and its folder.
#[cfg(feature = "cli")]
fn small_run(folder: &std::path::Path) -> std::path::PathBuf {
    use common::process::{adapter_flags, code, program, stderr, text};
    let out = folder.join("run");
    let shape = ["--layers", "1", "--width", "64", "--heads", "2", "--ffn", "128", "--context", "16"];
    let mut command = program();
    command.args(["train", "--text", "--steps", "2", "--batch", "6", "--micro-batches", "3", "--no-tune"]);
    command.args(shape).args(adapter_flags(&["train"])).args(["--out", text(&out)]);
    let output = command.output().expect("it runs");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    out
}

#[cfg(feature = "cli")]
#[test]
fn scale_predicts_steps_from_own_work_and_a_network() {
    use common::process::{adapter_flags, code, program, stderr, stdout};
    let folder = tempfile::tempdir().expect("a folder");
    let out = small_run(folder.path());
    let model = out.join("model.safetensors");
    let before = std::fs::read(&model).expect("a checkpoint");
    let scale = |more: &[&str]| {
        let mut command = program();
        command.arg("scale").arg(&out).args(["--step-seconds", "0", "--no-tune"]).args(more);
        command.args(adapter_flags(&["scale"])).output().expect("it runs")
    };
    let flags = ["--ranks", "1,2,3,64", "--gbit", "8", "--latency-us", "100", "--json"];
    let output = scale(&flags);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    // One integer for each parameter, and one for each value, with those of three micro-batches and two more.
    let parameters = Checkpoint::load(&model).expect("a checkpoint").parameters;
    let values: usize = parameters.iter().map(|saved| saved.values.len().next_multiple_of(64)).sum();
    let integers = [parameters.len(), values + 2 * 3 + 2];
    assert_eq!(found["integers"], serde_json::json!(integers));
    let own = |i: usize| found["own"][i]["step_seconds"].as_f64().expect("seconds");
    let micro_batches = [0, 1, 2].map(|i| found["own"][i]["micro_batches"].as_u64());
    assert_eq!(micro_batches, [3, 2, 1].map(Some));
    let ring = |n: f64| -> f64 {
        integers.map(|count| 2.0 * (n - 1.0) * (100e-6 + 4.0 * count as f64 / (n * 1e9))).iter().sum()
    };
    let tree = |depth: f64| -> f64 {
        integers.map(|count| 2.0 * depth * (100e-6 + 4.0 * count as f64 / 1e9)).iter().sum()
    };
    let row = |i: usize, key: &str| found["rows"][i][key].as_f64();
    let near = |found: Option<f64>, want: f64| {
        let found = found.expect("a figure");
        assert!((found - want).abs() < 1e-9 + 1e-9 * want, "{found}, expected {want}");
    };
    near(row(0, "shared_seconds"), own(0));
    for (i, n, depth) in [(1, 2.0, 1.0), (2, 3.0, 2.0), (3, 64.0, 6.0)] {
        near(row(i, "ring_seconds"), ring(n));
        near(row(i, "tree_seconds"), tree(depth));
    }
    // Both exchanges are short, so the one with fewer messages is the faster. Two ranks send as many in both.
    near(row(1, "shared_seconds"), own(1) + ring(2.0));
    near(row(2, "shared_seconds"), own(2) + ring(3.0).min(tree(2.0)));
    near(row(2, "shared_efficiency"), own(0) / (own(2) + ring(3.0).min(tree(2.0))) / 3.0);
    assert_eq!(row(3, "shared_seconds"), None);
    let copies = found["copies_seconds"].as_f64().expect("seconds");
    near(row(3, "grown_seconds"), own(0) + copies + tree(6.0));
    // Two ranks on one adapter take turns.
    let output = scale(&["--ranks", "2", "--per-adapter", "2", "--json", "--gbit", "8", "--latency-us", "0"]);
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let own = found["own"][1]["step_seconds"].as_f64().expect("seconds");
    let bytes: usize = integers.iter().map(|count| 4 * count).sum();
    near(found["rows"][0]["shared_seconds"].as_f64(), 2.0 * own + bytes as f64 / 1e9);

    let output = scale(&[]);
    let said = stdout(&output);
    assert!(said.contains("own work of rank 0, ms  1 rank  2 ranks  3 ranks"), "{said}");
    assert!(said.replace('\n', " ").contains("10 Gbit/s (assumed), latency 50 µs (assumed)."), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    // Measuring changes nothing of the run.
    assert!(std::fs::read(&model).expect("a checkpoint") == before);

    for (more, sentence) in [
        (["--ranks", "4..2"], "--ranks 4..2: 4 is more than 2: give the smaller number first"),
        (["--micro-batches", "7"], "7 must lie between 1 and 6, the number of items in a step"),
        (["--gbit", "0"], "--gbit 0: give Gbit/s, above 0 and up to 1e6"),
    ] {
        let output = scale(&more);
        assert!(code(&output) == 2 && stderr(&output).contains(sentence), "{}", stderr(&output));
    }
}

#[cfg(feature = "cli")]
#[test]
fn gradients_that_are_no_numbers_are_counted_and_said() {
    use common::process::{adapter_flags, code, program, stderr, text};
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let mut command = program();
    command.args(["train", "--epochs", "1", "--hidden", "32", "--batch", "2000", "--augment", "none"]);
    command.args(["--lr", "1e38", "--micro-batches", "2", "--no-tune", "--out", text(&out)]);
    let output = command.args(adapter_flags(&["train"])).output().expect("it runs");
    let said = stderr(&output);
    assert_eq!(code(&output), 1, "{said}");
    assert!(
        said.contains(" gradient values were infinite or no numbers; as integers they are at the limit"),
        "{said}"
    );
    assert!(said.contains("sterna: the run diverged"), "{said}");
}
