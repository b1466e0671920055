//! `sterna train --text` in people's hands: it learns, repeats to the bit, continues after Ctrl-C, and refuses what it
//! cannot do in one sentence.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::process::{adapter_flags, code, program, stderr, stdout, text};
use serde_json::Value;
use sterna::store::Checkpoint;
use sterna::text::Vocabulary;

/// A text with few words, which a small network learns in a few steps.
fn verses(count: usize) -> String {
    let words = ["a tern", "the tern", "flies", "north", "and", "south", "again"];
    let word = |i: usize| words[(i * i + i / 7) % words.len()];
    (0..count).map(|i| format!("{}{}", word(i), if i % 9 == 8 { "\n" } else { " " })).collect()
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A folder with a text of 4,000 words.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        fs::write(place.path("terns.txt"), verses(4000)).expect("written");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.folder.path()).args(args).args(adapter_flags(args));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    #[track_caller]
    fn done(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        output
    }

    /// Asserts exit code 2 and one last sentence with every part.
    #[track_caller]
    fn refused(&self, args: &[&str], parts: &[&str]) {
        let output = self.run(args);
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{said}");
        let last = said.trim_end().lines().last().expect("a line");
        assert!(
            last.starts_with("sterna: ") && parts.iter().all(|part| last.contains(part)),
            "{parts:?}: {said}"
        );
    }

    fn checkpoint(&self, run: &str) -> Checkpoint {
        Checkpoint::load(&self.path(run).join("model.safetensors")).expect("loads")
    }

    fn metrics(&self, run: &str) -> Vec<Value> {
        let lines = fs::read_to_string(self.path(run).join("metrics.jsonl")).expect("metrics");
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The same without what depends on the clock.
    fn timeless(&self, run: &str) -> Vec<Value> {
        let mut lines = self.metrics(run);
        for line in &mut lines {
            line.as_object_mut().expect("an object").retain(|key, _| !key.contains("seconds"));
        }
        lines
    }
}

/// A small network on the text of the folder, for so many steps.
fn train<'a>(out: &'a str, steps: &'a str) -> Vec<&'a str> {
    let mut args = vec!["train", "--text", "terns.txt", "--out", out, "--steps", steps, "--no-tune"];
    args.extend(["--layers", "1", "--width", "64", "--heads", "2", "--ffn", "64"]);
    args.extend(["--context", "16", "--batch", "8", "--lr", "5e-3", "--json"]);
    args
}

fn json(output: &Output) -> Value {
    serde_json::from_str(stdout(output).trim_end()).expect("one line of JSON")
}

