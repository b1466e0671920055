//! Runs and files in people's hands: nothing is replaced that a run did not make, a run's folder is a model, a run can be
//! extended, and names may be any bytes.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::process::{adapter_flags, code, idx, program, stderr, stdout, text};
use common::{Shaders, gpu};
use serde_json::{Value, json};
use sterna::mnist::Dataset;
use sterna::model::Mlp;
use sterna::store::Checkpoint;
use sterna::train::{Config, Digits, Recipe, Trainer};

/// What a user has under a name of ours.
const MINE: &[u8] = b"mine";

/// Runs the program in a folder; arguments may be any bytes.
fn sterna_in<A: AsRef<std::ffi::OsStr>>(folder: &Path, args: &[A]) -> Output {
    let words: Vec<String> = args.iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = program();
    command.current_dir(folder).args(args).args(adapter_flags(&words));
    command.output().expect("the program starts")
}

#[track_caller]
fn done<A: AsRef<std::ffi::OsStr>>(folder: &Path, args: &[A]) -> Output {
    let output = sterna_in(folder, args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    output
}

/// Asserts exit code 2 and one sentence with every part.
#[track_caller]
fn refused<A: AsRef<std::ffi::OsStr>>(folder: &Path, args: &[A], parts: &[&str]) {
    let output = sterna_in(folder, args);
    let said = stderr(&output);
    assert_eq!(code(&output), 2, "{said}");
    let last = said.trim_end().lines().last().expect("a line");
    assert!(
        last.starts_with("sterna: ") && parts.iter().all(|part| last.contains(part)),
        "{parts:?}: {said}"
    );
}

fn last_line(output: &Output) -> Value {
    serde_json::from_str(stdout(output).lines().last().expect("a line")).expect("JSON")
}

/// A data set of `side` x `side` pixels in three classes, which a network learns in an epoch.
fn set(folder: PathBuf, side: u32, images: u32) -> PathBuf {
    fs::create_dir_all(&folder).expect("created");
    for (name, count) in [("train", images), ("t10k", 30)] {
        let pixel =
            |i: u32, p: u32| ((p / (side * side).div_ceil(3) == i % 3) as u8) * 200 + (i * 7 % 31) as u8;
        let pixels: Vec<u8> = (0..count).flat_map(|i| (0..side * side).map(move |p| pixel(i, p))).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        let write = |kind: &str, bytes| {
            fs::write(folder.join(format!("{name}-{kind}-ubyte")), bytes).expect("written")
        };
        write("images-idx3", idx(0x803, &[count, side, side], &pixels));
        write("labels-idx1", idx(0x801, &[count], &labels));
    }
    folder
}

/// A small run on the set `set` of the folder it is started in, with so many epochs.
fn train<'a>(out: &'a str, epochs: &'a str) -> Vec<&'a str> {
    let mut args = vec!["train", "--data", "set", "--out", out, "--epochs", epochs];
    args.extend(["--batch", "16", "--hidden", "9", "--no-tune"]);
    args
}

/// Three runs in `runs`, the oldest first: ternary on `set`, float on `set`, ternary on `large`.
fn three_runs(folder: &Path) {
    set(folder.join("set"), 6, 96);
    set(folder.join("large"), 28, 96);
    let wait = || std::thread::sleep(std::time::Duration::from_millis(20));
    done(folder, &train("runs/first", "2"));
    wait();
    done(folder, &[&train("runs/float", "2")[..], &["--precision", "f32"]].concat());
    wait();
    let args: Vec<&str> =
        train("runs/both/large", "2").into_iter().map(|a| if a == "set" { "large" } else { a }).collect();
    done(folder, &args);
}

/// Puts a file of the user's in a place.
fn mine(path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, MINE).expect("written");
}

fn is_mine(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes == MINE)
}

