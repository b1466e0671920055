//! The tuner: what it may choose, what it keeps, and that whatever is wrong with what it kept does no harm.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::process::{adapter_flags, code, idx, program, stderr, stdout, text};
use common::{Shaders, gpu};
use serde_json::{Value, json};
use sterna::gpu::{Kernel, wgpu};
use sterna::kernels;
use sterna::measure::tuning::{Attempt, Tried, Tuned, Why, candidates, keep, open, recall, try_candidates};
use sterna::measure::{Effort, Room, Wanted};

const SHAPE: &str = "40x192";
const WANTED: Wanted = Wanted { operation: "gemv_ternary", shape: [1, 40, 192] };

/// A layer of the networks that are trained here; the others have the same candidates.
const LAYER: Wanted = Wanted { operation: "matmul_ternary", shape: [32, 20, 30] };

/// Seconds in which every candidate is tried, on a busy machine too.
const AMPLE: Effort = Effort::Within(20.0);

/// Runs the program with its choices in `cache`.
fn sterna(cache: &Path, args: &[&str]) -> Output {
    program().env("STERNA_CACHE", cache).args(args).args(adapter_flags(args)).output().expect("it starts")
}

fn result(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", stderr(output)))
}

fn tuned(cache: &Path) -> Value {
    let output = sterna(cache, &["tune", "--shapes", SHAPE, "--product-seconds", "0.2", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    result(&output)
}

/// A data set of three classes, written once for each test.
fn data(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    fs::create_dir(&data).expect("created");
    for (half, count) in [("train", 96u32), ("t10k", 32)] {
        let pixels: Vec<u8> = (0..count * 30).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        let write =
            |name: &str, bytes| fs::write(data.join(format!("{half}-{name}")), bytes).expect("written");
        write("images-idx3-ubyte", idx(0x803, &[count, 6, 5], &pixels));
        write("labels-idx1-ubyte", idx(0x801, &[count], &labels));
    }
    data
}

/// What training says on stderr, with a line for every kernel that was compiled.
fn trained(cache: &Path, data: &Path, flags: &[&str]) -> String {
    let out = tempfile::tempdir().expect("a folder");
    let out = out.path().join("run");
    let args = [
        "train",
        "--data",
        text(data),
        "--out",
        text(&out),
        "--epochs",
        "1",
        "--batch",
        "32",
        "--hidden",
        "20",
    ];
    let args = [&args, flags].concat();
    let mut command = program();
    command.env("STERNA_CACHE", cache).env("RUST_LOG", "sterna=debug");
    let output = command.args(&args).args(adapter_flags(&args)).output().expect("it starts");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stderr(&output)
}

/// The variants of matmul_ternary that were compiled.
fn compiled(said: &str) -> Vec<&'static str> {
    let names = kernels::variants("matmul_ternary").iter().map(|kernel| kernel.name);
    let mut names: Vec<&str> =
        names.filter(|name| said.contains(&format!("compiling {name} with"))).collect();
    names.dedup();
    names
}

const NEW: &str = "not seen on this adapter before";

/// The only file in the folder.
fn file(cache: &Path) -> PathBuf {
    let mut files = fs::read_dir(cache).expect("the folder").map(|entry| entry.expect("an entry").path());
    let file = files.next().expect("a file");
    assert_eq!(files.next(), None, "more than one file");
    file
}

/// A file of choices: what it is for, and the kernels by operation and class. As it is written here each choice is sure,
/// and its rounds spread so far that no check says anything against it.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    heading: String,
    choices: BTreeMap<String, String>,
}

impl Kept {
    fn read(path: &Path) -> Kept {
        let text = fs::read_to_string(path).expect("the file");
        let lines = text.lines().collect::<Vec<&str>>();
        let (heading, choices) = lines.split_at(7.min(lines.len()));
        let choice = |line: &&str| {
            let (at, line) = line.split_once(": ")?;
            let kernel = line.splitn(3, ' ').nth(2)?;
            Some((at.into(), kernel.into()))
        };
        let choices = choices.iter().map(|line| choice(line).unwrap_or_else(|| panic!("{line}")));
        Kept { heading: heading.iter().map(|line| format!("{line}\n")).collect(), choices: choices.collect() }
    }