#[test]
fn a_run_learns_and_tells_what_it_is() {
    let place = Place::new();
    // 45 steps in parts of 10: the last part is shorter.
    let line = json(&place.done(&[&train("run", "45")[..], &["--every", "10"]].concat()));
    let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} in {line}"));
    let characters = verses(4000).chars().collect::<std::collections::BTreeSet<_>>().len();
    let loss = number("validation_loss");
    assert!(loss < 0.6 * (characters as f64).ln(), "{line}");
    assert!((number("perplexity") - loss.exp()).abs() < 1e-9, "{line}");
    assert!((number("bits_per_character") - loss / 2f64.ln()).abs() < 1e-9, "{line}");
    let matrices = 4 * 64 * 64 + 3 * 64 * 64;
    assert_eq!(number("ternary_parameters") as usize, matrices);
    assert_eq!(number("parameters") as usize, matrices + 64 * (characters + 5));
    assert_eq!((number("steps"), number("batch"), number("context")), (45.0, 8.0, 16.0));
    assert!(number("train_loss") > 0.0 && number("train_seconds") > 0.0 && number("tokens_per_second") > 0.0);
    let zeros = line["zeros"].as_array().expect("a list");
    assert!(zeros.len() == 1 && zeros[0].as_f64().is_some_and(|share| share > 0.1 && share < 0.6), "{line}");
    assert_eq!(line["checkpoint"], text(&PathBuf::from("run/model.safetensors")));
    assert_eq!((&line["command"], &line["precision"]), (&Value::from("train"), &Value::from("ternary")));

    let metrics = place.metrics("run");
    let steps: Vec<_> = metrics.iter().map(|line| line["step"].as_u64().expect("a step")).collect();
    assert_eq!(steps, [10, 20, 30, 40, 45]);
    assert_eq!(metrics[4]["test_loss"].as_f64(), Some(loss));
    assert_eq!(
        (metrics[0]["zeros"].as_array().map(Vec::len), metrics[0]["losses"].as_array().map(Vec::len)),
        (Some(7), Some(10))
    );

    // After each evaluation the network wrote 200 characters.
    let samples: Vec<_> = metrics.iter().map(|line| line["sample"].as_str().expect("a sample")).collect();
    assert!(samples.iter().all(|sample| sample.chars().count() == 200), "{samples:?}");
    assert!(samples[4].contains("tern") || samples[4].contains("south"), "{}", samples[4]);

    // The file knows its vocabulary, and the curve has words for newcomers.
    let file = place.checkpoint("run");
    let vocabulary: Vocabulary = file.arch.setting("tokens").expect("a vocabulary");
    assert_eq!(vocabulary, Vocabulary::of(&verses(4000)));
    let curve = fs::read_to_string(place.path("run/curve.svg")).expect("a curve");
    for part in ["nats per character", "perplexity", "validation", "by layer", "by role", "step"] {
        assert!(curve.contains(part), "{part} is missing");
    }

    // The end of a run has a picture of its attention, and `trace` follows a text through the network.
    let picture = fs::read(place.path("run/attention.png")).expect("a picture");
    assert!(picture.starts_with(b"\x89PNG"));
    let told = json(&place.done(&["trace", "run", "the tern", "--png", "tern.png", "--json"]));
    assert!(fs::read(place.path("tern.png")).expect("a picture").starts_with(b"\x89PNG"));
    let losses = told["losses"].as_array().expect("losses");
    let mean = losses.iter().map(|loss| loss.as_f64().expect("a loss")).sum::<f64>() / 7.0;
    assert!(losses.len() == 7 && (told["loss"].as_f64().expect("a loss") - mean).abs() < 1e-9);
    assert!(told["logits_apart"].as_f64().expect("a number") < 1e-2, "{}", told["logits_apart"]);
    let shares = told["attention"][0][0].as_array().expect("shares");
    assert_eq!(shares.len(), 8);
    let told = stdout(&place.done(&["trace", "run", "the tern"]));
    for part in ["the_tern", "their positions", "next token", "cross-entropy", "verify run"] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    let explained = stdout(&place.done(&["explain", "perplexity", "--run", "run"]));
    assert!(explained.contains("characters after step 45"), "{explained}");

    // Other commands know the run.
    let runs = stdout(&place.done(&["runs", "."]));
    assert!(runs.contains("45/45 steps") && runs.contains(&format!("{loss:.4} nats")), "{runs}");
    assert!(runs.contains("1 x 64 ternary") && runs.contains("finished"), "{runs}");
    let watched = stdout(&place.done(&["watch", "run"]));
    assert!(watched.lines().count() == 5 && watched.contains("step 45/45  train "), "{watched}");
    assert!(watched.lines().all(|line| line.chars().count() <= 80), "{watched}");
}