const OF_A_RUN: [&str; 7] = [
    "model.safetensors",
    "config.json",
    "metrics.jsonl",
    "curve.svg",
    "augment.png",
    "weights.png",
    "confusion.png",
];

#[test]
fn a_run_replaces_no_file_that_it_did_not_make() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 96);
    for name in OF_A_RUN {
        let (out, file) = (root.join(name).join("run"), root.join(name).join("run").join(name));
        mine(&file);
        mine(&out.join("notes.json"));
        refused(root, &train(text(&out), "1"), &[text(&out), "--force"]);
        assert!(is_mine(&file), "{name} was replaced");
        assert_eq!(
            fs::read_dir(&out).expect("listed").count(),
            2,
            "a refusal leaves {name} alone with the notes"
        );
        done(root, &[&train(text(&out), "1")[..], &["--force"]].concat());
        assert!(!is_mine(&file) && is_mine(&out.join("notes.json")), "{name}");
    }
    // A link is there too, wherever it leads.
    #[cfg(unix)]
    for target in ["elsewhere", "nowhere"] {
        mine(&root.join("elsewhere"));
        let out = root.join(format!("link-{target}"));
        fs::create_dir(&out).expect("created");
        std::os::unix::fs::symlink(root.join(target), out.join("curve.svg")).expect("linked");
        refused(root, &train(text(&out), "1"), &["curve.svg", "--force"]);
        assert!(is_mine(&root.join("elsewhere")) && !root.join("nowhere").exists());
    }
    // With --force a run takes the place of another: nothing of that one is left.
    let out = root.join("confusion.png/run");
    done(root, &[&train(text(&out), "2")[..], &["--force", "--augment", "none"]].concat());
    assert!(!out.join("augment.png").exists());
    assert_eq!(fs::read_to_string(out.join("metrics.jsonl")).expect("read").lines().count(), 2);
}

#[test]
fn a_comparison_replaces_no_file_that_it_did_not_make() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 96);
    let compare = |out| [&train(out, "1")[..], &["--compare"]].concat();
    for file in ["compare.svg", "ternary-0/config.json", "f32-0/confusion.png"] {
        mine(&root.join("both").join(file));
        refused(root, &compare("both"), &[file, "--force"]);
        assert!(is_mine(&root.join("both").join(file)), "{file}");
        fs::remove_dir_all(root.join("both")).expect("removed");
    }
    done(root, &compare("both"));
    // Its own picture is made again by the same command, which finds nothing to train.
    done(root, &compare("both"));
}

#[test]
fn a_run_that_is_taken_up_replaces_what_it_made_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 1600);
    let out = root.join("run");
    let lost = ["--checkpoint-seconds", "0.02", "--batch", "4", "--destroy-device-after", "900"];
    let args: Vec<&str> =
        train("run", "6").into_iter().map(|arg| if arg == "16" { "4" } else { arg }).collect();
    let lost = sterna_in(root, &[&args[..], &lost[..2], &lost[4..]].concat());
    assert_eq!(code(&lost), 2, "{}", stderr(&lost));
    let curve = fs::read(out.join("curve.svg")).expect("its own");
    let resume = ["train", "--resume", "run", "--no-tune"];
    for name in ["weights.png", "confusion.png"] {
        mine(&out.join(name));
        refused(root, &resume, &[name, "--force"]);
        assert!(is_mine(&out.join(name)), "{name}");
        fs::remove_file(out.join(name)).expect("removed");
    }
    // What a killed process left is taken away, and nothing that is only called like it.
    for name in [".sterna-a1B2c3", ".sterna-notes"] {
        mine(&out.join(name));
    }
    mine(&out.join("weights.png"));
    done(root, &[&resume[..], &["--force"]].concat());
    assert!(!is_mine(&out.join("weights.png")) && fs::read(out.join("curve.svg")).expect("read") != curve);
    assert!(is_mine(&out.join(".sterna-notes")) && !out.join(".sterna-a1B2c3").exists());
    // It came to its end, but the last checkpoint found no room: its pictures are its own.
    let model = out.join("model.safetensors");
    let mut file = Checkpoint::load(&model).expect("loads");
    file.progress.as_mut().expect("it stands somewhere").epoch = 5;
    file.save(&model).expect("saved");
    done(root, &resume);
    // What is extended was finished: its pictures are its own.
    let before = fs::read(out.join("weights.png")).expect("read");
    done(root, &[&resume[..], &["--epochs", "7"]].concat());
    assert!(fs::read(out.join("weights.png")).expect("read") != before);
}