    fn text(&self) -> String {
        let lines = self.choices.iter().map(|(at, kernel)| format!("{at}: sure 99 {kernel}\n"));
        self.heading.clone() + &lines.collect::<String>()
    }

    /// The same with another value in the heading.
    fn with(&self, key: &str, value: &str) -> String {
        let line = self.heading.lines().find(|line| line.starts_with(&format!("{key} "))).expect("a line");
        self.text().replacen(line, &format!("{key} {value}"), 1)
    }

    /// The same with this one choice.
    fn only(&self, line: &str) -> String {
        format!("{}{line}\n", self.heading)
    }
}

const KEYS: [&str; 6] = ["schema", "sterna_version", "adapter", "backend", "driver", "kernels"];

#[test]
fn every_candidate_is_tried_and_the_fastest_is_kept() {
    let cache = tempfile::tempdir().expect("a folder");
    let line = tuned(cache.path());
    let ours = line["tuned"].as_array().expect("tuned").iter().find(|t| t["operation"] == "gemv_ternary");
    let ours = ours.unwrap_or_else(|| panic!("no gemv_ternary in {line}"));
    assert_eq!(ours["shape"], json!([40, 192]));
    let tried = ours["candidates"].as_array().expect("candidates");
    assert_eq!(tried.len(), candidates(gpu(Shaders::Plain), WANTED).len());
    let seconds = |name: &Value| {
        let found = tried.iter().find(|tried| tried["kernel"] == *name);
        found.and_then(|tried| tried["seconds"].as_f64()).expect("a time")
    };
    assert!(tried.iter().all(|tried| tried["wrong"].is_null()), "{line}");
    assert!(seconds(&ours["winner"]) > 0.0);
    let kept = Kept::read(&file(cache.path()));
    assert_eq!(kept.choices["gemv_ternary 40x192x1"], ours["winner"]);
    assert_eq!(line["kept_in"], json!(text(&file(cache.path()))));
    for key in KEYS {
        let told = |line: &str| line.strip_prefix(&format!("{key} ")).is_some_and(|value| !value.is_empty());
        assert!(kept.heading.lines().any(told), "{key} is missing in {kept:?}");
    }
}

#[test]
fn the_kept_choice_is_used_and_no_tune_takes_the_default() {
    let (folder, plain) = (tempfile::tempdir().expect("a folder"), gpu(Shaders::Plain));
    let (data, cache) = (data(folder.path()), folder.path().join("cache"));
    assert!(trained(&cache, &data, &[]).contains(NEW));
    let (path, mut kept) = (file(&cache), Kept::read(&file(&cache)));
    let candidates = candidates(plain, LAYER);
    for candidate in &candidates {
        for choice in kept.choices.values_mut() {
            *choice = candidate.described(plain.tuning());
        }
        fs::write(&path, kept.text()).expect("written");
        let said = trained(&cache, &data, &[]);
        // The check compiles the default too.
        let names = compiled(&said);
        assert!(names.contains(&candidate.name), "{said}");
        assert!(names.iter().all(|name| [candidate.name, candidates[0].name].contains(name)), "{said}");
        assert!(!said.contains(NEW), "{said}");
    }
    let before = fs::read(&path).expect("the file");
    for flag in ["--no-tune", "--checked"] {
        assert_eq!(compiled(&trained(&cache, &data, &[flag])), [candidates[0].name], "{flag}");
    }
    assert_eq!(fs::read(&path).expect("the file"), before);
    fs::remove_file(&path).expect("removed");
    assert!(!trained(&cache, &data, &["--no-tune"]).contains(NEW));
    assert!(!path.exists(), "--no-tune wrote a file");
}

#[test]
fn bench_measures_the_kept_choice() {
    let (cache, plain) = (tempfile::tempdir().expect("a folder"), gpu(Shaders::Plain));
    tuned(cache.path());
    let (path, mut kept) = (file(cache.path()), Kept::read(&file(cache.path())));
    let rival = *candidates(plain, WANTED).last().expect("several");
    kept.choices.insert("gemv_ternary 40x192x1".into(), rival.described(plain.tuning()));
    fs::write(&path, kept.text()).expect("written");
    let line = result(&sterna(
        cache.path(),
        &["bench", "gemv", "--shapes", SHAPE, "--seconds", "0", "--memory", "16", "--json"],
    ));
    let rows = line["rows"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["kernel"] == rival.name), "no {} in {line}", rival.name);
}

