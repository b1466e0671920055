//! Training under `mpirun`: the same weights whatever the number of ranks, files of one rank only, and an end of all ranks
//! if one of them fails. These tests need the feature `mpi` and the command `mpirun`.

#![cfg(feature = "mpi")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::process::{adapter_flags, code, stderr, stdout};
use sterna::store::Checkpoint;

/// A run of `count` ranks. The ranks of a software rasteriser share the cores.
fn mpirun(count: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &count.to_string()]);
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.arg(env!("CARGO_BIN_EXE_sterna")).stdin(Stdio::null());
    command
}

/// A small language model.
const SMALL: [&str; 17] = [
    "train",
    "--text",
    "--layers",
    "1",
    "--width",
    "64",
    "--heads",
    "2",
    "--kv-heads",
    "2",
    "--ffn",
    "128",
    "--context",
    "16",
    "--batch",
    "4",
    "--no-tune",
];

fn train(count: usize, out: &Path, more: &[&str]) -> Command {
    let mut command = mpirun(count);
    command.args(SMALL).args(adapter_flags(&["train"])).args(more).arg("--out").arg(out);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("mpirun is here: `sh .ci/mpi` installs it")
}

/// The parameters of a run, and its progress without times.
fn saved(folder: &Path) -> Vec<u8> {
    let mut file = Checkpoint::load(&folder.join("model.safetensors")).expect("a whole checkpoint");
    file.run = serde_json::Value::Null;
    file.progress.as_mut().expect("a training").seconds = 0.0;
    file.to_bytes()
}

#[test]
fn ranks_under_mpirun_train_the_same_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = ["--steps", "12", "--every", "6"];
    let mut files = Vec::new();
    for count in [1, 2, 3] {
        let out = folder.path().join(count.to_string());
        let output = run(&mut train(count, &out, &steps));
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        // Only the first rank prints.
        assert_eq!(stdout(&output).matches("Validation loss").count(), 1, "{}", stdout(&output));
        assert_eq!(
            stderr(&output).matches(&format!("{count} ranks, each on")).count(),
            usize::from(count > 1)
        );
        let config = fs::read_to_string(out.join("config.json")).expect("a config");
        assert!(config.contains("\"micro_batches\": 4"), "{config}");
        files.push(saved(&out));
    }
    assert!(files.iter().all(|file| *file == files[0]), "the ranks trained different weights");
    // The same run without mpirun.
    let out = folder.path().join("alone");
    let mut alone = Command::new(env!("CARGO_BIN_EXE_sterna"));
    alone
        .args(SMALL)
        .args(adapter_flags(&["train"]))
        .args(steps)
        .args(["--micro-batches", "4", "--out"])
        .arg(&out);
    assert_eq!(code(&run(&mut alone)), 0);
    assert!(saved(&out) == files[0], "one process trained other weights");
}

/// Two ranks of one world: this program with some flags, and another program with other flags.
fn two(first: &[&str], program: &Path, second: &[&str]) -> Output {
    let flags = adapter_flags(&["train"]);
    let mut command = mpirun(1);
    command.args(first).args(&flags).args([":", "-n", "1"]).arg(program).args(second).args(&flags);
    run(&mut command)
}

#[test]
fn what_ranks_must_have_in_common_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_string();
    let own = Path::new(env!("CARGO_BIN_EXE_sterna"));
    let out = place("run");
    let refused = |output: &Output, what: &str| {
        assert_ne!(code(output), 0);
        let (said, sentence) =
            (stderr(output), format!("sterna: {what} of rank 1 differs from that of rank 0"));
        assert!(said.contains(&sentence), "{said}");
    };
    let train = [&SMALL[..], &["--steps", "5", "--out", &out]].concat();
    refused(&two(&[&train[..], &["--seed", "1"]].concat(), own, &train), "the config");

    // A program with one more byte.
    let other = folder.path().join("other");
    fs::copy(own, &other).expect("copied");
    let mut file = fs::OpenOptions::new().append(true).open(&other).expect("opened");
    std::io::Write::write_all(&mut file, b"x").expect("written");
    drop(file);
    refused(&two(&train, &other, &train), "the program");

    // Texts of the same length.
    let texts = [("a", "fair is foul, "), ("b", "foul is fair, ")].map(|(name, line)| {
        fs::write(place(name), line.repeat(400)).expect("written");
        let mut words: Vec<String> = train.iter().map(|word| (*word).into()).collect();
        words.insert(2, place(name));
        words
    });
    let [first, second] = texts.each_ref().map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
    refused(&two(&first, own, &second), "the data");
    assert!(!Path::new(&out).exists(), "a refused run leaves no folder");

    // A checkpoint with another value.
    let output = run(mpirun(1).args(&train).args(adapter_flags(&["train"])));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    let mut file = Checkpoint::load(&Path::new(&out).join("model.safetensors")).expect("a checkpoint");
    file.parameters[0].values[0] += 1.0;
    file.save(&copy.join("model.safetensors")).expect("saved");
    let resume = |folder| ["train", "--no-tune", "--steps", "9", "--resume", folder];
    refused(&two(&resume(&out), own, &resume(copy.to_str().expect("a plain name"))), "the checkpoint");

    let output = run(&mut many_ranks(5, folder.path()));
    assert_ne!(code(&output), 0);
    let said = stderr(&output);
    assert!(said.contains("5 ranks cannot share 4 micro-batches: use at most 4 ranks"), "{said}");
    let output = run(mpirun(2).args(["train", "--compare"]));
    assert_ne!(code(&output), 0);
    let said = stderr(&output);
    assert!(said.contains("--compare trains two networks on one machine: leave out mpirun"), "{said}");
}