#[test]
fn a_run_repeats_to_the_bit_and_continues_after_ctrl_c() {
    let place = Place::new();
    let long = |out| [&train(out, "120")[..], &["--every", "50", "--checkpoint-seconds", "0.05"]].concat();
    place.done(&long("whole"));
    place.done(&long("again"));
    assert_eq!(place.checkpoint("whole").parameters, place.checkpoint("again").parameters);
    assert_eq!(place.timeless("whole"), place.timeless("again"));
    place.done(&[&train("other", "5")[..], &["--seed", "1"]].concat());
    place.done(&train("first", "5"));
    assert!(place.checkpoint("other").parameters != place.checkpoint("first").parameters);

    let model = place.path("stopped/model.safetensors");
    let child = place.command(&long("stopped")).spawn().expect("started");
    let end = Instant::now() + Duration::from_secs(120);
    let step = || {
        let progress = Checkpoint::load(&model).ok().and_then(|file| file.progress);
        progress.map_or(0, |at| 50 * at.epoch + at.step)
    };
    while step() < 20 {
        assert!(Instant::now() < end, "the run does not come to step 20");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    let said = stderr(&output);
    assert_eq!(code(&output), 130, "{said}");
    assert!(said.contains("Interrupted after step ") && said.contains("/120; nothing is lost"), "{said}");
    let stopped = stdout(&place.done(&["runs", "stopped"]));
    assert!(stopped.contains("interrupted") && stopped.contains("/120 steps"), "{stopped}");

    place.refused(&["train", "--resume", "stopped", "--batch", "9"], &["--batch 9 contradicts"]);
    place.refused(&["train", "--resume", "stopped", "--layers", "2"], &["--layers 2 contradicts"]);
    place.refused(
        &["train", "--resume", "stopped", "--epochs", "2"],
        &["--epochs is for a run on digits", "stopped is a run on a text"],
    );
    fs::write(place.path("others.txt"), verses(3000)).expect("written");
    place.refused(
        &["train", "--resume", "stopped", "--text", "others.txt"],
        &["was trained on the text terns", "others", "--text FILE"],
    );
    let resumed = place.done(&["train", "--resume", "stopped", "--no-tune"]);
    assert!(stderr(&resumed).contains("going on after step "), "{}", stderr(&resumed));
    assert_eq!(place.checkpoint("whole").parameters, place.checkpoint("stopped").parameters);
    assert_eq!(place.timeless("whole"), place.timeless("stopped"));
    let finished = place.done(&["train", "--resume", "stopped", "--no-tune", "--json"]);
    assert!(stderr(&finished).contains("120 steps already done"), "{}", stderr(&finished));
    assert_eq!(json(&finished)["steps"], 120);
}

#[test]
fn a_run_is_extended_from_a_short_last_part() {
    let place = Place::new();
    place.done(&[&train("run", "25")[..], &["--every", "10"]].concat());
    place.refused(
        &["train", "--resume", "run", "--steps", "25", "--no-tune", "--layers", "3"],
        &["contradicts"],
    );
    place.refused(
        &["train", "--resume", "run", "--steps", "20"],
        &["--steps 20 is less than ", "has done, 25 steps", "above 25"],
    );
    let before = place.metrics("run");
    let said = stderr(&place.done(&["train", "--resume", "run", "--steps", "40", "--no-tune"]));
    assert!(
        said.contains("40 steps in all instead of 25") && said.contains("going on after step 25/40"),
        "{said}"
    );
    let metrics = place.metrics("run");
    let steps: Vec<_> = metrics.iter().map(|line| line["step"].as_u64().expect("a step")).collect();
    assert_eq!(steps, [10, 20, 25, 30, 40]);
    assert_eq!(metrics[..3], before[..], "what was evaluated stays");
    // The mean over steps 20 to 30 knows those before the run was extended.
    assert_eq!(
        metrics[3]["losses"].as_array().expect("losses")[..5],
        metrics[2]["losses"].as_array().expect("losses")[..5]
    );
    let runs = stdout(&place.done(&["runs", "run"]));
    assert!(runs.contains("40/40 steps") && runs.contains("finished"), "{runs}");
}

#[test]
fn bytes_are_tokens_where_characters_are_not() {
    let place = Place::new();
    fs::write(place.path("latin.txt"), [&b"caf\xe9 "[..]; 600].concat()).expect("written");
    let mut args = train("run", "4");
    args[2] = "latin.txt";
    let output = place.done(&args);
    assert!(stderr(&output).contains("is not UTF-8 at byte 3"), "{}", stderr(&output));
    let line = json(&output);
    assert!(line["bits_per_byte"].is_f64() && line["bits_per_character"].is_null(), "{line}");
    let curve = fs::read_to_string(place.path("run/curve.svg")).expect("a curve");
    assert!(curve.contains("nats per byte"), "the curve names its unit");
    // A folder is a text too.
    fs::create_dir(place.path("folder")).expect("created");
    fs::write(place.path("folder/a.md"), verses(500)).expect("written");
    fs::write(place.path("folder/b.txt"), verses(500)).expect("written");
    let mut args = train("joined", "4");
    args[2] = "folder";
    assert!(stderr(&place.done(&args)).contains("folder: "), "the folder is named");
}

#[test]
fn two_networks_are_compared() {
    let place = Place::new();
    let args = [&train("both", "20")[..], &["--compare", "--seeds", "2"]].concat();
    let output = place.done(&args);
    let line = json(&output);
    let loss = |i: usize, side: &str| {
        line["compare"][i][side]["validation_loss"].as_f64().unwrap_or_else(|| panic!("{side} {i} in {line}"))
    };
    let gap = (0..2).map(|i| loss(i, "ternary") - loss(i, "f32")).sum::<f64>() / 2.0;
    assert!((line["gap_nats"].as_f64().expect("a gap") - gap).abs() < 1e-9, "{line}");
    assert!(line["gap_standard_error_nats"].is_f64() && line["disagreements"].is_null(), "{line}");
    assert_eq!(line["compare"][1]["f32"]["ternary_parameters"], 0);
    let picture = fs::read_to_string(place.path("both/compare.svg")).expect("a picture");
    assert!(picture.contains("terns, 20 steps, mean of 2 seeds") && picture.contains("nats per character"));
    // The same command takes up what it finds.
    let again = place.done(&args.iter().copied().filter(|&arg| arg != "--json").collect::<Vec<_>>());
    let table = stdout(&again);
    for part in ["val loss", "bits/character", "ternary", "f32", "gap", "nats", "means of 2 seeds"] {
        assert!(table.contains(part), "{part} is missing in\n{table}");
    }
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    let place = Place::new();
    let write = |name: &str, text: &[u8]| fs::write(place.path(name), text).expect("written");
    write("empty.txt", b"");
    write("one.txt", &[b'a'; 1000]);
    write("short.txt", verses(20).as_bytes());
    let on = |file: &'static str, more: &[&'static str]| {
        let mut args = train("run", "4");
        args[2] = file;
        [args, more.to_vec()].concat()
    };
    place.refused(&on("missing.txt", &[]), &["missing.txt", "there is no such file or folder"]);
    place.refused(&on("empty.txt", &[]), &["empty", "found nothing in it"]);
    place.refused(&on("one.txt", &[]), &["one", "nothing to learn"]);
    place.refused(&on("short.txt", &[]), &["short", "a context of 16"]);
    place.refused(&on("terns.txt", &["--every", "0"]), &["--every 0"]);
    let with = |flag: &'static str, value: &'static str| {
        let mut args = train("run", "4");
        match args.iter().position(|&arg| arg == flag) {
            Some(at) => args[at + 1] = value,
            None => args.extend([flag, value]),
        }
        args
    };
    place.refused(&with("--context", "0"), &["--context 0"]);
    place.refused(&with("--steps", "0"), &["--steps 0"]);
    place.refused(&with("--batch", "0"), &["--batch 0"]);
    place.refused(&with("--lr", "0"), &["--lr 0: give a number above 0"]);
    place.refused(&with("--clip", "inf"), &["--clip inf: give a number from 0 to 1e38"]);
    place.refused(&with("--heads", "3"), &["--width", "64", "3 heads"]);
    place.refused(&with("--kv-heads", "3"), &["--kv-heads", "3"]);
    place.refused(&with("--width", "100"), &["--width", "100", "multiple of 64"]);
    place.refused(&with("--ffn", "40"), &["--ffn", "40", "multiple of 16"]);
    place.refused(&with("--epochs", "3"), &["--epochs is for a run on digits", "--text"]);
    place.refused(&with("--augment", "none"), &["--augment is for a run on digits"]);
    place.refused(&with("--hidden", "9"), &["--hidden is for a run on digits"]);
    place.refused(&with("--require", "0.9"), &["--require is for a run on digits"]);
    place.refused(&["train", "--layers", "2"], &["--layers is for a run on a text", "add it"]);
    place.refused(&["train", "--steps", "2"], &["--steps is for a run on a text"]);
    place.refused(
        &with("--precision", "f32").into_iter().chain(["--no-shadow"]).collect::<Vec<_>>(),
        &["--no-shadow"],
    );
    // What does not fit is told with the largest that does.
    place.refused(&with("--batch", "500000"), &["the largest that fits is --batch "]);
    let mut wide = with("--width", "8192");
    let heads = wide.iter().position(|&arg| arg == "--heads").expect("given");
    wide[heads + 1] = "64";
    place.refused(&wide, &["the largest that fits is --width "]);
    assert!(!place.path("run").exists(), "a refusal leaves no folder behind");
}