#[test]
fn a_benchmark_keeps_its_ceilings_and_says_when_it_used_kept_ones() {
    let cache = tempfile::tempdir().expect("a folder");
    let measured_over = |memory: &str, flags: &[&str]| {
        let args = ["bench", "gemv", "--shapes", SHAPE, "--memory", memory, "--no-tune", "--json"];
        let output = sterna(cache.path(), &[&args, flags].concat());
        // What is faster than a ceiling that was measured beside other work is another test's.
        assert!([0, 1].contains(&code(&output)), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.lines().filter(|line| line.starts_with("bench gemv: 7 products at 1 shape")).count() == 1,
            "{said}"
        );
        // Beside it a line for each figure that cannot be trusted, and none of progress.
        assert!(said.lines().skip(1).all(|line| line.contains("of the read bandwidth")), "{said}");
        let line = result(&output);
        (line["read_gb_per_s"].as_f64().expect("a figure"), line["ceilings_kept_seconds"].as_f64(), said)
    };
    let run = |flags: &[&str]| measured_over("16", flags);
    let (first, kept, said) = run(&["--seconds", "0.02"]);
    assert!(kept.is_none() && said.contains("ceilings measured"), "{said}");
    let (again, kept, said) = run(&["--seconds", "0.01"]);
    assert!(kept.is_some_and(|age| age > 0.0) && said.contains("--fresh measures again"), "{said}");
    assert!(again >= first, "the better figure counts");
    // What is asked for more time, over other memory, or anew, is measured.
    for flags in [&["--seconds", "0.03"][..], &["--seconds", "0.01", "--fresh"]] {
        assert_eq!(run(flags).1, None, "{flags:?}");
    }
    assert_eq!(measured_over("8", &["--seconds", "0.01"]).1, None, "a cache may hold less memory");
    assert_eq!(run(&["--seconds", "0", "--checked"]).1, None, "with checks nothing is kept");
    // Nor does a file of yesterday count, or a broken one.
    let mut files =
        fs::read_dir(cache.path()).expect("the folder").map(|entry| entry.expect("an entry").path());
    let file = files.find(|path| text(path).ends_with(".json")).expect("a file");
    let mut old: Value = serde_json::from_str(&fs::read_to_string(&file).expect("text")).expect("JSON");
    old["unix_seconds"] = json!(old["unix_seconds"].as_f64().expect("a time") - 86_400.0);
    for broken in [old.to_string(), old.to_string()[..99].to_string()] {
        fs::write(&file, broken).expect("written");
        assert_eq!(run(&["--seconds", "0"]).1, None);
    }
}

