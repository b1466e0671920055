//! A run that is stopped, by a signal, a kill, a full disk or a lost device, and taken up again: nothing
//! is lost, and the weights end as if it had never stopped.

mod common;

use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use common::process::{adapter_flags, code, idx, program, stderr, text};
use common::{Shaders, gpu};
use sterna::mnist::{Dataset, Split};
use sterna::model::{Mlp, Precision};
use sterna::random::{self, Stream};
use sterna::store::{Checkpoint, Progress};
use sterna::train::{Augment, Config, Digits, Heard, Optimizer, Trainer};

/// Images of 10 x 12 in three classes, which a network learns in a few steps.
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

/// A number below `most` that differs from run to run, told in case a test fails.
fn any(what: &str, most: usize) -> usize {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    let number = random::draw(now.as_nanos() as u64, Stream::Order, 0, 0)[0] as usize % most;
    eprintln!("{what}: {number}");
    number
}

// --- the library -----------------------------------------------------------------------------------

/// Where a training stands, as a file.
fn file(trainer: &Trainer<Mlp, Digits>) -> Result<Checkpoint, sterna::gpu::Error> {
    trainer.checkpoint(&trainer.network.shape.arch(), serde_json::Value::Null)
}

/// Trains to the end, through a file after each of the steps at which it is stopped.
fn trained(data: &Dataset, config: &Config, stops: &[usize]) -> Checkpoint {
    let gpu = gpu(Shaders::Plain);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let mut trainer = Trainer::new(gpu, data, config).expect("the data fits");
    let steps = config.steps_per_epoch(data.train.len());
    while trainer.epoch < config.epochs {
        let before = trainer.steps();
        let next = stops.iter().copied().find(|&stop| stop > before).unwrap_or(usize::MAX);
        let mut heard = |heard: &Heard| {
            let step = before / steps * steps + heard.items.div_ceil(config.batch);
            if step >= next { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        trainer.run(&mut heard).expect("the device works");
        if stops.is_empty() {
            continue;
        }
        file(&trainer).expect("read back").save(&path).expect("saved");
        trainer = Trainer::new(gpu, data, config).expect("the data fits");
        trainer.restore(&Checkpoint::load(&path).expect("loaded")).expect("restored");
    }
    file(&trainer).expect("read back")
}

#[test]
fn an_interrupted_run_ends_with_the_same_bits_at_any_three_points() {
    let data = set(230);
    let plain = Config { epochs: 3, batch: 10, hidden: vec![33, 20], ..Config::default() };
    let all = 3 * plain.steps_per_epoch(230);
    let stops = [any("first stop", all), any("second", all), any("third", all)];
    let configs = [
        plain.clone(),
        Config { augment: Augment::None, weight_decay: 0.01, label_smoothing: 0.1, ..plain.clone() },
        Config { augment: Augment::Shift, precision: Precision::F32, lr: 1e-3, ..plain.clone() },
        Config { optimizer: Optimizer::Sgd, lr: 0.05, ..plain.clone() },
        Config { shadow: false, ..plain.clone() },
    ];
    for config in configs {
        let [whole, stopped] = [trained(&data, &config, &[]), trained(&data, &config, &stops)];
        assert_eq!(whole.parameters, stopped.parameters, "{config:?} stopped at {stops:?}");
        assert!(
            whole.parameters[0].moments.as_ref().is_some_and(|moments| moments.m.iter().any(|&m| m != 0.0))
        );
    }
}

#[test]
fn the_score_of_an_epoch_does_not_depend_on_a_pause_in_it() {
    let data = set(230);
    let gpu = gpu(Shaders::Plain);
    let config = Config { epochs: 1, batch: 10, hidden: vec![20], ..Config::default() };
    let mut trainer = Trainer::new(gpu, &data, &config).expect("fits");
    let (whole, losses) = (trainer.run_epoch(&mut |_| {}).expect("an epoch"), trainer.losses);
    assert_eq!(losses.len(), 23, "of each step, for there are few: {losses:?}");
    let mean = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / 23.0;
    assert!((mean - whole.loss).abs() < 1e-5 * whole.loss, "{mean} of the steps, {} in all", whole.loss);
    let mut first = Trainer::new(gpu, &data, &config).expect("fits");
    let none = first.run(&mut |_| ControlFlow::Break(())).expect("the device works");
    assert!(none.is_none() && first.position() > 0 && first.position() < 230, "{}", first.position());
    let file = file(&first).expect("read back");
    let mut second = Trainer::new(gpu, &data, &config).expect("fits");
    second.restore(&file).expect("restored");
    assert_eq!(second.run_epoch(&mut |_| {}).expect("the rest"), whole);
    assert_eq!(second.losses, losses);
}

#[test]
fn the_step_the_kernel_and_the_layer_that_diverge_are_found() {
    let data = set(60);
    let gpu = gpu(Shaders::Plain);
    // A rate that throws the weights out of f32's range within an epoch.
    let config = Config { epochs: 1, batch: 10, lr: 3e38, hidden: vec![20], ..Config::default() };
    let mut trainer = Trainer::new(gpu, &data, &config).expect("fits");
    let start = file(&trainer).expect("read back");
    trainer.run_epoch(&mut |_| {}).expect("the device works");
    assert!(!file(&trainer).expect("read back").is_finite(), "it diverges");
    let fault = trainer.first_fault(&start, 6).expect("the device works").expect("it does so again");
    assert!((1..=6).contains(&fault.step) && fault.tensor.starts_with("layers."), "{fault:?}");
    // The steps before it are sound.
    assert_eq!(trainer.first_fault(&start, fault.step - 1).expect("the device works"), None);
}

#[test]
fn a_device_that_is_lost_is_one_sentence() {
    let gpu = sterna::Gpu::new(&common::choice(Shaders::Plain)).expect("an adapter");
    let config = Config { epochs: 2, batch: 10, hidden: vec![20], ..Config::default() };
    let mut trainer = Trainer::new(&gpu, &set(60), &config).expect("fits");
    trainer.run_epoch(&mut |_| {}).expect("an epoch");
    gpu.device().destroy();
    let error = trainer.run_epoch(&mut |_| {}).expect_err("the device is gone").to_string();
    assert!(error.starts_with("the device failed: it was destroyed") && !error.contains('\n'), "{error}");
}

// --- the program -----------------------------------------------------------------------------------

/// The set as files.
fn files(folder: &Path, images: usize) -> PathBuf {
    let data = set(images);
    let path = folder.join("bands");
    fs::create_dir(&path).expect("created");
    for (name, split) in [("train", &data.train), ("t10k", &data.test)] {
        let count = split.len() as u32;
        let write = |kind: &str, magic: u32, sizes: &[u32], bytes: &[u8]| {
            fs::write(path.join(format!("{name}-{kind}-ubyte")), idx(magic, sizes, bytes)).expect("written");
        };
        write("images-idx3", 0x803, &[count, 10, 12], &split.images);
        write("labels-idx1", 0x801, &[count], &split.labels);
    }
    path
}

fn sterna(args: &[&str]) -> Command {
    let mut command = program();
    command.args(args).args(adapter_flags(args)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that takes a few seconds: small steps, many of them.
fn long<'a>(data: &'a str, out: &'a str) -> Vec<&'a str> {
    let mut args = vec!["train", "--data", data, "--out", out, "--epochs", "6", "--batch", "4"];
    args.extend(["--hidden", "40,30", "--checkpoint-seconds", "0.02", "--json"]);
    args
}

fn run(args: &[&str]) -> Output {
    sterna(args).output().expect("the program starts")
}

/// Waits for a file to appear, and says whether the program still runs then.
fn appeared(path: &Path, child: &mut Child) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
    child.try_wait().expect("asked").is_none()
}

/// The lines of metrics.jsonl without what depends on the clock.
fn metrics(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).expect("metrics");
    let timeless = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line.as_object_mut().expect("an object").retain(|key, _| !key.contains("seconds"));
        line.to_string()
    };
    text.lines().map(timeless).collect()
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_the_step_and_resume_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 1600);
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    assert_eq!(code(&run(&long(text(&data), text(&whole)))), 0);

    let model = stopped.join("model.safetensors");
    let mut child = sterna(&long(text(&data), text(&stopped))).spawn().expect("started");
    assert!(appeared(&model, &mut child), "the run is too short to be interrupted");
    std::thread::sleep(Duration::from_millis(any("milliseconds", 100) as u64));
    let interrupt = || {
        let id = child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
    };
    // A second signal within a second is the same wish.
    interrupt();
    std::thread::sleep(Duration::from_millis(20));
    interrupt();
    let output = child.wait_with_output().expect("it ends");
    let said = stderr(&output);
    assert_eq!(code(&output), 130, "{said}");
    let resume = format!("train --resume {}", text(&model));
    assert!(said.contains("Interrupted after epoch ") && said.contains(&resume), "{said}");
    assert!(output.stdout.is_empty(), "an interrupted run has no result");

    // What contradicts the run is refused by name; what agrees is not.
    for (flag, value) in [("--batch", "9"), ("--hidden", "40"), ("--lr", "0.5"), ("--augment", "none")] {
        let output = run(&["train", "--resume", text(&model), flag, value]);
        let said = stderr(&output);
        assert!(code(&output) == 2 && said.contains(&format!("{flag} {value} contradicts")), "{said}");
    }
    let resumed = run(&["train", "--resume", text(&model), "--epochs", "6", "--checkpoint-seconds", "0"]);
    assert_eq!(code(&resumed), 0, "{}", stderr(&resumed));
    assert!(stderr(&resumed).contains("going on after epoch "), "{}", stderr(&resumed));
    let [a, b] =
        [&whole, &stopped].map(|run| Checkpoint::load(&run.join("model.safetensors")).expect("loads"));
    assert_eq!(a.parameters, b.parameters, "weights, gains, moments and trits");
    assert_eq!(metrics(&whole), metrics(&stopped));

    // Two processes do not train in one folder; a run goes on under its own name, from its folder as well.
    let other = stopped.join("best.safetensors");
    fs::copy(&model, &other).expect("copied");
    let output = run(&["train", "--resume", text(&other)]);
    assert!(
        code(&output) == 2 && stderr(&output).contains("is not called model.safetensors"),
        "{}",
        stderr(&output)
    );
    fs::remove_file(&other).expect("removed");

    // A finished run stays as it is.
    let times = || {
        let list = fs::read_dir(&stopped).expect("listed").map(|entry| entry.expect("an entry"));
        let mut list: Vec<_> =
            list.map(|entry| (entry.file_name(), fs::read(entry.path()).expect("read"))).collect();
        list.sort();
        list
    };
    let before = times();
    let again = run(&["train", "--resume", text(&stopped), "--json"]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert!(stderr(&again).contains("6 epochs already done"), "{}", stderr(&again));
    assert!(before == times(), "a finished run was changed");
}

#[test]
#[cfg(unix)]
fn a_comparison_is_taken_up_where_it_was_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 1600);
    let out = folder.path().join("both");
    let args = [long(text(&data), text(&out)), vec!["--compare"]].concat();
    let mut child = sterna(&args).spawn().expect("started");
    assert!(appeared(&out.join("ternary-0/model.safetensors"), &mut child));
    // While the first of the two trains, nobody else does in its folder.
    let second = run(&["train", "--resume", text(&out.join("ternary-0")), "--no-tune"]);
    assert!(
        code(&second) == 2 && stderr(&second).contains("another process trains in "),
        "{}",
        stderr(&second)
    );
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 130, "{}", stderr(&output));
    assert!(stderr(&output).contains("the same command with --out"), "{}", stderr(&output));

    let other = [args.clone(), vec!["--epochs", "7"]].concat().join(" ").replacen("--epochs 6 ", "", 1);
    let refused = run(&other.split(' ').collect::<Vec<_>>());
    assert!(stderr(&refused).contains("--epochs 7 contradicts"), "{}", stderr(&refused));
    let done = run(&args);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    let curve = fs::read_to_string(out.join("compare.svg")).expect("a curve");
    assert!(curve.contains("bands, 6 epochs from seed 0"));
}