#[test]
fn no_command_writes_over_a_file_or_to_a_dash() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 96);
    done(root, &train("run", "1"));
    let network = "run";
    done(root, &["export", network, "--to", "npy", "-o", "network.npz"]);
    let profile =
        ["profile", "eval", "--steps", "1", "--seconds", "0", "--no-tune", "--hidden", "16", "--trace"];
    let wall = root.join("wall.json");
    let whole = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runs")).expect("listed");
    let measured =
        whole.map(|run| run.expect("an entry").path().join("wall.json")).find(|file| file.exists());
    fs::copy(measured.expect("a wall of before"), &wall).expect("copied");
    // The command without its place, the place, and the file in it.
    let commands: [(&[&str], &str, &str); 6] = [
        (&["pack", network, "-o"], "packed", "packed"),
        (&["export", network, "--to", "gguf-tq2_0", "-o"], "model.gguf", "model.gguf"),
        (&["import", "network.npz", "-o"], "imported", "imported"),
        (&["inspect", network, "--png"], "pictures", "pictures/weights.png"),
        (&profile, "trace.json", "trace.json"),
        (&["wall", "--compare", "wall.json", "--out"], "pages", "pages/compare.html"),
    ];
    for (command, place, file) in commands {
        mine(&root.join(file));
        refused(root, &[command, &[place]].concat(), &[file, "--force"]);
        assert!(is_mine(&root.join(file)), "{command:?}");
        done(root, &[command, &[place, "--force"]].concat());
        assert!(!is_mine(&root.join(file)), "{command:?}");
        refused(root, &[command, &["-"]].concat(), &["- is no file to write"]);
        assert!(!root.join("-").exists(), "{command:?}");
    }
    for command in [&["train", "--out", "-"][..], &["wall", "--out", "-"]] {
        refused(root, command, &["- is no file to write"]);
    }
    assert!(!root.join("-").exists());
}

#[test]
#[cfg(unix)]
fn a_wall_keeps_the_one_of_before() {
    use std::io::BufRead;
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let files = ["wall.html", "wall.json"].map(|name| root.join("wall").join(name));
    files.iter().for_each(|file| mine(file));
    let args = ["wall", "--quick", "--seconds", "0", "--memory", "16"];
    let mut command = program();
    command
        .current_dir(root)
        .args(args)
        .args(adapter_flags(&args))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let mut lines =
        std::io::BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("read: ")));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    let said: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(said.iter().any(|line| line.contains("stays in its place")), "{said:?}");
    assert!(files.iter().all(|file| is_mine(file)), "an interrupted wall has taken the place of a whole one");
    let broken = fs::read_to_string(root.join("wall/wall.1.json")).expect("beside it");
    assert_eq!(serde_json::from_str::<Value>(&broken).expect("JSON")["interrupted"], json!(true));

    let whole = done(root, &args);
    assert!(stderr(&whole).contains("wall.html of before is now "), "{}", stderr(&whole));
    assert!(["wall.2.html", "wall.2.json"].iter().all(|name| is_mine(&root.join("wall").join(name))));
    assert!(files.iter().all(|file| file.exists() && !is_mine(file)));
}