#[test]
fn what_is_wrong_with_the_file_is_put_right_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, cache) = (data(folder.path()), folder.path().join("cache"));
    trained(&cache, &data, &[]);
    let (path, good) = (file(&cache), Kept::read(&file(&cache)));
    let whole = good.text();
    let cases = [
        ("empty", String::new()),
        ("cut off", whole[..good.heading.len() / 2].to_string()),
        ("no text", "\u{0}\u{1}".into()),
        ("another schema", good.with("schema", "0")),
        ("another version", good.with("sterna_version", "0.0.1")),
        ("another adapter", good.with("adapter", "Voodoo 2")),
        ("another driver", good.with("driver", "older")),
        ("other kernels", good.with("kernels", "00")),
        ("no choices", good.heading.clone()),
        ("no choice", good.only("matmul_ternary 20x32x32")),
        ("a choice of before there was trust", good.only("matmul_ternary 20x32x32: matmul_ternary WG=8")),
        ("no number", good.only("matmul_ternary 20x32x32: sure much matmul_ternary WG=8")),
        ("unknown kernel", good.only("matmul_ternary 20x32x32: sure 0 matmul_ternary_best WG=8")),
        ("kernel of another operation", good.only("matmul_ternary 20x32x32: sure 0 relu WG=8")),
        ("unknown operation", good.only("matmul_best 20x32x32: sure 0 matmul_ternary WG=8")),
        ("no shape", good.only("matmul_ternary 20xx32: sure 0 matmul_ternary WG=8")),
    ];
    for (number, (what, text)) in cases.into_iter().enumerate() {
        fs::write(&path, text).expect("written");
        assert_eq!(recall(gpu(Shaders::Plain), &path), 0, "{what}");
        // A command that tunes replaces such a file. It takes seconds, so only some of the files are tried.
        if number % 5 > 0 {
            continue;
        }
        let said = trained(&cache, &data, &[]);
        assert!(said.contains(NEW), "{what}: {said}");
        assert!(!said.contains("ERROR") && !said.contains("WARN"), "{what}: {said}");
        let again = Kept::read(&path);
        assert_eq!(again.heading, good.heading, "{what}");
        let kernel = again.choices["matmul_ternary 20x32x32"].as_str();
        let named = |candidate: &&Kernel| candidate.described(gpu(Shaders::Plain).tuning()) == kernel;
        assert!(candidates(gpu(Shaders::Plain), LAYER).iter().any(named), "{what}: {kernel}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_costs_nothing_but_the_tuning() {
    let folder = tempfile::tempdir().expect("a folder");
    // Not even root makes a folder inside a file.
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let said = trained(&file.join("cache"), &data(folder.path()), &[]);
    assert!(said.contains(NEW) && said.contains("cannot be written"), "{said}");
    let output = sterna(&file.join("cache"), &["tune", "--shapes", SHAPE, "--product-seconds", "0"]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("cannot be written"), "{}", stderr(&output));
}

/// The candidate with one piece of its text replaced, under a name of its own.
fn changed(kernel: &'static Kernel, name: &str, from: &str, to: &str) -> &'static Kernel {
    assert!(kernel.wgsl.contains(from), "{}: no {from:?}", kernel.name);
    let wgsl = String::leak(kernel.wgsl.replace(from, to));
    Box::leak(Box::new(Kernel { name: String::leak(name.to_string()), wgsl, ..*kernel }))
}

#[test]
fn what_computes_something_else_is_never_chosen() {
    let gpu = gpu(Shaders::Plain);
    let right = kernels::variants("gemv_ternary")[0];
    // It returns at once, so nothing is as fast.
    let nothing =
        changed(right, "gemv_ternary_nothing", "if row >= p.rows { return; }", "if row >= 0u { return; }");
    let off_by_one = changed(right, "gemv_ternary_off", "- sum[0]", "- sum[0] + 1");
    for among in [[nothing, right, off_by_one], [right, off_by_one, nothing]] {
        let tuned = try_candidates(gpu, WANTED, &among, Room::of(gpu), AMPLE)
            .expect("one is right")
            .expect("it fits");
        assert!(tuned.winner == right, "{}", tuned.winner.name);
        for tried in &tuned.tried {
            let wrong = matches!(&tried.outcome, Attempt::Wrong(sentence) if sentence.contains("differs from its twin"));
            assert_eq!(wrong, tried.kernel != right, "{tried:?}");
        }
    }
    let failure =
        try_candidates(gpu, WANTED, &[nothing, off_by_one], Room::of(gpu), AMPLE).expect_err("none is right");
    assert!(failure.to_string().contains("gemv_ternary_nothing differs"), "{failure}");
}

#[test]
fn the_slower_of_two_is_not_chosen() {
    let gpu = gpu(Shaders::Plain);
    let right = kernels::variants("gemv_ternary")[0];
    let slow = slow();
    let wanted = Wanted { operation: "gemv_ternary", shape: [1, 300, 1024] };
    let tuned = try_candidates(gpu, wanted, &[slow, right], Room::of(gpu), AMPLE)
        .expect("both are right")
        .expect("it fits");
    let times: Vec<_> = tuned.tried.iter().map(|tried| (tried.kernel.name, tried.seconds())).collect();
    assert!(tuned.winner == right, "{times:?}");
}

/// A device of one's own, since what is chosen on it stays.
fn device() -> sterna::Gpu {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect("an adapter");
    let (required_features, required_limits) = sterna::Gpu::required(&adapter);
    let asked = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&asked)).expect("a device");
    sterna::Gpu::from_device(adapter.get_info(), device, queue, false)
}