#[test]
fn a_taken_folder_is_refused_before_a_device_is_opened() {
    let place = Place::new();
    place.done(&train("run", "4"));
    fs::create_dir_all(place.path("both/f32-0")).expect("created");
    fs::write(place.path("both/f32-0/curve.svg"), "mine").expect("written");
    let on = |out: &'static str, flag: &'static str| {
        let args = train(out, "4").into_iter().filter(|&arg| arg != "--json");
        args.chain(["--adapter", "no such card"])
            .chain(Some(flag).filter(|flag| !flag.is_empty()))
            .collect::<Vec<_>>()
    };
    place.refused(&on("run", ""), &["already holds a run", "--resume", "--force"]);
    place.refused(&on("terns.txt", ""), &["--out", "a file has this name"]);
    place.refused(&on("both", "--compare"), &["curve.svg exists", "--force"]);
    let metrics = fs::File::open(place.path("run/metrics.jsonl")).expect("opened");
    metrics.try_lock().expect("nobody trains");
    place.refused(&on("run", "--force"), &["another process trains in", "sterna watch"]);
    place.refused(
        &["train", "--resume", "run", "--steps", "9", "--adapter", "no such card"],
        &["another process trains in", "sterna watch"],
    );
    metrics.unlock().expect("it is ours");
    // This refusal lists the adapters of the machine, so it has more than one line.
    let output = place.run(&on("new", ""));
    assert!(code(&output) == 2 && stderr(&output).contains("no such card"), "{}", stderr(&output));
    assert!(!place.path("new").exists(), "a refusal leaves no folder behind");
}