#[test]
fn a_folder_of_a_run_is_its_model_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 96);
    done(root, &train("run", "1"));
    let commands: [&[&str]; 7] = [
        &["eval", "MODEL", "--data", "set", "--no-tune", "--json"],
        &["predict", "MODEL", "--data", "set", "--index", "3", "--no-tune", "--json"],
        &["verify", "MODEL", "--no-tune", "--json"],
        &["verify", "run/model.safetensors", "--against", "MODEL", "--no-tune", "--json"],
        &["inspect", "MODEL", "--json"],
        &["pack", "MODEL", "-o", "out", "--force", "--json"],
        &["export", "MODEL", "--to", "npy", "-o", "out", "--force", "--json"],
    ];
    for command in commands {
        let said = |model: &str| {
            let args: Vec<&str> =
                command.iter().map(|&arg| if arg == "MODEL" { model } else { arg }).collect();
            let mut line = last_line(&done(root, &args));
            for prediction in line["predictions"].as_array_mut().into_iter().flatten() {
                prediction["milliseconds"] = Value::Null;
            }
            line
        };
        let by_file = said("run/model.safetensors");
        assert_eq!(
            [said("run"), said("./run/")].map(|line| line.to_string().replace("./run/", "run/")),
            [by_file.to_string(), by_file.to_string()],
            "{command:?}"
        );
    }
    fs::create_dir(root.join("empty")).expect("created");
    for command in [&["eval"][..], &["import", "-o", "other"], &["train", "--resume"]] {
        refused(root, &[command, &["empty"]].concat(), &["empty is a folder without a model.safetensors"]);
        refused(root, &[command, &["."]].concat(), &["name one of the runs in it, ./run is the newest"]);
    }
}

#[test]
fn without_a_name_the_newest_run_that_fits_is_taken_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    refused(root, &["eval"], &["below runs/ there is no run trained on mnist", "sterna train"]);
    three_runs(root);
    // The newest of each kind: on this data, with trits, with the inputs of a picture.
    let commands: [(&[&str], &str); 6] = [
        (&["eval", "--data", "set", "--no-tune"], "runs/float"),
        (&["eval", "--data", "large", "--no-tune"], "runs/both/large"),
        (&["predict", "--data", "set", "--index", "0", "--no-tune"], "runs/float"),
        (&["verify", "--no-tune"], "runs/both/large"),
        (&["inspect"], "runs/both/large"),
        (&["pack", "-o", "packed"], "runs/both/large"),
    ];
    for (command, run) in commands {
        let said = stderr(&done(root, command));
        assert!(
            said.contains("no model is named") && said.contains(&format!("taken, {run} (")),
            "{command:?}: {said}"
        );
    }
    // A picture as the first name is no model.
    let png = image::GrayImage::from_fn(28, 28, |x, y| image::Luma([if x / 4 == y / 4 { 250 } else { 0 }]));
    png.save(root.join("photo.png")).expect("saved");
    let said = done(root, &["predict", "photo.png", "--no-tune"]);
    assert!(stderr(&said).contains("taken, runs/both/large (large, "), "{}", stderr(&said));
    let named = done(root, &["predict", "runs/both/large", "photo.png", "--no-tune"]);
    assert!(!stderr(&named).contains("no model is named"), "{}", stderr(&named));
    let first = |output: &Output| stdout(output).split(',').next().expect("a digit").to_string();
    assert_eq!(first(&said), first(&named));
    refused(root, &["predict", "photo.png", "packed"], &["packed is a network: name it first"]);
    refused(root, &["predict"], &["name a picture"]);
    refused(root, &["predict", "nothing.png"], &["nothing.png: cannot be read"]);
    // A network that was trained on another set than it is scored on is told.
    let crossed = set(root.join("other"), 6, 48);
    let crossed = done(root, &["eval", "runs/first", "--data", text(&crossed), "--no-tune"]);
    assert!(stderr(&crossed).contains("was trained on another set (set)"), "{}", stderr(&crossed));
}