/// A kernel that takes several times as long as others where rows are whole vectors, and computes the same.
fn slow() -> &'static Kernel {
    let from = "a = plus(a, v0, v1, v2, v3, activations(k));";
    // Rounds of nothing, for all that a compiler knows of `words`.
    let to = "for (var i = 0u; i < 4000u; i++) { if i > p.words + 900u { a = Sums(); } }";
    changed(kernels::variants("gemv_ternary")[0], "gemv_ternary_slow", from, &format!("{to} {from}"))
}

/// A product at which the slowest candidate takes clearly longer than the default, and that candidate.
fn clearly_slower(gpu: &sterna::Gpu) -> (Wanted, Tuned, &'static Kernel) {
    let wanted = Wanted { operation: "gemv_ternary", shape: [1, 2048, 2048] };
    let default = candidates(gpu, wanted)[0];
    let found = try_candidates(gpu, wanted, &candidates(gpu, wanted), Room::of(gpu), AMPLE);
    let tuned = found.expect("they are right").expect("it fits");
    let seconds = |tried: &Tried| tried.seconds().expect("there was time");
    let slowest = tuned.tried.iter().max_by(|a, b| seconds(a).total_cmp(&seconds(b))).expect("several");
    let base = tuned.tried.iter().find(|tried| tried.kernel == default).expect("it is one of them");
    assert!(seconds(slowest) > 1.5 * seconds(base), "{:?}", tuned.tried);
    let slowest = slowest.kernel;
    (wanted, tuned, slowest)
}

#[test]
fn a_kept_choice_is_checked_when_it_is_first_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kernels.txt");
    let (wanted, mut tuned, slowest) = clearly_slower(&device());
    // As if it had won: whoever kept it was sure, or was not, or saw rounds that spread as far as anything.
    tuned.winner = slowest;
    for (spread, sure, why) in
        [(0.02, true, Some(Why::Slower)), (0.02, false, Some(Why::Provisional)), (1e3, true, None)]
    {
        (tuned.spread, tuned.sure) = (spread, sure);
        let gpu = device();
        let default = candidates(&gpu, wanted)[0];
        keep(&gpu, &file, &[tuned.clone()]).expect("written");
        assert_eq!(recall(&gpu, &file), 1);
        assert_eq!(gpu.is_sure(wanted.operation, wanted.class()), sure);
        // Whoever asks gets what holds, as every command does.
        let expected = if spread > 1.0 { slowest } else { default };
        assert_eq!(kernels::chosen(&gpu, wanted.operation, wanted.shape), expected, "{spread} {sure}");
        let open = open(&gpu, Some(&file), &[wanted, wanted]);
        assert_eq!(open, why.map(|why| (wanted, why)).into_iter().collect::<Vec<_>>(), "{spread} {sure}");
    }
    // What nobody chose is new, and the default need not be held against itself.
    let gpu = device();
    let other = Wanted { shape: [1, 40, 1024], ..wanted };
    assert_eq!(open(&gpu, Some(&file), &[other]), [(other, Why::New)]);
    (tuned.winner, tuned.spread, tuned.sure) = (candidates(&gpu, wanted)[0], 0.0, true);
    keep(&gpu, &file, &[tuned]).expect("written");
    recall(&gpu, &file);
    assert_eq!(open(&gpu, Some(&file), &[wanted]), []);
}