#[test]
#[cfg(unix)]
fn lines_of_the_metrics_that_were_lost_take_no_others_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 200);
    let out = folder.path().join("my run");
    let mut child = sterna(&long(text(&data), text(&out))).spawn().expect("started");
    let metrics = out.join("metrics.jsonl");
    let lines = || fs::read_to_string(&metrics).unwrap_or_default().lines().count();
    let end = Instant::now() + Duration::from_secs(60);
    while lines() < 2 {
        assert!(Instant::now() < end, "no epoch ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("killed");
    child.wait().expect("it ends");
    let whole = fs::read_to_string(&metrics).expect("read");
    let (first, rest) = whole.split_once('\n').expect("two lines");
    fs::write(&metrics, rest).expect("written");
    let done = run(&["train", "--resume", text(&out)]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    let now = fs::read_to_string(&metrics).expect("read");
    let epochs: Vec<u64> = now
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["epoch"]
                .as_u64()
                .expect("a number")
        })
        .collect();
    assert_eq!(epochs, [2, 3, 4, 5, 6], "{first}");
}

#[test]
#[cfg(unix)]
fn killed_twenty_times_a_run_always_has_its_file_and_ends_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 1600);
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    assert_eq!(code(&run(&long(text(&data), text(&whole)))), 0);
    let model = killed.join("model.safetensors");
    let resume = ["train", "--resume", text(&model), "--checkpoint-seconds", "0.02"];
    let written = || fs::metadata(&model).and_then(|file| file.modified()).ok();
    let (mut steps, mut most, mut kills) = (0, 0, 0);
    while kills < 20 {
        let (first, before) = (!model.exists(), written());
        let mut child = match first {
            true => sterna(&long(text(&data), text(&killed))).spawn().expect("started"),
            false => sterna(&resume).spawn().expect("started"),
        };
        // Every other kill waits for the run to have saved something, wherever it is then.
        if first || kills % 2 == 1 {
            let end = Instant::now() + Duration::from_secs(60);
            while written() == before && child.try_wait().expect("asked").is_none() {
                assert!(Instant::now() < end, "nothing is saved");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(Duration::from_millis(any("milliseconds to the kill", 300) as u64));
        if child.try_wait().expect("asked").is_some_and(|ended| ended.success()) {
            // Too fast for the killer: once more from the start.
            fs::remove_dir_all(&killed).expect("removed");
            steps = 0;
            continue;
        }
        child.kill().expect("killed");
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        let ended = child.wait().expect("it ends");
        assert!(ended.code().is_none() || ended.success(), "{ended:?} {said}");
        kills += 1;
        let file = Checkpoint::load(&model).expect("the file is whole at any moment");
        let progress = file.progress.expect("and can be trained on");
        let now = progress.epoch * 400 + progress.step;
        assert!(now >= steps, "step {steps} was saved before, now {now}");
        steps = now;
        most = most.max(now);
    }
    eprintln!("{kills} kills, at most at step {most} of 2400");
    assert!(most > 0, "every kill came before the first step");
    let resumed = run(&resume);
    assert_eq!(code(&resumed), 0, "{}", stderr(&resumed));
    let [a, b] =
        [&whole, &killed].map(|run| Checkpoint::load(&run.join("model.safetensors")).expect("loads"));
    assert_eq!(a.parameters, b.parameters);
    assert_eq!(metrics(&whole), metrics(&killed));
    let left = fs::read_dir(&killed).expect("listed").map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".sterna-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_lost_device_ends_the_program_with_its_last_checkpoint_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 1600);
    let out = folder.path().join("run");
    let args = [long(text(&data), text(&out)), vec!["--destroy-device-after", "900"]].concat();
    let output = run(&args);
    let said = stderr(&output);
    let last = said.lines().last().expect("a line");
    assert_eq!(code(&output), 2, "{said}");
    assert!(last.starts_with("sterna: the device failed: it was destroyed"), "{said}");
    let model = out.join("model.safetensors");
    assert!(last.contains(&format!("--resume {}", text(&model))), "{said}");
    let progress = Checkpoint::load(&model).expect("whole").progress.expect("it can be trained on");
    assert!(progress.epoch >= 1, "{progress:?}");
    assert_eq!(code(&run(&["train", "--resume", text(&model)])), 0);
}

/// Runs a script with a small file system of its own at `disk`; the mount goes with the script.
#[cfg(target_os = "linux")]
fn on_small_disk(disk: &Path, bytes: u64, script: &str) -> Output {
    fs::create_dir(disk).expect("created");
    let mount = format!("mount -t tmpfs -o size={bytes} tmpfs {} && {script}", text(disk));
    // Root needs no user namespace, and may not get one; others need one.
    let root = Command::new("id").arg("-u").output().expect("id runs").stdout.starts_with(b"0");
    let flags = if root { "-m" } else { "-rm" };
    let output = Command::new("unshare").args([flags, "sh", "-c", &mount]).output().expect("unshare runs");
    let said = stderr(&output);
    assert!(
        !said.contains("unshare failed") && !said.contains("permission denied"),
        "no small disk here: {said}"
    );
    output
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 1600);
    let program = env!("CARGO_BIN_EXE_sterna");
    let command = |out: &Path| {
        format!(
            "{program} {} {}",
            long(text(&data), text(out)).join(" "),
            adapter_flags(&["train"]).join(" ")
        )
    };
    // The size of a file of this run.
    let free = folder.path().join("free");
    assert_eq!(code(&run(&long(text(&data), text(&free)))), 0);
    let size = fs::metadata(free.join("model.safetensors")).expect("there").len();

    // Room for one file and a half: the first is written, no other ever is.
    let disk = folder.path().join("disk");
    let out = disk.join("run");
    let model = out.join("model.safetensors");
    let script =
        format!("{}; echo ended $?; {program} eval {} --data {}", command(&out), text(&model), text(&data));
    let output = on_small_disk(&disk, size * 3 / 2 + 65_536, &script);
    let (said, told) = (stderr(&output), String::from_utf8_lossy(&output.stdout).to_string());
    assert!(said.contains("model.safetensors: cannot be written: "), "{said}");
    assert!(said.contains("training goes on") && said.contains("epoch  6/6"), "{said}");
    assert!(told.contains("ended 2"), "a run whose model is not on disk ends as an error: {told} {said}");
    assert_eq!(code(&output), 0, "the first file is whole: {said}");

    // Room again after a while: the run makes up for it and ends well.
    let disk = folder.path().join("second");
    let out = disk.join("run");
    let stuffed = format!("head -c {} /dev/zero > {}/stuffing", size * 5 / 2 + (1 << 20), text(&disk));
    // Once the program has told of it, there is room again.
    let log = folder.path().join("told");
    let wait = format!("until grep -qs 'training goes on' {}; do sleep 0.02; done", text(&log));
    let script = format!(
        "{stuffed}; ({wait}; rm {}/stuffing) & waiter=$!; {} >{log} 2>&1; code=$?; kill $waiter 2>/dev/null; \
         cat {log} >&2; exit $code",
        text(&disk),
        command(&out),
        log = text(&log)
    );
    let output = on_small_disk(&disk, size * 4 + (1 << 20) + 65_536, &script);
    let said = stderr(&output);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("training goes on") && said.contains("model.safetensors is written again"),
        "{said}"
    );
}