#[test]
fn runs_are_listed_with_how_they_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let none = done(root, &["runs"]);
    assert!(none.stdout.is_empty() && stderr(&none).contains("no run below runs"), "{}", stderr(&none));
    three_runs(root);
    let rates = ["--lr", "1e38", "--weight-decay", "1e38"];
    let diverged = sterna_in(root, &[&train("runs/diverged", "1")[..], &rates].concat());
    assert_eq!(code(&diverged), 1, "{}", stderr(&diverged));
    // Half of a run, a network that was not trained here, and a file that is none.
    let half = root.join("runs/half");
    fs::create_dir(&half).expect("created");
    let mut file = Checkpoint::load(&root.join("runs/first/model.safetensors")).expect("loads");
    file.progress.as_mut().expect("it stands somewhere").epoch = 1;
    file.save(&half.join("model.safetensors")).expect("saved");
    let packed = text(root).to_string() + "/runs/packed/model.safetensors";
    fs::create_dir(root.join("runs/packed")).expect("created");
    done(root, &["pack", "runs/first", "-o", &packed]);
    mine(&root.join("runs/broken/model.safetensors"));
    let list = done(root, &["runs", "--json"]);
    let line = last_line(&list);
    let rows = line["runs"].as_array().expect("runs");
    let state = |row: &Value| (row["path"].as_str().expect("a path").to_string(), row["state"].clone());
    let states: Vec<(String, Value)> = rows.iter().map(state).collect();
    let expected = [("half", "interrupted"), ("diverged", "diverged"), ("both/large", "finished")];
    let expected = expected.into_iter().chain([("float", "finished"), ("first", "finished")]);
    let expected: Vec<(String, Value)> =
        expected.map(|(run, state)| (format!("runs/{run}"), json!(state))).collect();
    assert_eq!(states, expected, "the newest first");
    assert_eq!((&rows[4]["data"], &rows[4]["dims"]), (&json!("set"), &json!([36, 9, 3])));
    let scored = last_line(&done(root, &["eval", "runs/first", "--data", "set", "--no-tune", "--json"]));
    assert_eq!(rows[4]["test_accuracy"], scored["test_accuracy"]);
    let unreadable = line["unreadable"].as_array().expect("a list");
    assert_eq!(unreadable.len(), 2, "{line}");
    for part in ["runs/broken/", "runs/packed/model.safetensors: is a packed file"] {
        assert!(
            unreadable.iter().any(|said| said.as_str().is_some_and(|said| said.contains(part))),
            "{line}"
        );
        assert!(stderr(&list).contains(part), "{}", stderr(&list));
    }
    let table = stdout(&done(root, &["runs"]));
    assert!(table.contains("36-9-3 ternary"));
    for run in ["runs/broken", "runs/packed"] {
        let said = |line: &str| line.trim_start().starts_with(run) && line.ends_with("unreadable");
        assert!(table.lines().any(said), "{table}");
    }
    // What is no run is not gone on with, and nobody proposes it.
    let packed = "is a packed file, whose trits are not trained on: take the checkpoint";
    refused(root, &["train", "--resume", "runs/packed"], &[packed]);
    for file in ["config.json", "metrics.jsonl"] {
        fs::copy(half.with_file_name("first").join(file), half.with_file_name("broken").join(file))
            .expect("copied");
    }
    let metrics = half.with_file_name("broken").join("metrics.jsonl");
    fs::write(metrics, "").expect("cut off");
    let watched = stderr(&done(root, &["watch", "runs/broken"]));
    assert!(watched.contains("nobody can go on: ") && !watched.contains("--resume"), "{watched}");
    // A run that another process holds.
    let metrics = fs::File::open(root.join("runs/first/metrics.jsonl")).expect("opened");
    metrics.try_lock().expect("nobody trains");
    let held = last_line(&done(root, &["runs", "--json"]));
    assert_eq!(held["runs"][4]["state"], "running");
}

