//! What explains a run and shows it: the loss within an epoch, `explain`, `trace` and `watch`, by the program as a
//! process.

#[path = "common/process.rs"]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use process::{adapter_flags, code, idx, program, stderr, stdout, text};
use serde_json::Value;

/// The program in a folder.
fn sterna(folder: &Path, args: &[&str]) -> Output {
    let mut command = program();
    command.current_dir(folder).args(args).args(adapter_flags(args)).output().expect("the program starts")
}

/// The only line of stdout.
#[track_caller]
fn json(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}", stderr(output));
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

#[track_caller]
fn refused(output: &Output, part: &str) {
    let said = stderr(output);
    assert!(code(output) == 2 && said.contains(part) && output.stdout.is_empty(), "{part:?} of: {said}");
}

/// A data set in which class `k` of 3 lights band `k` of an image of 6 x 5 pixels.
fn bands(folder: &Path) -> PathBuf {
    let data = folder.join("bands");
    fs::create_dir(&data).expect("created");
    for (half, count) in [("train", 150), ("t10k", 33)] {
        let pixel =
            |i: u32, p: u32| if p / 10 == i % 3 { 200 + (i * 7 + p) as u8 % 32 } else { (i + p) as u8 % 32 };
        let images: Vec<u8> = (0..count).flat_map(|i| (0..30).map(move |p| pixel(i, p))).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        fs::write(data.join(format!("{half}-images-idx3-ubyte")), idx(0x803, &[count, 6, 5], &images))
            .expect("written");
        fs::write(data.join(format!("{half}-labels-idx1-ubyte")), idx(0x801, &[count], &labels))
            .expect("written");
    }
    data
}

/// A run of two epochs of three steps.
fn train(folder: &Path, data: &Path, more: &[&str]) -> Output {
    let small =
        ["train", "--data", text(data), "--epochs", "2", "--batch", "64", "--hidden", "17", "--lr", "0.02"];
    sterna(folder, &[&small, more].concat())
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
}

#[test]
fn the_loss_within_an_epoch_is_kept_drawn_and_adds_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = bands(folder.path());
    let trained = train(folder.path(), &data, &["--out", "run"]);
    assert_eq!(code(&trained), 0, "{}", stderr(&trained));
    let metrics = fs::read_to_string(folder.path().join("run/metrics.jsonl")).expect("read");
    for line in metrics.lines() {
        let epoch: Value = serde_json::from_str(line).expect("JSON");
        let losses = numbers(&epoch["losses"]);
        assert_eq!((epoch["losses_every"].as_u64(), losses.len()), (Some(1), 3), "{epoch}");
        let mean = (64.0 * losses[0] + 64.0 * losses[1] + 22.0 * losses[2]) / 150.0;
        let whole = epoch["train_loss"].as_f64().expect("a loss");
        assert!((mean - whole).abs() < 1e-5 * whole, "{mean} of the steps, {whole} of the epoch");
        assert_eq!(numbers(&epoch["layer_flips"]).len(), 2);
    }
    let curve = fs::read_to_string(folder.path().join("run/curve.svg")).expect("read");
    assert!(curve.contains("train, a few steps"));
    let lines: Vec<String> =
        stderr(&trained).lines().filter(|line| line.starts_with("epoch")).map(String::from).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
    assert!(stdout(&trained).contains("there are no biases"));
}