#[test]
fn checkpoints_that_cannot_be_gone_on_with_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = files(folder.path(), 64);
    let out = folder.path().join("run");
    let args = [
        "train",
        "--data",
        text(&data),
        "--out",
        text(&out),
        "--epochs",
        "1",
        "--batch",
        "8",
        "--hidden",
        "9",
    ];
    assert_eq!(code(&run(&args)), 0);
    let model = out.join("model.safetensors");
    let bytes = fs::read(&model).expect("read");
    let whole = Checkpoint::load(&model).expect("loads");
    let refused = |what: &str, parts: &[&str]| {
        for args in
            [vec!["train", "--resume", text(&model)], vec!["eval", text(&model), "--data", text(&data)]]
        {
            let output = run(&args);
            let said = stderr(&output);
            assert_eq!(code(&output), 2, "{what}, {args:?}: {said}");
            assert!(said.starts_with("sterna: ") && said.trim_end().lines().count() == 1, "{what}: {said}");
            assert!(said.contains(text(&model)), "{what}: {said}");
            for part in parts {
                assert!(said.contains(part), "{what}: {part:?} is missing in {said}");
            }
        }
    };
    fs::write(&model, &bytes[..bytes.len() - 5]).expect("written");
    refused("truncated", &["is no safetensors file"]);
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    for (what, at) in [("a bit of the weights", header + 100), ("the last bit", bytes.len() - 1)] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&model, flipped).expect("written");
        refused(what, &["is damaged: its checksum"]);
    }
    let text_of = |from: &str, to: &str| {
        let header = String::from_utf8(bytes[8..header].to_vec()).expect("text");
        assert!(header.contains(from), "{header}");
        [&bytes[..8], header.replacen(from, to, 1).as_bytes(), &bytes[header.len() + 8..]].concat()
    };
    fs::write(&model, text_of(r#""schema":"2""#, r#""schema":"9""#)).expect("written");
    refused("another version", &["has schema 9, this version reads 1 and 2"]);
    let mut diverged = whole.clone();
    diverged.parameters[3].values[3] = f32::NAN;
    diverged.save(&model).expect("saved");
    refused("NaN", &["layers.1.gain holds NaN at index 3"]);

    // These can be evaluated, but not gone on with.
    let resume = |what: &str, file: &Checkpoint, part: &str| {
        file.save(&model).expect("saved");
        let output = run(&["train", "--resume", text(&model)]);
        let said = stderr(&output);
        assert!(code(&output) == 2 && said.contains(text(&model)) && said.contains(part), "{what}: {said}");
    };
    let mut other = whole.clone();
    other.run["config"]["hidden"] = serde_json::json!([8]);
    resume("another shape", &other, "has layers of [120, 9, 3], but its config asks for [120, 8, 3]");
    resume("no progress", &Checkpoint { progress: None, ..whole.clone() }, "not where its training stands");
    let mut other = whole.clone();
    other.run["data"]["crc32"] = serde_json::json!(1);
    resume("another set", &other, "was trained on bands, not on this bands");
    let mut other = whole.clone();
    other.run["config"]["epochs"] = serde_json::json!("many");
    resume("a config that is none", &other, "has no config to go on with");
    let beyond = whole.progress.clone().map(|progress| Progress { epoch: 7, ..progress });
    resume("a place past the end", &Checkpoint { progress: beyond, ..whole.clone() }, "stands after epoch 7");
}