/// A run of `total` epochs whose first steps have the learning rates of a run of `first`.
fn by_the_rule(data: &Dataset, [first, total]: [usize; 2], steps: usize) -> Checkpoint {
    let gpu = gpu(Shaders::Plain);
    let of = |epochs| Config { epochs, batch: 16, hidden: vec![9], ..Config::default() };
    let (config, images) = (of(total), data.train.len());
    let rates = [&of(first).rates(images)[..steps], &config.rates(images)[steps..]].concat();
    let recipe = Recipe { rates, ..config.recipe(images) };
    let shape = config.shape(data);
    let values = shape.initial(config.seed);
    let network = Mlp::upload(gpu, shape, &values).expect("fits");
    let source = Digits::new(gpu, data, &config).expect("fits");
    let mut trainer = Trainer::on(gpu, network, source, recipe).expect("fits");
    for _ in 0..total {
        trainer.run_epoch(&mut |_| {}).expect("an epoch");
    }
    trainer.checkpoint(&trainer.network.shape.arch(), Value::Null).expect("read back")
}

#[test]
fn an_extended_run_differs_by_its_learning_rates_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let data = Dataset::load(&set(root.join("set"), 6, 90)).expect("loads");
    let steps = 90usize.div_ceil(16);
    let resume = |epochs| done(root, &["train", "--resume", "run", "--epochs", epochs, "--no-tune"]);
    let parameters = |run: &str| {
        let mut file = Checkpoint::load(&root.join(run).join("model.safetensors")).expect("loads");
        file.parameters.iter_mut().for_each(|saved| saved.trits = None);
        file.parameters
    };
    done(root, &train("run", "2"));
    let said = stderr(&resume("5"));
    assert!(said.contains("5 epochs in all instead of 2") && said.contains("as in a run of 5"), "{said}");
    assert!(parameters("run") == by_the_rule(&data, [2, 5], 2 * steps).parameters, "the rule is another");
    // The rule matters here, and the same total is no other run.
    done(root, &train("whole", "5"));
    assert!(parameters("run") != parameters("whole"));
    let before = parameters("whole");
    done(root, &["train", "--resume", "whole", "--epochs", "5", "--no-tune"]);
    assert!(parameters("whole") == before);

    let config: Value =
        serde_json::from_slice(&fs::read(root.join("run/config.json")).expect("read")).expect("JSON");
    assert_eq!(config["config"]["epochs"], 5);
    assert_eq!(config["plans"], json!([{"epochs": 2, "until_epoch": 2, "until_step": 0}]));
    let metrics = fs::read_to_string(root.join("run/metrics.jsonl")).expect("read");
    assert_eq!(metrics.lines().count(), 5);
    // What is done cannot be undone, and a comparison keeps its epochs.
    for total in ["0", "4", "5"] {
        let args = ["train", "--resume", "run", "--epochs", total, "--no-tune"];
        match total {
            "5" => assert!(stderr(&done(root, &args)).contains("5 epochs already done")),
            "4" => refused(root, &args, &["--epochs 4", "has done, 5 epochs", "a total above 5"]),
            _ => refused(root, &args, &["--epochs 0", "1 or more"]),
        }
    }
}