fn many_ranks(count: usize, folder: &Path) -> Command {
    train(count, &folder.join("many"), &["--steps", "5"])
}

#[test]
fn scale_measures_a_shared_step_beside_its_prediction() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let output = run(&mut train(1, &out, &["--steps", "1"]));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let scale = |more: &[&str]| {
        let mut command = mpirun(2);
        command.arg("scale").arg(&out).args(["--step-seconds", "0", "--ranks", "1..4", "--no-tune"]);
        run(command.args(adapter_flags(&["scale"])).args(more))
    };
    let output = scale(&["--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let found: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("one object of one rank");
    assert_eq!((&found["per_adapter"], &found["latency_is"]), (&2.into(), &"measured".into()));
    let seen = &found["seen"]["measured"];
    assert_eq!((&seen["ranks"], &seen["micro_batches"]), (&2.into(), &2.into()));
    let parts = seen["seconds"].as_object().expect("parts");
    assert!(parts.len() == 5 && parts.values().all(|part| part.as_f64() > Some(0.0)), "{seen}");
    // The prediction is that of the table: two ranks take turns, and then exchange.
    assert_eq!(found["seen"]["predicted_step_seconds"], found["rows"][1]["shared_seconds"]);

    let output = scale(&["--gbit", "1", "--latency-us", "30", "--per-adapter", "1"]);
    let said = stdout(&output);
    assert!(said.contains("Network: 1 Gbit/s (given), latency 30 µs (given).\n"), "{said}");
    assert!(said.contains("of it exchanges") && !said.contains("take turns"), "{said}");
}

#[test]
fn a_rank_that_stops_answering_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let mut command = train(3, &out, &["--steps", "100000", "--every", "10", "--exchange-timeout", "3"]);
    command.stderr(Stdio::piped()).stdout(Stdio::null());
    let mpirun = command.spawn().expect("mpirun is here");
    let ranks = ranks_in(&out, 3);
    signal("-STOP", ranks[2].1);
    let output = mpirun.wait_with_output().expect("it ends");
    assert_ne!(code(&output), 0);
    let (said, rank) = (stderr(&output), ranks[2].0);
    assert!(said.contains(&format!("sterna: rank {rank} did not come to the exchange within 3 s")), "{said}");
    all_ended(&ranks);
    saved(&out);
}

#[test]
fn a_killed_rank_ends_the_others_and_leaves_a_whole_checkpoint() {
    // `STERNA_KILLS=20` repeats it as often.
    let times = std::env::var("STERNA_KILLS").map_or(2, |times| times.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let mut last = 0;
    for time in 0..times {
        let mut command = match time {
            0 => train(3, &out, &["--steps", "100000", "--every", "10"]),
            _ => {
                let mut command = mpirun(3);
                command.args(["train", "--no-tune", "--resume"]).arg(&out).args(adapter_flags(&["train"]));
                command
            }
        };
        command.args(["--checkpoint-seconds", "0.2"]).stderr(Stdio::piped()).stdout(Stdio::null());
        let mpirun = command.spawn().expect("mpirun is here");
        let ranks = ranks_in(&out, 3);
        // Another moment each time, with and without a checkpoint on the way.
        std::thread::sleep(Duration::from_millis(211 * (time * 17 % 40) as u64));
        signal("-KILL", ranks[time % 3].1);
        let begun = Instant::now();
        let output = mpirun.wait_with_output().expect("it ends");
        assert_ne!(code(&output), 0);
        assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
        assert!(stderr(&output).contains("exited on signal 9"), "{}", stderr(&output));
        all_ended(&ranks);
        let file = Checkpoint::load(&out.join("model.safetensors")).expect("a whole checkpoint");
        let progress = file.progress.expect("a training");
        let step = progress.epoch * 10 + progress.step;
        eprintln!("killed rank {} after step {step}", ranks[time % 3].0);
        assert!(step >= last, "step {step} after step {last}");
        last = step;
    }
}

/// The ranks that train in a folder, after its first checkpoint: number and process.
fn ranks_in(out: &Path, count: usize) -> Vec<(usize, u32)> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(120), "{count} ranks do not come");
        std::thread::sleep(Duration::from_millis(100));
        let processes = fs::read_dir("/proc").expect("Linux has it").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let rank = |pid: u32| {
            let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}"));
            let (command, variables) = (read("cmdline").ok()?, read("environ").ok()?);
            let number = variables.split('\0').find_map(|pair| pair.strip_prefix("OMPI_COMM_WORLD_RANK="))?;
            command.contains(out.to_str()?).then_some((number.parse().ok()?, pid))
        };
        let mut ranks: Vec<(usize, u32)> = pids.filter_map(rank).collect();
        ranks.sort_unstable();
        let metrics = fs::metadata(out.join("metrics.jsonl")).is_ok_and(|file| file.len() > 0);
        if ranks.len() == count && metrics {
            return ranks;
        }
    }
}

fn signal(which: &str, pid: u32) {
    let status = Command::new("kill").args([which, &pid.to_string()]).status();
    assert!(status.expect("kill is here").success(), "no process {pid}");
}

/// None of these processes is left.
fn all_ended(ranks: &[(usize, u32)]) {
    let begun = Instant::now();
    for (rank, pid) in ranks {
        while Path::new(&format!("/proc/{pid}")).exists() {
            assert!(begun.elapsed() < Duration::from_secs(10), "rank {rank} is left");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
