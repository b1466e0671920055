//! What one sees of a step from outside: its names and phases, the costs that headers state, `sterna profile` with its
//! timeline, and `sterna kernels`.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use common::process::{adapter_flags, code, idx, stderr, stdout, text};
use common::{Shaders, gpu};
use serde_json::Value;
use sterna::gpu::{Op, Profiler};
use sterna::kernels::{self, OPERATIONS, PROBES};
use sterna::mnist::{Dataset, Split};
use sterna::model::{Mlp, Precision, Transformer};
use sterna::shader;
use sterna::text::Corpus;
use sterna::train::{Augment, Config, Digits, Text, TextConfig, Trainer};

fn sterna(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
    command.args(args).args(adapter_flags(args)).output().expect("the program starts")
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).expect("JSON alone")
}

/// 60 images of 6 x 5 pixels in 3 classes, as MNIST's four files.
fn write_data(folder: &Path) {
    for half in ["train", "t10k"] {
        let labels: Vec<u8> = (0..60).map(|i| i % 3).collect();
        let pixels: Vec<u8> = (0..60 * 30u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let write = |name: &str, bytes: Vec<u8>| {
            std::fs::write(folder.join(format!("{half}-{name}")), bytes).expect("written");
        };
        write("images-idx3-ubyte", idx(0x803, &[60, 6, 5], &pixels));
        write("labels-idx1-ubyte", idx(0x801, &[60], &labels));
    }
}

fn data() -> Dataset {
    let digits = Dataset::embedded();
    let first = |split: &Split| Split {
        images: split.images[..100 * digits.pixels()].to_vec(),
        labels: split.labels[..100].to_vec(),
    };
    Dataset { train: first(&digits.train), test: first(&digits.test), ..digits.clone() }
}

/// Trainers of every kind of step.
fn trainers() -> Vec<Trainer<Mlp, Digits>> {
    let config = Config { batch: 50, hidden: vec![40, 24], ..Config::default() };
    let configs = [
        config.clone(),
        Config { shadow: false, ..config.clone() },
        Config { precision: Precision::F32, augment: Augment::None, ..config },
    ];
    configs.map(|config| Trainer::new(gpu(Shaders::Plain), &data(), &config).expect("the data fits")).into()
}

/// Trainers of both kinds of language model.
fn text_trainers() -> Vec<Trainer<Transformer, Text>> {
    let corpus = Corpus::embedded();
    [Precision::Ternary, Precision::F32]
        .map(|precision| {
            let (steps, every) = (2, 2);
            let config = TextConfig { steps, every, batch: 2, layers: 1, precision, ..TextConfig::default() };
            Trainer::on_text(gpu(Shaders::Plain), &corpus, &config).expect("the text fits")
        })
        .into()
}

/// The value of a header's formula at the shapes of an op's tensors; the name that they do not tell if there is one.
fn formula(op: &Op, word: &str, cols: Option<u64>) -> Result<u64, String> {
    let header = shader::header(op.kernel().wgsl);
    let mut lengths = BTreeMap::from([("cols", cols)]);
    let bindings: Vec<shader::Binding> = shader::bindings(&header).into_iter().flatten().collect();
    for (binding, tensor) in bindings.iter().skip(1).zip(op.tensors()) {
        let names: Vec<&str> = binding.dimensions().collect();
        let shape: Vec<u64> = tensor.shape().iter().map(|&n| n as u64).collect();
        match names[..] {
            [all] => lengths.extend([(all, Some(shape.iter().product()))]),
            _ => lengths.extend(names.into_iter().zip(shape.into_iter().map(Some))),
        }
    }
    let said = shader::section(&header, word).expect("a header has it");
    let known = |name: &str| lengths.get(name).copied().flatten();
    // The shape words of src/lib.rs.
    let words = || known("cols").map(|cols| sterna::ternary::words(cols as usize) as u64);
    shader::evaluate(said, &|name| known(name).or_else(|| (name == "words").then(words).flatten()))
}

/// Holds each op's cost against the formulas of its header. Packed trits do not tell their columns, but `cols` does.
fn hold(ops: &[Op], cols: &dyn Fn(&Op) -> Option<u64>, checked: &mut Vec<&str>, faults: &mut Vec<String>) {
    for op in ops {
        // A stack's formulas are of one of its matrices, which have shapes of their own.
        let header = shader::header(op.kernel().wgsl);
        if shader::bindings(&header)
            .iter()
            .flatten()
            .any(|row| row.dimensions().any(|name| name == "matrices"))
        {
            continue;
        }
        for (word, counted) in [("Moves", op.cost().bytes), ("Does", op.cost().ops)] {
            match formula(op, word, cols(op)) {
                Ok(stated) if stated == counted => checked.push(op.name()),
                // Only pixels have a height and a width. Heads and whether a kernel adds stand in its Params alone.
                Err(missing) if ["height", "n", "e", "accumulate"].contains(&missing.as_str()) => {}
                other => faults.push(format!("{}: {word} {other:?}, the host counts {counted}", op.name())),
            }
        }
    }
}

#[test]
fn headers_state_the_costs_that_the_host_counts() {
    let (mut checked, mut faults) = (Vec::new(), Vec::new());
    let layer =
        |op: &Op, i: usize| op.tensors().iter().any(|t| t.label().starts_with(&format!("layers.{i}.")));
    for trainer in trainers() {
        let dims = &trainer.network.shape.dims;
        let cols = |op: &Op| (0..dims.len() - 1).find(|&i| layer(op, i)).map(|i| dims[i] as u64);
        hold(trainer.step(), &cols, &mut checked, &mut faults);
    }
    for trainer in text_trainers() {
        let shape = &trainer.network.shape;
        // All matrices have the columns of the residual stream, but for down.
        let cols = |op: &Op| {
            let down = op.tensors().iter().any(|t| t.label().contains(".down"));
            Some(if down { shape.ffn } else { shape.width } as u64)
        };
        hold(trainer.step(), &cols, &mut checked, &mut faults);
    }
    faults.dedup();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    checked.sort_unstable();
    checked.dedup();
    assert!(checked.len() >= 20, "{checked:?}");
}

#[test]
fn formulas_are_read_to_their_unit_and_no_further() {
    let value =
        |name: &str| [("a", 3), ("b", 5)].into_iter().find(|(known, _)| *known == name).map(|(_, n)| n);
    for (text, want) in [
        ("4 * (a + 2 * b) bytes.", Ok(52)),
        ("a * b operations (one add, one multiply).", Ok(15)),
        ("a + ceil(b / 2) bytes: four for each.", Ok(6)),
        ("no arithmetic on data.", Ok(0)),
        ("16 bytes.", Ok(16)),
        ("4 * c bytes.", Err("c".to_string())),
        ("4 * (a bytes.", Err("no closing bracket".to_string())),
    ] {
        assert_eq!(shader::evaluate(text, &value), want, "{text}");
    }
    for text in ["4 a bytes.", "b / 2 bytes.", "4 * bytes."] {
        assert!(shader::evaluate(text, &value).is_err(), "{text}");
    }
}

#[test]
fn every_op_of_a_step_belongs_to_a_phase() {
    for trainer in trainers() {
        let phases: Vec<&str> =
            trainer.step().chunk_by(|a, b| a.phase() == b.phase()).map(|c| c[0].phase()).collect();
        assert!(phases.iter().all(|phase| !phase.is_empty()), "{phases:?}");
        for layer in 0..3 {
            for pass in ["forward", "backward"] {
                let name = format!("{pass} / layer {layer}");
                assert_eq!(phases.iter().filter(|phase| **phase == name).count(), 1, "{name} in {phases:?}");
            }
        }
    }
}

#[test]
fn profiling_changes_no_result_and_times_every_dispatch() {
    let gpu = gpu(Shaders::Plain);
    let mut trained = Vec::new();
    for way in 0..3 {
        let trainer = &trainers()[0];
        let (ops, expected) = (trainer.step(), trainer.step().len());
        trainer.rewind();
        match way {
            0 => drop(gpu.run(ops).expect("runs")),
            _ => {
                let profiler = if way == 1 { Profiler::new(gpu) } else { Profiler::by_passes(gpu) };
                let mut profiler = profiler.expect("timestamps");
                // More than a query set holds.
                let many: Vec<&Op> = std::iter::repeat_n(&ops[0], 2100).collect();
                assert_eq!(profiler.run("many", many).expect("runs").dispatches.len(), 2100);
                let seen = profiler.run("step", ops).expect("runs");
                assert_eq!(seen.dispatches.len(), expected);
                let [first, last] = [&seen.dispatches[0], &seen.dispatches[expected - 1]];
                let busy: f64 = seen.dispatches.iter().map(|span| span.end - span.start).sum();
                assert!(busy > 0.0 && last.end - first.start <= seen.wall(), "{seen:?}");
            }
        }
        trained.push(trainer.network.params.download(gpu).expect("downloaded"));
    }
    assert!(trained[0] == trained[1] && trained[0] == trained[2], "profiled steps differ from plain ones");
}

/// The events of a timeline, after holding it against the format: rows have names, spans have lengths, and in a row
/// none overlaps another.
fn timeline(path: &Path) -> (Value, Vec<Value>) {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("written")).expect("JSON");
    let events = file["traceEvents"].as_array().expect("events").clone();
    let mut rows: BTreeMap<(u64, u64), Vec<[f64; 2]>> = BTreeMap::new();
    let mut named = Vec::new();
    for event in &events {
        let row = (event["pid"].as_u64().expect("pid"), event["tid"].as_u64().expect("tid"));
        match event["ph"].as_str().expect("ph") {
            "M" if event["name"] == "thread_name" => named.push(row),
            "M" => {}
            "X" => {
                assert!(event["name"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
                let [start, took] = ["ts", "dur"].map(|key| event[key].as_f64().expect("a number"));
                assert!(start >= 0.0 && took >= 0.0, "{event}");
                rows.entry(row).or_default().push([start, start + took]);
            }
            other => panic!("an event of kind {other}"),
        }
    }
    for (row, mut spans) in rows {
        assert!(named.contains(&row), "row {row:?} has no name");
        spans.sort_by(|a, b| a[0].total_cmp(&b[0]));
        // A nanosecond for the rounding of microseconds that are f64.
        let apart = spans.windows(2).all(|pair| pair[1][0] >= pair[0][1] - 1e-3);
        assert!(apart, "spans of row {row:?} overlap");
    }
    (file, events)
}

#[test]
fn the_timeline_holds_every_dispatch_and_their_time() {
    let folder = tempfile::tempdir().expect("a folder");
    write_data(folder.path());
    let trace = folder.path().join("trace.json");
    for way in [&[][..], &["--by-passes"]] {
        let mut args =
            vec!["profile", "train", "--data", text(folder.path()), "--batch", "20", "--hidden", "17,9"];
        args.extend(["--steps", "3", "--limit-seconds", "0", "--out", text(&trace), "--force", "--json"]);
        args.extend(way);
        let output = sterna(&args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let line = json(&output);
        let (file, events) = timeline(&trace);
        assert_eq!(file["otherData"]["adapter"], line["adapter"]);
        // Dispatches are the events that name their kernel's tensors.
        let dispatches: Vec<&Value> =
            events.iter().filter(|event| event["args"]["tensors"].is_array()).collect();
        let expected = line["dispatches"].as_array().expect("dispatches");
        assert_eq!(dispatches.len(), 3 * expected.len());
        for (event, dispatch) in dispatches.iter().zip(expected.iter().cycle()) {
            assert_eq!(event["name"], dispatch["kernel"]);
            for key in ["phase", "groups", "bytes", "ops", "tensors"] {
                assert_eq!(event["args"][key], dispatch[key]);
            }
        }
        let traced: f64 =
            dispatches.iter().map(|event| 1e-6 * event["dur"].as_f64().expect("a length")).sum();
        let timed = line["device_seconds"].as_f64().expect("seconds");
        assert!((traced / timed - 1.0).abs() < 0.1, "{traced} s in the trace, {timed} s by the timestamps");
        let summed: f64 = line["kernels"]
            .as_array()
            .expect("kernels")
            .iter()
            .map(|row| row["seconds"].as_f64().expect("s"))
            .sum();
        assert!((summed / timed - 1.0).abs() < 1e-9, "{summed} s in the table, {timed} s by the timestamps");
        let part = |key: &str| line["step_seconds"][key].as_f64().expect("seconds");
        let parts: f64 = ["recording", "around", "dispatches", "between"].map(part).iter().sum();
        assert!(
            (parts / part("wall") - 1.0).abs() < 1e-9 && part("around") >= 0.0,
            "{}",
            line["step_seconds"]
        );
        let passes = events.iter().filter(|event| event["args"]["dispatches"].is_u64());
        let names: Vec<&str> = passes.filter_map(|event| event["name"].as_str()).collect();
        assert!(names.contains(&"step 3 / backward / layer 1"), "{names:?}");
        assert_eq!(line["clock"], if way.is_empty() { line["clock"].clone() } else { "pass".into() });
        for key in ["together_seconds", "profiling_costs", "ceilings", "schema", "sterna_version"] {
            assert!(!line[key].is_null(), "{key} is missing");
        }
    }
    let eval = ["profile", "eval", "--data", text(folder.path()), "--hidden", "9", "--steps", "1"];
    let said = stdout(&sterna(&[&eval[..], &["--limit-seconds", "0"]].concat()));
    assert!(said.contains("bound by") && said.contains("as it runs unprofiled"), "{said}");
}

#[test]
fn a_language_model_is_profiled_by_the_same_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("text.txt");
    std::fs::write(&file, "To be, or not to be, that is the question:\n".repeat(60)).expect("written");
    for (what, dispatches, kernel) in
        [("train", 100..=150, "relu2_gate_backward"), ("eval", 50..=60, "xent_rows")]
    {
        let args = ["profile", what, "--text", text(&file), "--steps", "1", "--limit-seconds", "0", "--json"];
        let output = sterna(&args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let line = json(&output);
        let step = line["dispatches"].as_array().expect("dispatches");
        assert!(dispatches.contains(&step.len()), "{} dispatches", step.len());
        let names: Vec<&str> = step.iter().filter_map(|dispatch| dispatch["kernel"].as_str()).collect();
        assert!(names.contains(&kernel), "{names:?}");
        assert!(step.iter().all(|dispatch| dispatch["phase"] != ""), "{step:?}");
    }
    for flag in ["--hidden=9", "--data=x"] {
        assert_eq!(code(&sterna(&["profile", "eval", "--text", flag])), 2);
    }
    let small = [
        "--layers",
        "1",
        "--width",
        "64",
        "--heads",
        "2",
        "--kv-heads",
        "1",
        "--context",
        "8",
        "--batch",
        "2",
    ];
    let args = [
        &["profile", "train", "--text", text(&file), "--steps", "1", "--limit-seconds", "0", "--json"],
        &small[..],
    ];
    let step = json(&sterna(&args.concat()))["dispatches"].as_array().expect("dispatches").len();
    assert!((30..=60).contains(&step), "{step} dispatches of one layer");
    let alone = sterna(&["profile", "train", "--layers", "2"]);
    assert_eq!(code(&alone), 2);
    assert!(stderr(&alone).contains("--layers is for a language model: add --text"), "{}", stderr(&alone));
}

#[test]
fn eval_and_gemv_are_profiled_too_and_bad_flags_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write_data(folder.path());
    let eval = ["profile", "eval", "--data", text(folder.path()), "--hidden", "9", "--precision", "f32"];
    let gemv = ["profile", "gemv", "--shape", "33x100", "--kernel", "gemv_base3"];
    for (args, kernel) in [(&eval[..], "softmax_xent"), (&gemv, "gemv_base3")] {
        // Once without the adapter's limits and once with them.
        for seconds in ["0", "0.001"].into_iter().take(1 + usize::from(kernel == "gemv_base3")) {
            let output = sterna(&[args, &["--steps", "2", "--limit-seconds", seconds, "--json"]].concat());
            assert_eq!(code(&output), 0, "{}", stderr(&output));
            let line = json(&output);
            let kernels = line["kernels"].as_array().expect("kernels");
            // Of a product, the variant that runs here.
            let named = |row: &&Value| row["kernel"].as_str().is_some_and(|name| name.starts_with(kernel));
            let row = kernels.iter().find(|row| named(row) && row["calls"] == 2);
            let row = row.unwrap_or_else(|| panic!("{line}"));
            for key in ["bound_by", "percent_of_read", "percent_of_rate", "percent_of_bound"] {
                assert_eq!(row[key].is_null(), seconds == "0", "{key} of {row}");
            }
        }
    }
    for (args, part) in [
        (&["profile", "gemv", "--kernel", "relu"][..], "multiplies no matrix"),
        (&["profile", "gemv", "--kernel", "gemv"], "sterna kernels"),
        (&["profile", "train", "--steps", "0"], "--steps 0"),
        (&["profile", "train", "--batch", "0"], "--batch 0"),
        (
            &[
                "profile",
                "gemv",
                "--out",
                "/nowhere/t.json",
                "--steps",
                "1",
                "--limit-seconds",
                "0",
                "--shape",
                "3x3",
            ],
            "/nowhere",
        ),
        (&["kernels", "gemm"], "`sterna kernels` lists"),
        (&["kernels", "matmul_tenrary"], "did you mean matmul_ternary"),
        (&["profile", "gemv", "--kernel", "gemv_f23"], "did you mean gemv_f32"),
        (&["kernels", "matmul_ternary_broadcast", "--to", "glsl"], "subgroup"),
    ] {
        let output = sterna(args);
        assert_eq!(code(&output), 2, "{}", stderr(&output));
        let said = stderr(&output);
        let sentence =
            said.lines().find(|line| line.starts_with("sterna: ")).unwrap_or_else(|| panic!("{said}"));
        assert!(sentence.contains(part), "{part:?} is missing in: {sentence}");
    }
}

#[test]
fn kernels_lists_them_all_and_prints_each_in_every_language() {
    let output = sterna(&["kernels", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = json(&output);
    let listed: Vec<&str> = line["kernels"]
        .as_array()
        .expect("kernels")
        .iter()
        .filter_map(|kernel| kernel["kernel"].as_str())
        .collect();
    // Namesakes differ in their overrides, and some in how they store.
    let mut names: Vec<&str> = Vec::new();
    for kernel in OPERATIONS.iter().chain(PROBES).copied().flatten() {
        if !names.contains(&kernel.name) {
            names.push(kernel.name);
        }
    }
    assert_eq!(listed, names);
    let matmul = line["kernels"]
        .as_array()
        .expect("kernels")
        .iter()
        .find(|kernel| kernel["kernel"] == "matmul_ternary");
    let matmul = matmul.expect("listed");
    // 256 rows of 49 words, 128 rows of 196 words, a sum and 256 accumulators.
    assert_eq!(matmul["bytes"], 4 * (256 * 49 + 128 * (196 + 1 + 256)));
    assert_eq!(matmul["ops"], 2 * 128 * 256 * 784);

    let page = stdout(&sterna(&["kernels", "matmul_ternary", "--lengths", "batch=2,rows=3,cols=20"]));
    for part in ["acc[b, r] = sum_k", "[rows, words]", "Grid", "WG=", "Twin", "= 240 at", "_broadcast"] {
        assert!(page.contains(part), "{part:?} is missing in: {page}");
    }
    let relu =
        OPERATIONS.iter().map(|variants| variants[0]).find(|kernel| kernel.name == "relu").expect("a kernel");
    let [gpu, cpu] =
        [relu.gpu, relu.cpu].map(|set| set.iter().find(|(name, _)| *name == "WG").expect("a workgroup").1);
    let [on_gpu, on_cpu] = [gpu, cpu].map(|lanes| format!("[numthreads({lanes}, 1, 1)]"));
    for (language, part) in [
        ("wgsl", "@compute"),
        ("spirv", "OpEntryPoint GLCompute"),
        ("msl", "kernel void"),
        ("hlsl", &on_gpu),
        ("glsl", &format!("layout(local_size_x = {gpu}")),
    ] {
        let output = sterna(&["kernels", "relu", "--to", language]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains(part), "{language}: no {part:?}");
    }
    // Browsers want a directive for subgroups, and wgpu refuses it: no line has another number for it.
    let kernel = kernels::variants("matmul_ternary").iter().find(|kernel| kernel.subgroup > 0).expect("one");
    let text = stdout(&sterna(&["kernels", kernel.name, "--to", "wgsl"]));
    let added: Vec<_> = text.lines().zip(kernel.wgsl.lines()).filter(|(shown, own)| shown != own).collect();
    assert_eq!(added, [("enable subgroups;", "")]);
    // Overrides of the other kind, and checks.
    let software = stdout(&sterna(&["kernels", "relu", "--to", "hlsl", "--tuning", "software"]));
    assert!(on_cpu != on_gpu && software.contains(&on_cpu), "{software}");
    let [trusted, checked] = [&[][..], &["--checked"]].map(|more| {
        stdout(&sterna(&[&["kernels", "matmul_ternary", "--to", "spirv"], more].concat())).lines().count()
    });
    assert!(checked > trusted, "{checked} lines checked, {trusted} trusted");
}