#[test]
fn a_trace_adds_up_and_the_device_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, data) = (folder.path(), bands(folder.path()));
    for precision in ["ternary", "f32"] {
        assert_eq!(code(&train(here, &data, &["--out", precision, "--precision", precision])), 0);
        assert!(here.join(precision).join("weights.png").is_file(), "{precision}");
        // The run says where its images are.
        let line = json(&sterna(here, &["trace", precision, "--index", "4", "--neuron", "3", "--json"]));
        assert_eq!((line["label"].as_u64(), line["layers"][0]["neuron"].as_u64()), (Some(1), Some(3)));
        let layers = line["layers"].as_array().expect("layers");
        assert_eq!(layers.iter().map(|layer| numbers(&layer["sums"]).len()).collect::<Vec<_>>(), [17, 3]);
        for layer in layers {
            let (row, input) = (numbers(&layer["row"]), numbers(&layer["input"]));
            let sum: f64 = row.iter().zip(&input).map(|(w, x)| w * x).sum();
            let told = numbers(&layer["sums"])[layer["neuron"].as_u64().expect("a number") as usize];
            assert!((sum - told).abs() <= if precision == "f32" { 1e-5 } else { 0.0 }, "{sum} and {told}");
            if precision == "ternary" {
                let counts = ["add", "subtract", "skip"].map(|does| layer["counts"][does].as_u64());
                assert_eq!(counts.into_iter().flatten().sum::<u64>(), row.len() as u64);
            }
        }
        let shares = numbers(&line["probabilities"]);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((line["loss"].as_f64().expect("a loss") + shares[1].ln()).abs() < 1e-4);
        assert!(line["first_difference"].is_null());
        let told = sterna(
            here,
            &["trace", &format!("{precision}/model.safetensors"), "--index", "4", "--png", precision],
        );
        // A folder is no picture's name.
        refused(&told, "exists");
        let picture = format!("{precision}.png");
        let told = sterna(here, &["trace", precision, "--index", "4", "--png", &picture]);
        assert_eq!(code(&told), 0, "{}", stderr(&told));
        for part in [
            "it is a 1",
            "17 neurons <- 30 inputs, no bias",
            "cross-entropy  against the label 1",
            "The device computes the same",
        ] {
            assert!(stdout(&told).contains(part), "{part:?} is missing in {}", stdout(&told));
        }
        assert!(fs::read(here.join(&picture)).expect("read").starts_with(b"\x89PNG"));
    }
    refused(&sterna(here, &["trace", "ternary", "--index", "33"]), "test images 0 to 32");
    refused(&sterna(here, &["trace", "ternary", "--neuron", "17"]), "layer 0 has neurons 0 to 16");
    refused(&sterna(here, &["trace", "ternary", "--neuron", "1,1,1"]), "3 neurons, but there are 2 layers");
    refused(&sterna(here, &["trace", "ternary", "--data", "nowhere"]), "nowhere");
}

#[test]
fn what_is_explained_has_the_numbers_of_the_newest_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, data) = (folder.path(), bands(folder.path()));
    let list = sterna(here, &["explain"]);
    let topics: Vec<String> = stdout(&list)
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(String::from))
        .collect();
    assert_eq!(topics.len(), 14, "{}", stdout(&list));
    let said = |topic: &str| {
        let told = sterna(here, &["explain", topic]);
        assert_eq!(code(&told), 0, "{}", stderr(&told));
        stdout(&told)
    };
    assert!(said("perplexity").contains("No run here has numbers for this"));
    // The path of the program decides where the line ends.
    assert!(said("rope").replace('\n', " ").contains("train --text --steps 200"));
    assert_eq!(code(&train(here, &data, &["--out", "runs/first"])), 0);
    assert!(said("perplexity").contains("In runs/first, it is e^"));
    // Runs of a comparison lie one folder deeper, and the newest counts.
    let two = train(here, &data, &["--out", "runs/second", "--compare"]);
    assert_eq!(code(&two), 0, "{}", stderr(&two));
    assert!(said("perplexity").contains("In runs/second/f32-0, it is e^"), "{}", said("perplexity"));
    let line = json(&sterna(here, &["explain", "straight-through", "--run", "runs/first", "--json"]));
    assert_eq!(
        (line["topic"].as_str(), line["run"].as_str()),
        (Some("straight-through"), Some("runs/first"))
    );
    for topic in &topics {
        let text = said(topic);
        let last = text.lines().last().expect("a line");
        assert!(last.starts_with("See it: "), "{topic}: {text}");
    }
    refused(&sterna(here, &["explain", "adam", "--run", "runs/none"]), "--run runs/none is no run's folder");
    // A page of the wall is found here and one folder below, whatever number it was given.
    assert!(said("wall").contains("No wall.json here has numbers for this"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runs/2026-11-25-lavapipe-final/wall.json");
    fs::create_dir(here.join("wall")).expect("created");
    fs::copy(page, here.join("wall/wall.json")).expect("copied");
    fs::write(here.join("wall-broken.json"), "{").expect("written");
    let words = said("wall").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("(from wall/wall.json), memory is read at 12.7 GB/s"), "{words}");
}

#[test]
fn without_a_terminal_a_view_is_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, data) = (folder.path(), bands(folder.path()));
    refused(&sterna(here, &["watch"]), "runs/ holds no run");
    let trained = train(here, &data, &["--out", "runs/one", "--watch", "--json"]);
    assert_eq!(code(&trained), 0, "{}", stderr(&trained));
    let said = stderr(&trained);
    assert!(said.contains("no live view: ") && said.contains("the plain line instead"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("epoch")).count(), 2, "{said}");
    let seen = sterna(here, &["watch"]);
    assert_eq!((code(&seen), stdout(&seen).lines().count()), (0, 2), "{}", stderr(&seen));
    assert!(stderr(&seen).contains("runs/one: finished"), "{}", stderr(&seen));
    refused(&sterna(here, &["watch", "bands"]), "bands is no run's folder");
}