/// A path that is no text is found again, and JSON has it as a text.
#[cfg(target_os = "linux")]
#[test]
fn a_text_is_found_again_whatever_its_name() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    fs::rename(place.path("terns.txt"), place.folder.path().join(name)).expect("renamed");
    let mut command = place.command(&["train", "--out", "run", "--steps", "4", "--no-tune", "--text"]);
    command.arg(name).args([
        "--layers",
        "1",
        "--width",
        "64",
        "--heads",
        "2",
        "--ffn",
        "64",
        "--context",
        "16",
    ]);
    let output = command.output().expect("the program starts");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let config = fs::read_to_string(place.path("run/config.json")).expect("a config");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let path = std::path::absolute(place.folder.path().join(name)).expect("a path");
    assert_eq!(config["data"]["path"], Value::from(path.to_string_lossy()));
    place.done(&["train", "--resume", "run", "--steps", "6", "--no-tune"]);
    place.done(&["eval", "run"]);
    place.done(&["pack", "run", "-o", "packed.safetensors"]);
    let packed = stdout(&place.done(&["inspect", "packed.safetensors", "--json"]));
    assert!(!packed.contains("path_bytes") && !packed.contains(text(place.folder.path())), "{packed}");
}

#[test]
fn a_run_that_diverges_says_where() {
    let place = Place::new();
    let mut args = train("run", "30");
    let at = args.iter().position(|&arg| arg == "5e-3").expect("a rate");
    args[at] = "1e38";
    let output = place.run(&args);
    let said = stderr(&output);
    assert_eq!(code(&output), 1, "{said}");
    assert!(said.contains("the run diverged: in step ") && said.contains("wrote values into"), "{said}");
    assert!(said.contains(text(Path::new("run/model.safetensors"))), "{said}");
    let runs = stdout(&place.done(&["runs", "run"]));
    assert!(runs.contains("diverged"), "{runs}");
}
