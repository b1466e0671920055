//! The program as a process: exit codes, the JSON line, the run folder, and what it says to people
//! who make mistakes.

#[path = "common/process.rs"]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use process::{adapter_flags, code, idx, program, stderr, stdout, text};
use serde_json::Value;

fn sterna(args: &[&str]) -> Output {
    let mut command = program();
    command.args(args).args(adapter_flags(args)).output().expect("the program starts")
}

fn json(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("stdout is no JSON ({error}): {text}"))
}

/// Asserts exit code 2, one sentence that begins `sterna: ` and holds every `part`.
#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!(code(output), 2, "{said}");
    assert!(said.starts_with("sterna: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

/// Writes a data set of images of `height` x `width`, so many to train on and to test with: image `i` has the
/// label `label(i)` and the pixels `pixel(i, p)`, with some noise.
fn data_set(
    data: PathBuf,
    [height, width]: [u32; 2],
    counts: [u32; 2],
    label: impl Fn(u32) -> u8,
    pixel: impl Fn(u32, u32) -> u8,
) -> PathBuf {
    fs::create_dir(&data).expect("created");
    for (half, count) in ["train", "t10k"].into_iter().zip(counts) {
        let labels: Vec<u8> = (0..count).map(&label).collect();
        let noise = |i: u32, p: u32| ((i.wrapping_mul(2_654_435_761) ^ (p * 40_503)) >> 7) & 31;
        let image = |i: u32| (0..height * width).map(move |p| (i, p));
        let images: Vec<u8> =
            (0..count).flat_map(image).map(|(i, p)| noise(i, p) as u8 + pixel(i, p)).collect();
        let write = |name: &str, bytes: Vec<u8>| {
            fs::write(data.join(format!("{half}-{name}")), bytes).expect("written")
        };
        write("images-idx3-ubyte", idx(0x803, &[count, height, width], &images));
        write("labels-idx1-ubyte", idx(0x801, &[count], &labels));
    }
    data
}

/// A data set in which class `k` of 3 lights band `k` of an image of 6 x 5 pixels.
fn bands(folder: &Path) -> PathBuf {
    let lit = |i: u32, p: u32| if p / 10 == i % 3 { 200 } else { 0 };
    data_set(folder.join("bands"), [6, 5], [150, 33], |i| (i % 3) as u8, lit)
}

/// A data set of 26 classes in images of 10 x 12 pixels, labels from `first` on. Each class lights about half
/// of the pixels, those that a hash of it chooses; every image misses some of them and lights a few others.
fn letters(folder: &Path, first: u8) -> PathBuf {
    let lit = |i: u32, p: u32| {
        let hash = |a: u32, b: u32| {
            let x = (a * 120 + b).wrapping_mul(2_654_435_761);
            (x ^ x >> 15).wrapping_mul(2_246_822_519) >> 16
        };
        let off = hash(i + 1000, p) % 10 == 0;
        if (hash(i % 26, p) % 2 == 0) != off { 200 } else { 0 }
    };
    let name = format!("letters-from-{first}");
    data_set(folder.join(name), [10, 12], [26 * 40, 26 * 7], |i| first + (i % 26) as u8, lit)
}

/// A small run: 150 images, batch 64, so that the last batch is short.
fn small_run<'a>(data: &'a Path, out: &'a Path) -> Vec<&'a str> {
    let mut args = vec!["train", "--data", text(data), "--out", text(out), "--epochs", "3", "--batch", "64"];
    args.extend(["--hidden", "17,9", "--lr", "0.02", "--json"]);
    args
}

const KEYS: [&str; 21] = [
    "command",
    "adapter",
    "backend",
    "device_type",
    "precision",
    "epochs",
    "batch",
    "steps",
    "seed",
    "train_seconds",
    "samples_per_second",
    "seconds_per_epoch",
    "test_accuracy",
    "test_loss",
    "perplexity",
    "train_accuracy",
    "zeros",
    "bytes",
    "checkpoint",
    "schema",
    "sterna_version",
];

/// A benchmark that goes through little memory, as fast as it can.
const BRIEF: [&str; 5] = ["--seconds", "0", "--memory", "16", "--json"];

#[test]
fn bench_gemv_measures_every_variant_and_says_what_it_found() {
    // Whole vectors of words, and neither.
    let output = sterna(&[&["bench", "gemv", "--shapes", "40x192,7x33", "--all"], &BRIEF[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    for key in ["adapter", "device_type", "read_gb_per_s", "read_overrides", "rows", "left_out", "schema"] {
        assert!(!line[key].is_null(), "{key} is missing in {line}");
    }
    let rows = line["rows"].as_array().expect("rows");
    for (shape, bytes) in [([40, 192], 4 * (40 * 12 + 48 + 1 + 40)), ([7, 33], 4 * (7 * 3 + 12 + 1 + 7))] {
        for operation in [
            "gemv_f32",
            "gemv_f16",
            "gemv_i8",
            "gemv_ternary",
            "gemv_ternary_addsub",
            "gemv_base3",
            "gemv_bitplane",
        ] {
            let of = |row: &&Value| row["kernel"] == operation && row["shape"] == serde_json::json!(shape);
            let row = rows.iter().find(of).unwrap_or_else(|| panic!("no {operation} at {shape:?} in {line}"));
            for key in ["median_seconds", "min_seconds", "gb_per_s", "percent_of_read", "gops_per_s"] {
                assert!(row[key].as_f64() > Some(0.0), "{key} of {row}");
            }
            assert!(row["min_seconds"].as_f64() <= row["median_seconds"].as_f64(), "{row}");
            let samples = row["sample_seconds"].as_array().expect("samples");
            assert!(samples.len() == 21 && samples[0] == row["min_seconds"], "{row}");
            // However small: no cache holds what rotates and what is read between laps.
            let [rotating, read] =
                [&row["working_set_bytes"], &line["read_working_set_bytes"]].map(Value::as_u64);
            assert!(rotating >= Some(16 << 20) && rotating >= read, "{row}");
            for ratio in ["ratio_to_f32", "ratio_to_f16"] {
                assert!(row[ratio].as_f64() > Some(0.0) && row["blocks"] == 1, "{row}");
            }
            if operation == "gemv_ternary" {
                assert_eq!(row["bytes"], bytes);
            }
        }
    }
    assert!(stderr(&output).contains("bench gemv: "), "{}", stderr(&output));
}

#[test]
fn bench_gemv_takes_a_small_batch() {
    let flags = [&["--shapes", "40x192", "--all"], &BRIEF[..], &["--batch"]].concat();
    let output = sterna(&[&["bench", "gemv"], &flags[..], &["3"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    let rows = line["rows"].as_array().expect("rows");
    for (operation, bytes) in
        [("matmul_f32", 40 * 192 + 3 * (192 + 40)), ("matmul_ternary", 40 * 12 + 3 * (48 + 1 + 40))]
    {
        let row = rows.iter().find(|row| row["kernel"] == operation).expect(operation);
        assert_eq!(
            (&row["bytes"], line["batch"].as_u64()),
            (&serde_json::json!(4 * bytes), Some(3)),
            "{row}"
        );
        // Operations count for each row of activations, weights once.
        let [ops, weights] = ["gops_per_s", "gweights_per_s"].map(|key| row[key].as_f64().expect("a number"));
        assert!((ops / weights - 6.0).abs() < 1e-9, "{row}");
    }
    let small = |row: &&Value| row["kernel"] == "matmul_ternary_small";
    assert_eq!(rows.iter().filter(small).count(), 4, "2, 4, 8 and 16 columns: {line}");
    assert!(
        rows.iter().all(|row| row["ratio_to_f32"].as_f64() > Some(0.0) && !row["ratio_to_f16"].is_null()),
        "{line}"
    );
    for batch in ["0", "17", "x"] {
        let output = sterna(&[&["bench", "gemv"], &flags[..], &[batch]].concat());
        assert_eq!(code(&output), 2, "{batch}");
        assert!(stderr(&output).contains("1 to 16"), "{}", stderr(&output));
    }
}

#[test]
fn bench_matmul_holds_every_variant_against_its_limits() {
    let output =
        sterna(&[&["bench", "matmul", "--shapes", "40x33x20,7x192x3", "--all"], &BRIEF[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    for key in
        ["adapter", "read_gb_per_s", "dot4_i8_ops_per_second", "fma_f32_ops_per_second", "launch_seconds"]
    {
        assert!(!line[key].is_null(), "{key} is missing in {line}");
    }
    let rows = line["rows"].as_array().expect("rows");
    for (shape, macs) in [([40, 33, 20], 40.0 * 33.0 * 20.0), ([7, 192, 3], 7.0 * 192.0 * 3.0)] {
        let kernels = [
            "matmul_f32",
            "matmul_f16",
            "matmul_i8",
            "matmul_base3",
            "matmul_ternary",
            "matmul_ternary_large",
        ];
        for kernel in kernels {
            let of = |row: &&Value| row["kernel"] == kernel && row["shape"] == serde_json::json!(shape);
            let row = rows.iter().find(of).unwrap_or_else(|| panic!("no {kernel} at {shape:?} in {line}"));
            let seconds = row["median_seconds"].as_f64().expect("seconds");
            let rate = row["gmac_per_s"].as_f64().expect("a rate");
            assert!((rate - 1e-9 * macs / seconds).abs() < 1e-6 * rate, "{row}");
            let bound = row["bound_by"].as_str().expect("a limit");
            assert!(["bandwidth", "compute", "launch", "balanced"].contains(&bound), "{row}");
            for key in ["percent_of_bound", "ratio_to_f32", "ratio_to_f16", "gb_per_s", "gops_per_s"] {
                assert!(row[key].as_f64() > Some(0.0), "{key} of {row}");
            }
        }
    }
}

#[test]
fn bench_matmul_takes_the_batch_of_training_unless_told() {
    let output = sterna(&[&["bench", "matmul", "--shapes", "16x32", "--no-tune"], &BRIEF[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(json(&output)["rows"][0]["shape"], serde_json::json!([16, 32, 128]));
    let output = sterna(&["bench", "matmul", "--shapes", "16x32x1"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("sterna bench gemv"), "{}", stderr(&output));
}

#[test]
fn what_exceeds_a_grid_is_left_out_or_cut_with_its_reason() {
    let flags = ["--seconds", "0", "--no-tune", "--json"];
    let output = sterna(&[&["bench", "matmul", "--shapes", "1x1x70000,600000x1x2"], &flags[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    let of = |key: &str, shape: [usize; 3]| {
        let all = line[key].as_array().expect("rows");
        all.iter().filter(|row| row["shape"] == serde_json::json!(shape)).cloned().collect::<Vec<_>>()
    };
    let [left_out, cut] = [of("left_out", [1, 1, 70_000]), of("rows", [600_000, 1, 2])];
    assert!(!left_out.is_empty() && !cut.is_empty(), "{line}");
    for row in left_out {
        assert!(
            row["reason"].as_str().is_some_and(|why| why.contains("70000") && why.contains("65535")),
            "{row}"
        );
    }
    assert!(cut.iter().all(|row| row["blocks"] == 2), "{line}");
    let output = sterna(&["tune", "--shapes", "1x1x70000", "--product-seconds", "0"]);
    assert!(code(&output) == 0 && stdout(&output).contains("65535"), "{}", stderr(&output));
}

#[test]
fn bench_train_stops_in_time_and_after_two_epochs_at_least() {
    let output = sterna(&["bench", "train", "--train-seconds", "0", "--no-tune", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    let epochs = line["epoch_seconds"].as_array().expect("epochs");
    assert!(epochs.len() == 2 && epochs[1] == line["seconds_per_epoch"], "{line}");
    assert_eq!((&epochs[0], line["samples"].as_u64()), (&line["first_epoch_seconds"], Some(60_000)));
    let dispatches = line["dispatches_per_step"].as_u64().expect("a count");
    assert!((1..=20).contains(&dispatches), "{dispatches} dispatches a step");
    // Two epochs reach 97.6 % when the rate falls with them; here it is still near its peak.
    assert!(
        line["test_accuracy"].as_f64() >= Some(0.94) && line["train_loss"].as_f64() < Some(0.3),
        "{line}"
    );
}

#[test]
fn bench_refuses_what_is_no_shape() {
    for shapes in ["4096", "0x3", "axb", "3x4x5"] {
        let output = sterna(&["bench", "gemv", "--shapes", shapes]);
        assert_eq!(code(&output), 2, "{shapes}");
        assert!(stderr(&output).contains("ROWSxCOLS"), "{}", stderr(&output));
    }
    for command in [&["bench", "matmul"][..], &["tune"]] {
        for shapes in ["4096", "3x4x5x6", "0x4x5", "ax4x5"] {
            let output = sterna(&[command, &["--shapes", shapes]].concat());
            assert_eq!(code(&output), 2, "{shapes}");
            assert!(stderr(&output).contains("ROWSxCOLSxBATCH"), "{}", stderr(&output));
        }
    }
}

#[test]
fn a_run_leaves_its_folder_and_eval_repeats_its_score() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    let trained = sterna(&small_run(&data, &out));
    assert_eq!(code(&trained), 0, "{}", stderr(&trained));

    let line = json(&trained);
    for key in KEYS {
        assert!(!line[key].is_null(), "{key} is missing in {line}");
    }
    assert_eq!((line["command"].as_str(), line["precision"].as_str()), (Some("train"), Some("ternary")));
    assert_eq!(
        (line["epochs"].as_u64(), line["batch"].as_u64(), line["steps"].as_u64()),
        (Some(3), Some(64), Some(9))
    );
    let weights = 30 * 17 + 17 * 9 + 9 * 3;
    assert_eq!(line["bytes"]["f32"].as_u64(), Some(4 * weights));
    // Words of 16 trits: 17 rows of 2, 9 rows of 2, 3 rows of 1.
    assert_eq!(line["bytes"]["packed"].as_u64(), Some(4 * (34 + 18 + 3)));
    assert_eq!(line["bytes"]["base3"].as_u64(), Some(102 + 31 + 6));
    assert_eq!(line["zeros"].as_array().map(Vec::len), Some(3));
    assert!(line["seconds_per_epoch"].as_f64() > Some(0.0));
    assert_eq!(line["test_accuracy"].as_f64(), Some(1.0), "three bands are easy");
    let (loss, perplexity) = (line["test_loss"].as_f64(), line["perplexity"].as_f64());
    assert_eq!(loss.map(f64::exp), perplexity);

    let pictures = ["curve.svg", "augment.png", "weights.png", "confusion.png"];
    for name in ["config.json", "metrics.jsonl", "model.safetensors"].iter().chain(&pictures) {
        assert!(out.join(name).is_file(), "{name} is missing");
    }
    assert_eq!(fs::read_dir(&out).expect("listed").count(), 7, "nothing else is left behind");
    for name in &pictures[1..] {
        assert!(fs::read(out.join(name)).expect("read").starts_with(b"\x89PNG"), "{name}");
    }
    let config: Value =
        serde_json::from_slice(&fs::read(out.join("config.json")).expect("read")).expect("JSON");
    assert_eq!(config["config"]["hidden"], serde_json::json!([17, 9]));
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).expect("read");
    let epochs: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(epochs.len(), 3);
    assert_eq!(epochs[2]["test_accuracy"], line["test_accuracy"]);
    let curve = fs::read_to_string(out.join("curve.svg")).expect("read");
    assert!(curve.starts_with("<svg") && curve.trim_end().ends_with("</svg>"));
    assert_eq!(
        stderr(&trained).lines().filter(|line| line.starts_with("epoch")).count(),
        3,
        "a line per epoch"
    );

    let model = out.join("model.safetensors");
    let scored = sterna(&["eval", text(&model), "--data", text(&data), "--json"]);
    assert_eq!(code(&scored), 0, "{}", stderr(&scored));
    let again = json(&scored);
    assert_eq!(again["command"], "eval");
    for key in KEYS.iter().filter(|key| **key != "command") {
        assert_eq!(again[key], line[key], "{key}");
    }
    assert_eq!(again["confusion"], serde_json::json!([[11, 0, 0], [0, 11, 0], [0, 0, 11]]));

    // The digest is for people and for machines, and shaders compiled in another way give the same.
    let digest = again["digest"].as_str().expect("a text");
    assert!(digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digest}");
    let checked = sterna(&["eval", text(&model), "--data", text(&data), "--checked"]);
    let told = format!("Digest of all codes and accumulators: {digest}; the same on every machine");
    assert!(stdout(&checked).contains(&told), "{}", stdout(&checked));

    // Packed, it is the same network to everyone: score, loss to the last bit, digest.
    let packed = folder.path().join("packed");
    for coding in ["2bit", "base3"] {
        let args = ["pack", text(&model), "-o", text(&packed), "--to", coding, "--force"];
        assert_eq!(code(&sterna(&args)), 0);
        let scored = sterna(&["eval", text(&packed), "--data", text(&data), "--json"]);
        assert_eq!(code(&scored), 0, "{}", stderr(&scored));
        let of_packed = json(&scored);
        for (key, value) in again.as_object().expect("an object") {
            assert!(key == "checkpoint" || of_packed[key] == *value, "{key} of {of_packed}, as {coding}");
        }
    }

    let once_more = sterna(&small_run(&data, &out));
    assert_refused(&once_more, &["already holds a run"]);
}

#[test]
fn a_set_of_other_sizes_and_classes_trains_by_the_same_command() {
    let folder = tempfile::tempdir().expect("a folder");
    // Labels from 1 on, as in EMNIST letters, leave class 0 without an image and cost one row of the last matrix.
    for (first, classes) in [(0, 26), (1, 27)] {
        let data = letters(folder.path(), first);
        let out = folder.path().join(format!("run-{first}"));
        // These letters are patterns of single pixels, which do not survive being turned.
        let mut flags = vec!["--epochs", "5", "--hidden", "64,32", "--batch", "32", "--lr", "0.01", "--json"];
        flags.extend(["--augment", "none"]);
        let trained = sterna(&[&["train", "--data", text(&data), "--out", text(&out)], &flags[..]].concat());
        assert_eq!(code(&trained), 0, "{}", stderr(&trained));
        let line = json(&trained);
        let accuracy = line["test_accuracy"].as_f64().expect("a number");
        assert!(accuracy > 0.95, "labels from {first}: {accuracy}, {}", stderr(&trained));

        let config: Value =
            serde_json::from_slice(&fs::read(out.join("config.json")).expect("read")).expect("JSON");
        assert_eq!(config["dims"], serde_json::json!([120, 64, 32, classes]));
        let told = serde_json::json!({
            "name": format!("letters-from-{first}"), "height": 10, "width": 12, "classes": classes,
            "train_images": 26 * 40, "test_images": 26 * 7, "crc32": config["data"]["crc32"], "transposed": false, "folder": data,
        });
        assert_eq!(config["data"], told);

        let model = out.join("model.safetensors");
        let scored = sterna(&["eval", text(&model), "--data", text(&data), "--json"]);
        assert_eq!(code(&scored), 0, "{}", stderr(&scored));
        let again = json(&scored);
        assert_eq!(again["test_accuracy"], line["test_accuracy"]);
        let confusion = again["confusion"].as_array().expect("a matrix");
        let images = |row: &Value| row.as_array().expect("a row").iter().filter_map(Value::as_u64).sum();
        let rows: Vec<u64> = confusion.iter().map(images).collect();
        assert_eq!(rows, [vec![0; first.into()], vec![7; 26]].concat(), "labels from {first}");
    }
}

#[test]
fn require_turns_the_result_into_the_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = bands(folder.path());
    for (least, expected) in [("1", 0), ("0.2", 0), ("99.5", 0)] {
        let out = folder.path().join(least);
        let output = sterna(&[&small_run(&data, &out)[..], &["--require", least]].concat());
        assert_eq!(code(&output), expected, "{}", stderr(&output));
    }
    // A rate this small learns nothing in three epochs.
    let out = folder.path().join("unlearned");
    let output = sterna(&[&small_run(&data, &out)[..], &["--require", "1", "--lr", "1e-9"]].concat());
    assert_eq!(code(&output), 2, "clap refuses a flag given twice: {}", stderr(&output));
    let args = [
        "train",
        "--data",
        text(&data),
        "--out",
        text(&out),
        "--epochs",
        "1",
        "--lr",
        "1e-9",
        "--require",
        "1",
    ];
    let output = sterna(&args);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("below the required 1"), "{}", stderr(&output));
    assert!(out.join("model.safetensors").is_file(), "the run is kept");
}

#[test]
fn flags_out_of_range_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    let cases: [(&[&str], &[&str]); 12] = [
        (&["--epochs", "99999999999"], &["--epochs 99999999999", "steps"]),
        (&["--hidden", "132105"], &["a layer of width 132105"]),
        (&["--require", "1.5"], &["--require 1.5"]),
        (&["--batch", "0"], &["--batch 0", "1 or more"]),
        (&["--batch", "151"], &["--batch 151", "between 1 and the 150"]),
        (&["--hidden", "8,0"], &["--hidden 0", "1 or more"]),
        (&["--epochs", "0"], &["--epochs 0"]),
        (&["--lr", "0"], &["--lr 0"]),
        (&["--lr", "NaN"], &["--lr NaN"]),
        (&["--weight-decay=-1"], &["--weight-decay -1"]),
        (&["--label-smoothing", "1"], &["--label-smoothing 1"]),
        (&["--require", "101"], &["--require 101", "0.98 or 98"]),
    ];
    for (flags, parts) in cases {
        let output = sterna(&[&["train", "--data", text(&data), "--out", text(&out)], flags].concat());
        assert_refused(&output, parts);
        assert!(!out.exists(), "{flags:?} left a folder behind");
    }
    let unknown = sterna(&["train", "--epoch", "3"]);
    assert_eq!(code(&unknown), 2);
    assert!(stderr(&unknown).contains("--epochs"), "clap names the nearest flag: {}", stderr(&unknown));
}

#[test]
fn a_run_that_diverges_says_where_and_what_to_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    let rates = ["--lr", "1e38", "--weight-decay", "1e38"];
    let args = ["train", "--data", text(&data), "--out", text(&out), "--epochs", "3"];
    let output = sterna(&[&args[..], &rates].concat());
    let said = stderr(&output);
    assert_eq!((code(&output), output.stdout.len()), (1, 0), "{} {said}", stdout(&output));
    let model = out.join("model.safetensors");
    for part in [
        "the run diverged: in step 1, epoch 1, adamw wrote",
        "layers.",
        text(&model),
        "after step 0",
        "a smaller --lr",
    ] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
    let good = sterna::store::Checkpoint::load(&model).expect("the last good checkpoint");
    assert!(good.is_finite() && good.progress.is_some_and(|progress| progress.epoch == 0));
}

#[test]
fn images_with_more_pixels_than_exact_sums_allow_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (half, count) in [("train", 2u32), ("t10k", 2)] {
        let write = |name: &str, bytes| {
            fs::write(folder.path().join(format!("{half}-{name}")), bytes).expect("written")
        };
        write("images-idx3-ubyte", idx(0x803, &[count, 400, 400], &vec![9; 400 * 400 * count as usize]));
        write("labels-idx1-ubyte", idx(0x801, &[count], &[0, 1]));
    }
    let out = folder.path().join("run");
    let output = sterna(&["train", "--data", text(folder.path()), "--out", text(&out), "--batch", "1"]);
    assert_refused(&output, &["a layer of width 160000", "between 1 and 132104"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_survives_deaf_readers_and_a_lost_result_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = bands(folder.path());
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let run = |name: &str| {
        let out = folder.path().join(name);
        let mut command = program();
        command.args(small_run(&data, &out));
        command
    };
    let deaf = run("deaf").stderr(full()).output().expect("the program starts");
    assert_eq!((code(&deaf), json(&deaf)["command"].as_str()), (0, Some("train")));
    let lost = run("lost").stdout(full()).output().expect("the program starts");
    assert_eq!(code(&lost), 2);
    assert!(stderr(&lost).contains("the result cannot be written to stdout"), "{}", stderr(&lost));
    assert!(folder.path().join("lost/model.safetensors").is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_for_whatever_is_printed_and_a_closed_pipe_is_none() {
    for command in [
        "--help",
        "--version",
        "train --help",
        "help bench",
        "man",
        "completions bash",
        "formats",
        "formats --json",
        "kernels",
        "kernels relu --to wgsl",
        "explain trit",
        "info",
        "energy --tables-only",
    ] {
        let run = |to: fs::File| {
            let args: Vec<&str> = command.split(' ').collect();
            program().args(args).stdout(to).output().expect("the program starts")
        };
        let full = run(fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
        let said = stderr(&full);
        assert_eq!((code(&full), said.lines().count()), (2, 1), "{command}: {said}");
        assert!(said.contains("stdout: the disk is full"), "{command}: {said}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = run(std::os::fd::OwnedFd::from(writer).into());
        assert_eq!((code(&closed), stderr(&closed)), (0, String::new()), "{command}");
    }
}

#[test]
fn a_taken_folder_is_refused_before_a_device_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, at) = (bands(folder.path()), |name: &str| folder.path().join(name));
    let run = |command: &[&str], folder: &Path| {
        // Whoever opens a device finds none of this name.
        sterna(
            &[&["train", "--data", text(&data), "--adapter", "no such card"], command, &[text(folder)]]
                .concat(),
        )
    };
    assert_eq!(code(&sterna(&small_run(&data, &at("run")))), 0);
    fs::write(at("file"), "in the way").expect("written");
    fs::create_dir(at("mine")).expect("created");
    fs::write(at("mine/curve.svg"), "mine").expect("written");
    fs::create_dir(at("both")).expect("created");
    fs::rename(at("mine"), at("both/f32-0")).expect("moved");
    for (flags, name, parts) in [
        (&["--out"][..], "run", &["already holds a run", "--resume", "--force"][..]),
        (&["--out"], "both/f32-0", &["curve.svg exists", "--force"]),
        (&["--out"], "file", &["--out", "a file has this name", "choose another"]),
        (&["--out"], "file/run", &["--out", "a file stands in its path"]),
        (&["--compare", "--out"], "both", &["curve.svg exists", "--force"]),
    ] {
        assert_refused(&run(flags, &at(name)), parts);
    }
    // Nor is a device opened for a folder that another process trains in.
    let metrics = fs::File::open(at("run/metrics.jsonl")).expect("opened");
    metrics.try_lock().expect("nobody trains");
    for flags in [&["--out"][..], &["--force", "--out"], &["--epochs", "9", "--resume"]] {
        assert_refused(&run(flags, &at("run")), &["another process trains in", "sterna watch"]);
    }
    metrics.unlock().expect("it is ours");
    // A new folder is none of the reasons, and is not made for nothing.
    assert_refused(&run(&["--out"], &at("new")), &["no such card"]);
    assert!(!at("new").exists());
}

#[test]
fn arguments_are_refused_in_one_sentence_that_helps() {
    for (args, parts) in [
        (&["train", "--epochs", "-1"][..], &["--epochs -1: give a whole number, 1 or more"][..]),
        (&["train", "--epochs="], &["--epochs '': give a whole number"]),
        (&["train", "--hidden", "12,two"], &["--hidden two: give a whole number"]),
        (&["train", "--hidden", "-1,2"], &["FLAG=LIST"]),
        (&["train", "--require", "3"], &["--require 3: give an accuracy"]),
        (&["wall", "--memory", "2"], &["--memory 2: give a whole number from 4 to 1073741824"]),
        (&["train", "--precision", "f16"], &["--precision f16", "give one of ternary, f32"]),
        (&["train", "--precision"], &["--precision needs a value", "ternary, f32"]),
        (&["explain", "trits"], &["TOPIC trits", "did you mean trit", "straight-through"]),
        (&["kernels", "--jsn"], &["no flag --jsn (did you mean --json?)", "`sterna kernels --help`"]),
        (&["trian"], &["no command trian (did you mean", "train"]),
        (&["bench", "gem"], &["no command gem", "`sterna bench --help`"]),
        (&["eval", "one", "two"], &["two is one word too many", "`sterna eval --help`"]),
        (&["export", "model"], &["--to <FORMAT> and --out <FILE> are missing", "`sterna export --help`"]),
        (&["train", "--resume", "a", "--out", "b"], &["--resume does not go with --out"]),
        (&["train", "--epochs", "2", "--epochs", "3"], &["--epochs is given twice"]),
        (&["train", "--json=yes"], &["--json takes no value, but yes is one"]),
        (&["kernels", "a\nb"], &[r"no kernel is called a\nb"]),
        (&["explain", "a\nb"], &[r"TOPIC a\nb"]),
        (&["man", "a\nb"], &[r"no command a\nb"]),
        (&["eval", "one", "a\nb"], &[r"a\nb is one word too many"]),
        (&["profile", "gemv", "--kernel", "a\nb"], &[r"no kernel is called a\nb"]),
    ] {
        let output = sterna(args);
        assert_refused(&output, parts);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(!stderr(&output).contains("'-- "), "a tip that does not help: {}", stderr(&output));
    }
}

#[test]
fn no_file_is_refused_in_the_words_of_the_system() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_string();
    let (data, run) = (bands(folder.path()), at("run"));
    assert_eq!(code(&sterna(&small_run(&data, Path::new(&run)))), 0);
    fs::write(at("file"), "this is no model").expect("written");
    fs::write(at("empty"), "").expect("written");
    let whole = fs::read(at("run/model.safetensors")).expect("read");
    fs::write(at("cut"), &whole[..whole.len() / 2]).expect("written");
    fs::write(at("header"), &whole[..99]).expect("written");
    fs::create_dir(at("folder")).expect("created");
    let missing = "there is no such file or folder";
    let path = "a file stands in its path where a folder should";
    let file = "a file has this name, not a folder";
    for (command, part) in [
        ("eval none", missing),
        ("eval file/none", path),
        ("eval empty", "is empty"),
        ("eval cut", "the file is cut off"),
        ("inspect header", "the file is cut off"),
        ("train --resume none", missing),
        ("predict none", missing),
        ("predict folder", "folder is a folder without a model.safetensors"),
        ("predict run", "for "),
        ("pack run -o none/file", "the folder that it should lie in is not there"),
        ("pack run -o file/none", path),
        ("inspect run -o file", file),
        ("inspect run -o file/none", path),
        ("profile eval -o file/none", path),
        ("trace run -o none/file", "the folder that it should lie in is not there"),
        ("train --data file", "a file; give the folder"),
        ("train --data none", missing),
        ("wall -o file", file),
        ("wall -o file/none", path),
        ("wall --compare none", missing),
        ("wall --compare folder", "it is a folder"),
        ("watch none", "there is no folder of that name"),
        ("watch folder", "it has no config.json"),
        ("explain trit --run folder", "is no run's folder"),
        ("verify run --against none", missing),
        ("import none -o out", missing),
    ] {
        let args: Vec<&str> = command.split(' ').collect();
        let mut all = program();
        let output = all.current_dir(folder.path()).args(&args).args(adapter_flags(&args)).output();
        let output = output.expect("the program starts");
        assert_refused(&output, &[part]);
        let said = stderr(&output);
        for bare in ["os error", "No such file", "Not a directory", "File exists"] {
            assert!(!said.contains(bare), "{command}: {said}");
        }
        assert_eq!(said.lines().count(), 1, "{command}: {said}");
    }
}

#[test]
fn a_matrix_too_large_for_the_adapter_is_refused_with_its_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    let output = sterna(&["train", "--data", text(&data), "--out", text(&out), "--hidden", "130000,130000"]);
    assert_refused(
        &output,
        &["layers.1.weight needs", "binds at most", "the largest that fits is --hidden "],
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_network_too_large_for_the_memory_is_refused_with_what_would_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    let hidden = ["5000"; 12].join(",");
    let mut args =
        vec!["train", "--data", text(&data), "--out", text(&out), "--hidden", &hidden, "--no-tune"];
    let adapter = adapter_flags(&args);
    args.extend(adapter.iter().map(String::as_str));
    // 4.4 GB of weights, gradients and moments in a process that may have 3.
    let script = format!("ulimit -v 3000000; exec {} {}", env!("CARGO_BIN_EXE_sterna"), args.join(" "));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    assert_refused(&output, &[" needs ", "has no more memory after ", "the largest that fits is --hidden "]);
    assert!(!out.exists(), "a refusal leaves a folder behind");
}

#[test]
fn adapters_that_are_not_there_are_answered_with_those_that_are() {
    let absent = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    for flags in [["--backend", absent], ["--adapter", "no such card"]] {
        for command in ["train", "info"] {
            let output = sterna(&[&[command], &flags[..]].concat());
            assert_refused(&output, &["nothing matches", flags[1], "this machine has\n  "]);
        }
    }
    let output = sterna(&["train", "--backend", "cuda"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("vulkan, metal, dx12, gl"), "{}", stderr(&output));
}

#[cfg(target_os = "linux")]
#[test]
fn no_adapter_at_all_is_answered_with_the_line_that_installs_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = text(folder.path());
    let output = program()
        .args(["train", "--epochs", "1", "--out", text(&folder.path().join("run"))])
        .envs([("VK_DRIVER_FILES", nowhere), ("VK_ICD_FILENAMES", nowhere)])
        .envs([("__EGL_VENDOR_LIBRARY_FILENAMES", nowhere), ("LIBGL_DRIVERS_PATH", nowhere)])
        .output()
        .expect("the program starts");
    assert_refused(&output, &["no GPU adapter found", "install"]);
    assert_eq!(stderr(&output).lines().count(), 1, "one sentence");
}

#[test]
fn a_data_set_that_is_broken_is_refused_with_the_file_that_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = bands(folder.path());
    let labels = data.join("t10k-labels-idx1-ubyte");
    let good = fs::read(&labels).expect("read");
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("into memory");
        encoder.finish().expect("into memory")
    };
    let mut corrupt = gzip(&good);
    *corrupt.last_mut().expect("a trailer") ^= 1;
    *corrupt.iter_mut().rev().nth(6).expect("a checksum") ^= 1;
    let broken: [(&str, Vec<u8>); 6] = [
        ("truncated", good[..good.len() - 1].to_vec()),
        ("wrong magic", idx(0x999, &[33], &good[8..])),
        ("trailing bytes", [&good[..], b"?"].concat()),
        ("fewer labels than images", idx(0x801, &[32], &good[8..40])),
        ("a label out of range", idx(0x801, &[33], &[&good[8..40], &[7]].concat())),
        ("a corrupt gzip", corrupt),
    ];
    for (what, bytes) in broken {
        fs::write(&labels, bytes).expect("written");
        let out = folder.path().join("run");
        let output = sterna(&["train", "--data", text(&data), "--out", text(&out)]);
        assert_refused(&output, &["t10k-labels-idx1-ubyte"]);
        assert!(!out.exists(), "{what} left a folder behind");
    }
    fs::remove_file(&labels).expect("removed");
    assert_refused(&sterna(&["train", "--data", text(&data)]), &["t10k-labels-idx1-ubyte"]);
    assert_refused(&sterna(&["train", "--data", text(&folder.path().join("none"))]), &["none"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_found_out_before_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = bands(folder.path());
    let file = folder.path().join("file");
    fs::write(&file, "in the way").expect("written");
    let output = sterna(&small_run(&data, &file.join("run")));
    assert_refused(&output, &["--out", "cannot be written"]);
    assert!(!stderr(&output).contains("epoch"), "{}", stderr(&output));
}

#[test]
fn eval_refuses_what_is_no_model_or_belongs_to_another_data_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    assert_refused(&sterna(&["eval", text(&folder.path().join("none"))]), &["none", "cannot be read"]);
    let file = folder.path().join("file");
    fs::write(&file, "this is no model").expect("written");
    assert_refused(&sterna(&["eval", text(&file)]), &["is text", "this is no model"]);
    let trained = sterna(&small_run(&data, &out));
    assert_eq!(code(&trained), 0, "{}", stderr(&trained));
    let output = sterna(&["eval", text(&out.join("model.safetensors"))]);
    assert_refused(&output, &["maps 30 pixels to 3 classes", "28 x 28", "--data DIR"]);
}

#[test]
fn info_names_the_adapter_it_would_use() {
    let output = sterna(&["info", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    assert_eq!(line["command"], "info");
    let adapters = line["adapters"].as_array().expect("a list");
    assert_eq!(adapters[0]["name"], line["used"]);
    for key in ["backend", "kind", "driver", "shader_compiler", "subgroup_sizes", "largest_binding"] {
        assert!(adapters[0][key].is_string(), "{key}");
    }
    assert!(stdout(&sterna(&["info"])).contains("used because"));
}

#[test]
fn help_has_examples_and_no_arguments_means_help() {
    let commands = ["train", "eval", "pack", "verify", "inspect"].map(|command| [command, "--help"]);
    for args in std::iter::once(&["--help"][..]).chain(commands.iter().map(|args| &args[..])) {
        let output = sterna(args);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("Example"), "{args:?}");
    }
    let output = sterna(&[]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("Usage"), "{}", stderr(&output));
}

#[test]
fn compare_trains_both_from_one_seed_into_one_table_and_one_curve() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = bands(folder.path());
    for (more, seeds, names, bytes) in [
        (&[][..], 1, ["ternary", "f32"], ["packed", "f32"]),
        (&["--no-shadow"], 1, ["without shadow weights", "with shadow weights"], ["packed", "packed"]),
        // What is there of seed 0 is taken up.
        (&["--seeds", "2"], 2, ["ternary", "f32"], ["packed", "f32"]),
    ] {
        let out = folder.path().join(names[0]);
        let args = [&small_run(&data, &out)[..], &["--compare"], more].concat();
        let output = sterna(&args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let line = json(&output);
        let runs = line["compare"].as_array().expect("a pair for each seed");
        assert_eq!(runs.len(), seeds);
        let mean = |name: &str, bytes: &str| {
            let accuracies = runs.iter().enumerate().map(|(seed, pair)| {
                assert!(pair[name]["seed"] == seed && pair[name]["bytes"][bytes].is_u64(), "{line}");
                pair[name]["test_accuracy"].as_f64().expect("a share")
            });
            100.0 * accuracies.sum::<f64>() / seeds as f64
        };
        let gap = mean(names[1], bytes[1]) - mean(names[0], bytes[0]);
        assert!((line["gap_points"].as_f64().expect("a gap") - gap).abs() < 1e-9, "{line}");
        let curve = fs::read_to_string(out.join("compare.svg")).expect("a curve");
        for name in names {
            assert!(curve.contains(name), "{name}");
            for seed in 0..seeds {
                let run = out.join(format!("{}-{seed}", name.replace(' ', "-")));
                assert!(run.join("model.safetensors").is_file(), "{name} {seed}");
            }
        }
        // The same command takes up what is there: here two finished runs.
        let again = sterna(&args);
        assert_eq!(code(&again), 0, "{}", stderr(&again));
        assert_eq!(json(&again)["compare"], line["compare"]);
    }
    assert_refused(
        &sterna(&["train", "--no-shadow", "--precision", "f32"]),
        &["--no-shadow needs --precision ternary"],
    );
}

#[test]
fn a_float_network_is_trained_and_scored_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (bands(folder.path()), folder.path().join("run"));
    let args = [&small_run(&data, &out)[..], &["--precision", "f32", "--optimizer", "sgd"]].concat();
    let trained = sterna(&args);
    assert_eq!(code(&trained), 0, "{}", stderr(&trained));
    let line = json(&trained);
    assert_eq!(line["precision"], "f32");
    assert_eq!(line["test_accuracy"].as_f64(), Some(1.0), "three bands are easy");
    assert!(
        line["bytes"]["packed"].is_null() && line["zeros"].as_array().is_some_and(Vec::is_empty),
        "{line}"
    );
    assert!(["weights.png", "confusion.png"].iter().all(|name| out.join(name).is_file()));
    let scored = sterna(&["eval", text(&out.join("model.safetensors")), "--data", text(&data), "--json"]);
    assert_eq!(code(&scored), 0, "{}", stderr(&scored));
    for key in ["precision", "test_accuracy", "test_loss", "bytes"] {
        assert_eq!(json(&scored)[key], line[key], "{key}");
    }
}