#[test]
fn an_extended_run_that_is_broken_off_is_still_extended() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 1600);
    for out in ["whole", "broken"] {
        done(root, &train(out, "1"));
    }
    let extend = |run| vec!["train", "--resume", run, "--epochs", "8", "--no-tune"];
    done(root, &extend("whole"));
    let broken = sterna_in(root, &[&extend("broken")[..], &["--destroy-device-after", "300"]].concat());
    assert_eq!(code(&broken), 2, "{}", stderr(&broken));
    assert_eq!(last_line(&done(root, &["runs", ".", "--json"]))["runs"][0]["state"], "interrupted");
    // It can be shortened, too: the rate is near 0 at the new end.
    let epoch =
        last_line(&done(root, &["runs", ".", "--json"]))["runs"][0]["epochs_done"].as_u64().expect("a count");
    fs::create_dir(root.join("short")).expect("created");
    for file in fs::read_dir(root.join("broken")).expect("listed").flatten() {
        fs::copy(file.path(), root.join("short").join(file.file_name())).expect("copied");
    }
    let total = (epoch + 1).to_string();
    assert!(epoch + 1 < 8, "it was broken off too late");
    done(root, &["train", "--resume", "short", "--epochs", &total, "--no-tune"]);
    let metrics = fs::read_to_string(root.join("short/metrics.jsonl")).expect("read");
    let last: Value = serde_json::from_str(metrics.lines().last().expect("a line")).expect("JSON");
    assert!(last["epoch"] == epoch + 1 && last["lr"].as_f64().expect("a rate") < 1e-5, "{last}");
    done(root, &["train", "--resume", "broken", "--no-tune"]);
    let [a, b] = ["whole", "broken"]
        .map(|run| Checkpoint::load(&root.join(run).join("model.safetensors")).expect("loads"));
    assert!(a.parameters == b.parameters && a.progress.expect("there").epoch == 8);
    assert_eq!(a.run["plans"], b.run["plans"]);
}

/// Asserts that a path is a text wherever one is told.
#[cfg(target_os = "linux")]
fn assert_no_bytes(value: &Value) {
    match value {
        Value::Object(entries) => {
            assert!(!entries.contains_key("Unix"), "{value}");
            entries.values().for_each(assert_no_bytes);
        }
        Value::Array(values) => values.iter().for_each(assert_no_bytes),
        _ => {}
    }
}

#[test]
#[cfg(target_os = "linux")]
fn names_may_be_any_bytes() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join(OsStr::from_bytes(b"caf\xe9 'au lait'"));
    fs::create_dir(&root).expect("a file system that takes such names");
    set(root.join("set"), 28, 96);
    // The program itself lies there too, and the current folder is another one.
    let own = root.join("sterna");
    fs::copy(env!("CARGO_BIN_EXE_sterna"), &own).expect("copied");
    let word = |text: &str| OsString::from(text);
    let at = |name: &str| root.join(name).into_os_string();
    let run = |args: &[OsString]| {
        let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let flags = adapter_flags(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let output = Command::new(&own)
            .env("STERNA_CACHE", at("cache"))
            .args(args)
            .args(flags)
            .output()
            .expect("started");
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        output
    };
    let mut args: Vec<OsString> = train("", "1").into_iter().map(word).collect();
    (args[2], args[4]) = (at("set"), at("run"));
    let trained = run(&args);
    // What is printed to be copied is understood by a shell.
    let next = stdout(&trained).lines().rev().find_map(|line| line.strip_prefix("Next: ").map(String::from));
    let next = next.expect("a next command") + " --no-tune " + &adapter_flags(&["eval"]).join(" ");
    let output = Command::new("bash").args(["-c", &next]).output().expect("bash runs");
    assert_eq!(code(&output), 0, "{next}: {}", stderr(&output));
    // Folders are told as what they are, and found again.
    let config: Value =
        serde_json::from_slice(&fs::read(root.join("run/config.json")).expect("read")).expect("JSON");
    let data = std::path::absolute(root.join("set")).expect("a path");
    assert_eq!(config["data"]["folder"], json!(data.to_string_lossy()));
    run(&[word("train"), word("--resume"), at("run"), word("--epochs"), word("2"), word("--no-tune")]);

    image::GrayImage::from_pixel(28, 28, image::Luma([9])).save(root.join("seven.png")).expect("saved");
    let mut drawn = image::open(root.join("seven.png")).expect("opens").to_luma8();
    (4..24).for_each(|y| drawn.put_pixel(14, y, image::Luma([250])));
    drawn.save(root.join("seven.png")).expect("saved");
    let json = || word("--json");
    let commands: Vec<Vec<OsString>> = vec![
        vec![word("predict"), at("run"), at("seven.png"), json()],
        vec![word("verify"), at("run"), json()],
        vec![word("pack"), at("run"), word("-o"), at("packed"), json()],
        vec![word("verify"), at("packed"), word("--against"), at("run"), json()],
        vec![word("export"), at("packed"), word("--to"), word("npy"), word("-o"), at("out.npz"), json()],
        vec![word("import"), at("out.npz"), word("-o"), at("back"), json()],
        vec![word("inspect"), at("run"), word("--png"), at("pictures"), json()],
        vec![word("runs"), root.clone().into_os_string(), json()],
        [
            &["profile", "eval", "--steps", "1", "--seconds", "0", "--no-tune", "--json", "--trace"]
                .map(word)[..],
            &[at("t")],
        ]
        .concat(),
        [&["tune", "--shapes", "16x16", "--seconds", "0", "--json"].map(word)[..], &[]].concat(),
    ];
    for args in commands {
        let output = run(&args);
        assert_no_bytes(&last_line(&output));
        assert!(!stderr(&output).contains('\u{fffd}'), "{args:?}: {}", stderr(&output));
    }
    // Only the current folder has such a name.
    let args: Vec<&str> = train("plain", "1");
    done(&root, &args);
    done(&root, &["train", "--resume", "plain", "--no-tune"]);
}