#[test]
fn commands_that_tune_nothing_drop_a_kept_choice_that_is_slow() {
    let cache = tempfile::tempdir().expect("a folder");
    let cache = cache.path();
    let (wanted, _, slowest) = clearly_slower(&device());
    assert_eq!(code(&sterna(cache, &["tune", "--shapes", SHAPE, "--product-seconds", "0"])), 0);
    let heading = Kept::read(&file(cache)).heading;
    let name = slowest.described(gpu(Shaders::Plain).tuning());
    let [_, rows, cols] = wanted.class();
    let line = format!("{} {rows}x{cols}x1: sure 0.02 {name}\n", wanted.operation);
    fs::write(file(cache), heading + &line).expect("written");
    let shape = "2048x2048";
    for args in [
        &["profile", "gemv", "--shape", shape, "--steps", "1", "--limit-seconds", "0"][..],
        &["bench", "gemv", "--shapes", shape, "--all", "--seconds", "0", "--memory", "64"],
    ] {
        // The check takes milliseconds. Other work on the machine may hide the difference once, but not three times.
        let mut attempts = (0..3).map(|_| {
            let mut command = program();
            command.env("STERNA_CACHE", cache).env("RUST_LOG", "sterna=info");
            let output = command.args(args).args(adapter_flags(args)).output().expect("it starts");
            // Other tests run beside this one, and a benchmark that doubts its own figures exits with 1.
            assert!(code(&output) < 2, "{}", stderr(&output));
            stderr(&output)
        });
        let dropped = attempts.any(|told| told.contains("is slower than the default now"));
        assert!(dropped, "{args:?}: three runs kept the slow kernel");
    }
}

#[test]
fn a_provisional_choice_is_tried_again_by_the_next_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, cache) = (data(folder.path()), folder.path().join("cache"));
    trained(&cache, &data, &[]);
    let (path, kept) = (file(&cache), Kept::read(&file(&cache)));
    fs::write(&path, kept.text().replace(": sure 99 ", ": provisional 0.5 ")).expect("written");
    let said = trained(&cache, &data, &[]);
    assert!(said.contains("2 products whose kernel was chosen while other work ran"), "{said}");
    assert!(!said.contains(NEW), "{said}");
    let text = fs::read_to_string(&path).expect("the file");
    assert!(!text.contains("provisional 0.500 "), "measured anew: {text}");
    // A second try that finds the same kernel is sure of it.
    let again = Kept::read(&path);
    for (at, kernel) in kept.choices {
        let sure = text.lines().any(|line| line.starts_with(&format!("{at}: sure ")));
        assert!(sure || again.choices[&at] != kernel, "{at}: {text}");
    }
}

#[test]
fn shapes_of_one_class_agree_in_three_digits() {
    let class = |length| kernels::class([length; 3])[0];
    let pairs = [
        (1, 1),
        (2, 2),
        (5, 5),
        (7, 7),
        (9, 10),
        (10, 10),
        (784, 896),
        (896, 896),
        (897, 1024),
        (1000, 1024),
    ];
    for (length, rounded) in
        pairs.into_iter().chain([(2560, 2560), (4096, 4096), (4097, 5120), (28_672, 28_672)])
    {
        assert_eq!(class(length), rounded, "{length}");
        assert_eq!(class(rounded), rounded, "{rounded}");
    }
}

#[test]
fn a_run_ends_with_the_same_weights_whichever_kernels_it_ran() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data(folder.path());
    let run = |name: &str, cache: &Path, flags: &[&str]| {
        let out = folder.path().join(name);
        let mut args =
            vec!["train", "--data", text(&data), "--out", text(&out), "--epochs", "2", "--batch", "32"];
        args.extend(["--hidden", "20,9", "--json"]);
        args.extend(flags);
        let output = sterna(cache, &args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let model = out.join("model.safetensors");
        let scored = sterna(cache, &["eval", text(&model), "--data", text(&data), "--json"]);
        let (trained, scored) = (result(&output), result(&scored));
        ["train_accuracy", "test_loss"]
            .map(|key| trained[key].clone())
            .into_iter()
            .chain([scored["digest"].clone()])
            .collect::<Vec<_>>()
    };
    let cache = folder.path().join("cache");
    let by_default = run("default", &cache, &["--no-tune"]);
    assert!(!cache.exists() && by_default.iter().all(|value| !value.is_null()), "{by_default:?}");
    assert_eq!(run("tuned", &cache, &[]), by_default);
    // Each candidate in all layers.
    let (path, mut kept) = (file(&cache), Kept::read(&file(&cache)));
    let plain = gpu(Shaders::Plain);
    for candidate in candidates(plain, LAYER) {
        let name = candidate.described(plain.tuning());
        assert_eq!(kept.choices.len(), 3, "one for each layer");
        for choice in kept.choices.values_mut() {
            choice.clone_from(&name);
        }
        fs::write(&path, kept.text()).expect("written");
        assert_eq!(run(&name, &cache, &[]), by_default, "{name}");
    }
}