#[test]
#[cfg(unix)]
fn a_terminal_takes_a_name_for_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let wild = "a\u{1b}[31m\nb\u{9b}c";
    fs::write(root.join(wild), "no network").expect("written");
    fs::create_dir(root.join("set\u{7}")).expect("created");
    let escaped = r"a\u001b[31m\nb\u009bc";
    for args in [
        vec!["eval", wild],
        vec!["predict", wild, "-"],
        vec!["inspect", wild],
        vec!["import", wild, "-o", "out"],
        vec!["pack", "none", "-o", wild],
        vec!["train", "--resume", wild],
        vec!["wall", "--compare", wild],
    ] {
        let output = sterna_in(root, &args);
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{said}");
        assert!(said.contains(escaped) && said.trim_end().lines().count() == 1, "{args:?}: {said:?}");
        assert!(!said.trim_end().contains(char::is_control), "{said:?}");
    }
    // What the parser of arguments says of a name, and what a data set's folder is called.
    for args in [vec!["eval", "one", wild], vec!["train", "--data", "set\u{7}"]] {
        let output = sterna_in(root, &args);
        let said = stderr(&output).replace('\n', "");
        assert_eq!(code(&output), 2, "{said}");
        assert!(!said.contains(char::is_control), "{said:?}");
    }
}

#[test]
fn what_holds_no_runs_is_named_and_nothing_is_written_over_its_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    set(root.join("set"), 6, 200);
    done(root, &train("run", "1"));
    refused(root, &["runs", "nowhere", "--json"], &["nowhere is no folder"]);
    refused(root, &["runs", "set/train-images-idx3-ubyte"], &["is no folder"]);
    // The folder of a run stands for itself.
    assert_eq!(last_line(&done(root, &["runs", "run", "--json"]))["runs"].as_array().map(Vec::len), Some(1));
    let before = fs::read(root.join("run/model.safetensors")).expect("read");
    refused(root, &["pack", "run", "-o", "run/model.safetensors", "--force"], &["is what this is made from"]);
    done(root, &["pack", "run", "-o", "packed.safetensors"]);
    for args in [&["export", "packed.safetensors", "--to", "npy"][..], &["import", "packed.safetensors"]] {
        refused(
            root,
            &[args, &["-o", "packed.safetensors", "--force"]].concat(),
            &["is what this is made from"],
        );
    }
    assert!(fs::read(root.join("run/model.safetensors")).expect("read") == before);
}
