//! The memory wall: its probes on this adapter, the program as a process, and its page in a browser.

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use common::process::{adapter_flags, code, program, stderr, stdout, text};
use common::{Shaders, gpu};
use serde_json::{Value, json};
use sterna::Gpu;
use sterna::gpu::wgpu;
use sterna::measure::ceilings::{Bound, CEILINGS, Ceilings, Measure, Probe, STEADY, spread};
use sterna::measure::wall::{Fall, Products, Wall, staircase};
use sterna::measure::{Room, WEIGHT_FORMATS, Watch, WeightFormat, probes};
use sterna::report::wall::{compare_page, questions_text, wall_page};

// --- the probes ------------------------------------------------------------------------------------

fn measured<'a>(name: &str, probe: &'a Probe) -> &'a Measure {
    match probe {
        Probe::Measured(measure) => measure,
        Probe::Missing { missing } => panic!("{name}: {missing}"),
    }
}

/// Room for a test: what is measured need not be the adapter's best.
fn ceilings(gpu: &Gpu, names: &[&str]) -> Ceilings {
    let mut watch = Watch { tell: &mut |line| eprintln!("{line}"), stop: &|| false };
    probes::ceilings(gpu, names, Room::of(gpu).at_most(12 << 20), 0.0, &mut watch)
}

#[test]
fn every_ceiling_is_measured_or_says_what_the_adapter_lacks() {
    let ceilings = ceilings(gpu(Shaders::Plain), &CEILINGS);
    for (name, probe) in ceilings.each() {
        if let (Probe::Missing { missing }, "fma_f16") = (probe, name) {
            assert_eq!(missing, "this adapter has no f16 in shaders");
            continue;
        }
        let measure = measured(name, probe);
        assert!(measure.value > 0.0 && measure.value.is_finite(), "{name}: {measure:?}");
        assert!(measure.long_seconds.len() >= 3, "{name}");
        assert_eq!(measure.long_seconds.len(), measure.short_seconds.len(), "{name}");
        assert_eq!(measure.steady, measure.spread <= 0.05 && measure.differential, "{name}");
    }
    assert_eq!(ceilings.each().map(|(name, _)| name), CEILINGS);
}

#[test]
fn what_is_not_asked_for_or_interrupted_is_a_gap() {
    let gpu = gpu(Shaders::Plain);
    let mut watch = Watch { tell: &mut |_| (), stop: &|| true };
    let found = probes::ceilings(gpu, &["launch"], Room::of(gpu), 0.0, &mut watch);
    let why = |probe: &Probe| match probe {
        Probe::Missing { missing } => missing.clone(),
        Probe::Measured(_) => panic!("it was measured"),
    };
    assert_eq!(why(&found.launch), "interrupted");
    assert_eq!(why(&found.read), "not asked for");
    let steps = staircase(gpu, Room::of(gpu).at_most(64 << 10), 0.0, &mut watch);
    assert_eq!(steps.iter().map(|step| step.set_bytes).collect::<Vec<_>>(), [16 << 10, 32 << 10, 64 << 10]);
    assert!(steps.iter().all(|step| why(&step.probe) == "interrupted"));
}

/// A device with no feature at all: neither timestamps nor f16.
#[test]
fn an_adapter_without_timestamps_is_timed_by_the_host() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect("an adapter");
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).expect("a device");
    let gpu = Gpu::from_device(adapter.get_info(), device, queue, false);
    let found = ceilings(&gpu, &["launch", "add_i32", "fma_f16"]);
    assert_eq!(measured("launch", &found.launch).clock, "submit to done");
    assert_eq!(measured("add_i32", &found.add_i32).clock, "submit to done");
    // A probe that cannot run leaves a gap with its reason, and the others stand.
    assert!(
        matches!(&found.fma_f16, Probe::Missing { missing } if missing == "this adapter has no f16 in shaders")
    );
}

#[test]
fn a_matrix_larger_than_the_memory_is_measured_in_parts() {
    let gpu = gpu(Shaders::Plain);
    let room = Room::of(gpu).at_most(40 << 10);
    let mut layers = Products::default();
    let mut watch = Watch { tell: &mut |_| (), stop: &|| false };
    layers.measure(gpu, &[[1, 64, 512]], room, 0.0, &mut watch);
    // 128 KiB in f32, 64 in f16, 32 in int8.
    let parts: Vec<_> = layers.points.iter().map(|p| (p.format.as_str(), p.parts, p.rows)).collect();
    let want = [("f32", 4, 16), ("f16", 2, 32), ("int8", 1, 64), ("2-bit", 1, 64), ("base-3", 1, 64)];
    assert_eq!(parts, want, "{:?}", layers.gaps);
    layers.measure(gpu, &[[3, 64, 512]], room, 0.0, &mut watch);
    for (format, rows) in [("f32", 16), ("f16", 32), ("2-bit", 64)] {
        let point = layers.points[5..].iter().find(|point| point.format == format).expect(format);
        assert_eq!((point.batch, point.ops), (3, 2 * 3 * rows * 512), "{format}");
    }
    // Bytes are those that the formats say, which energies are counted by.
    for point in &layers.points {
        let format = WeightFormat::named(&point.format).expect("a format");
        let (weights, row) = (format.bytes(point.rows, point.cols), format.row_bytes(point.rows, point.cols));
        assert_eq!(point.bytes, weights + point.batch as u64 * row, "{point:?}");
        assert_eq!(point.spread, spread(&point.sample_seconds));
    }
    // With more than one row of activations every format has its points too.
    layers.measure(gpu, &[[5, 64, 512]], room, 0.0, &mut watch);
    for format in WEIGHT_FORMATS {
        let points = layers.points.iter().filter(|p| p.batch > 1 && p.format == format.name()).count();
        assert_eq!(points, 2, "{}: {:?}", format.name(), layers.gaps);
    }
}

// --- the program -----------------------------------------------------------------------------------

fn command(args: &[&str]) -> Command {
    let mut command = program();
    command.args(args).args(adapter_flags(args));
    command
}

fn sterna(args: &[&str]) -> Output {
    command(args).output().expect("the program starts")
}

fn last_line(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).expect("JSON alone")
}

/// One whole measurement, as short and in as little memory as can be: its folder and its last line.
fn whole() -> &'static (tempfile::TempDir, Value) {
    static WHOLE: OnceLock<(tempfile::TempDir, Value)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("new/wall");
        let output =
            sterna(&["wall", "--quick", "--seconds", "0", "--memory", "16", "--out", text(&out), "--json"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let said = stderr(&output);
        for progress in ["read: ", "read over 16 KiB", "2-bit 4096x4096", "energy: "] {
            assert!(said.contains(progress), "no progress {progress:?}: {said}");
        }
        let line = last_line(&output);
        (folder, line)
    })
}

#[test]
fn the_answers_fit_a_terminal() {
    let text = fs::read_to_string(whole().0.path().join("new/wall/wall.json")).expect("the file");
    let answers = questions_text(&serde_json::from_str(&text).expect("whole"), "jouppi");
    for asked in [
        "1. What does one trit cost",
        "2. Where is the wall",
        "6. Why does the course",
        "8. What does perplexity say",
    ] {
        assert!(answers.contains(asked), "no {asked:?}: {answers}");
    }
    assert!(answers.lines().all(|line| line.chars().count() <= 80), "{answers}");
}

fn page() -> String {
    fs::read_to_string(whole().0.path().join("new/wall/wall.html")).expect("the page")
}

#[test]
fn a_wall_has_every_key_and_says_how_it_was_measured() {
    let (folder, line) = whole();
    let file: Value = serde_json::from_str(
        &fs::read_to_string(folder.path().join("new/wall/wall.json")).expect("the file"),
    )
    .expect("JSON");
    assert_eq!(&file, line, "the last line and the file are the same");
    for key in
        ["adapter", "device_type", "ceilings", "staircase", "points", "models", "schema", "sterna_version"]
    {
        assert!(!line[key].is_null(), "no {key}");
    }
    let models = line["models"].as_array().expect("models");
    assert_eq!(models.len(), 4 * 5);
    for model in models {
        for key in [
            "name",
            "format",
            "bytes",
            "load_seconds",
            "compute_seconds",
            "predicted_seconds",
            "measured_seconds",
            "tokens_per_second",
            "speedup_over_f16",
        ] {
            assert!(!model[key].is_null(), "{}: no {key}: {model}", model["name"]);
        }
        let seconds = |key: &str| model[key].as_f64().expect("seconds");
        assert!(
            seconds("predicted_seconds")
                >= seconds("load_seconds").max(seconds("compute_seconds")) * 0.999_999
        );
    }
    let bounds = ["bandwidth", "compute", "launch", "balanced"];
    for point in line["points"].as_array().expect("points") {
        assert!(point["sample_seconds"].as_array().expect("samples").len() >= 3, "{point}");
        assert!(bounds.contains(&point["bound_by"].as_str().expect("a bound")));
        assert!(["tuned", "default", "only"].contains(&point["chosen"].as_str().expect("a reason")));
    }
    let notes = line["notes"].to_string();
    assert!(notes.contains("shrunk to 16 MiB"), "{notes}");
    assert!(notes.contains("cut by rows"), "{notes}");
    assert_eq!(line["staircase"].as_array().expect("steps").len(), 11, "16 KiB to 16 MiB");
    let read = &line["ceilings"]["read"];
    assert!(read["long_seconds"].as_array().expect("raw samples").len() >= 3);
}

/// All numbers of a JSON value, as bits, and all its texts.
fn contents(value: &Value, numbers: &mut HashSet<u64>, texts: &mut String) {
    match value {
        Value::Number(number) => drop(numbers.insert(number.as_f64().expect("a number").to_bits())),
        Value::String(text) => texts.extend([text.as_str(), "\n"]),
        Value::Array(all) => all.iter().for_each(|each| contents(each, numbers, texts)),
        Value::Object(map) => map.values().for_each(|each| contents(each, numbers, texts)),
        _ => {}
    }
}

/// The text without what stands between `open` and `close`, and what was cut out.
fn cut(mut text: &str, open: &str, close: &str) -> (String, Vec<String>) {
    let (mut rest, mut found) = (String::new(), Vec::new());
    while let Some(start) = text.find(open) {
        let end = start + text[start..].find(close).expect("it closes") + close.len();
        rest += &text[..start];
        rest.push(' ');
        found.push(text[start..end].to_string());
        text = &text[end..];
    }
    (rest + text, found)
}

/// Figures of a page that the JSON does not have.
fn strangers(page: &str, json: &Value) -> Vec<String> {
    let (mut numbers, mut texts) = (HashSet::new(), String::new());
    contents(json, &mut numbers, &mut texts);
    let body = &page[page.find("<body>").expect("a body")..];
    // Ticks of axes are no figures; the bars have some, which come from the same table below them.
    let (body, _) = cut(body, "<svg", "</svg>");
    let (body, figures) = cut(&body, "<data", "</data>");
    let mut strange = Vec::new();
    for figure in figures {
        let value = figure.split('"').nth(1).expect("a value");
        let bits = value.parse::<f64>().expect("a number").to_bits();
        if !numbers.contains(&bits) {
            strange.push(figure);
        }
    }
    let (body, _) = cut(&body, "<", ">");
    let body = body.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    // Names of formats, of a logarithm and of a model's size; and the factor that the course is asked about.
    let names = [
        "500",
        "FP16",
        "INT8",
        "INT32",
        "f32",
        "f16",
        "int8",
        "int32",
        "log2",
        "2B",
        "7B",
        "70B",
        "dot4I8Packed",
        "2-bit",
    ];
    for word in body.split(|c: char| c.is_whitespace() || "(),;:/×".contains(c)) {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        if word.contains(|c: char| c.is_ascii_digit()) && !names.contains(&word) && !texts.contains(word) {
            strange.push(word.to_string());
        }
    }
    strange
}

#[test]
fn what_varies_says_so_in_every_table() {
    let wall: Wall = serde_json::from_value(whole().1.clone()).expect("it reads what it wrote");
    let models = wall.models.iter().map(|model| {
        assert!(model.min_seconds.expect("a sum") <= model.measured_seconds.expect("a sum"), "{model:?}");
        assert!(model.samples.is_some_and(|samples| samples >= 3), "{model:?}");
        model.spread.expect("a spread")
    });
    let drawn = [wall.roofline_shape, wall.small_shape];
    let points = wall.points.iter().map(|point| {
        assert_eq!(point.spread, spread(&point.sample_seconds));
        (point, point.spread)
    });
    let points =
        points.filter(|(point, _)| drawn.contains(&[point.rows, point.cols])).map(|(_, spread)| spread);
    let probes = wall.ceilings.each().into_iter().map(|(_, probe)| probe);
    let probes = probes.chain(wall.staircase.iter().map(|step| &step.probe));
    let probes =
        probes.filter(|probe| probe.value().is_some()).map(|probe| measured("a probe", probe).spread);
    let varying = models.chain(points).chain(probes).filter(|&spread| spread > STEADY).count();
    assert_eq!(page().matches("<span class=\"varies\">").count(), varying);
    // A point made steady, and one made to vary.
    let mut forged = wall.clone();
    let point =
        forged.points.iter_mut().find(|point| drawn.contains(&[point.rows, point.cols])).expect("one");
    point.spread = if point.spread > STEADY { 0.0 } else { 0.5 };
    assert_ne!(wall_page(&forged, "jouppi").matches("<span class=\"varies\">").count(), varying);
    assert_eq!(
        page().matches("<th scope=\"col\">spread</th>").count(),
        4,
        "ceilings, staircase, points, models"
    );
}

#[test]
fn quick_reads_no_counter_and_says_so() {
    let words = "not measured on this machine: --quick reads no counter, `sterna energy` does";
    assert_eq!(whole().1["energy"]["measured"], words);
    let shown = words.replacen('`', "<code>", 1).replacen('`', "</code>", 1);
    assert!(page().contains(&shown) && !page().contains('`'), "the page says it too");
}

#[test]
fn the_page_says_only_what_its_numbers_say() {
    let mut wall: Wall = serde_json::from_value(whole().1.clone()).expect("it reads what it wrote");
    let (told, untold) = ("there the caches end", "Where the caches end cannot be told here");
    for (fall, set, says) in [
        (Fall::There, Some(1 << 20), [true, false]),
        (Fall::Untold, None, [false, true]),
        (Fall::None, None, [false, false]),
    ] {
        (wall.summary.fall, wall.summary.wall_set_bytes) = (fall, set);
        let page = wall_page(&wall, "jouppi");
        assert_eq!([told, untold].map(|words| page.contains(words)), says, "{fall:?}");
        assert!(fall != Fall::None || page.contains("No cache helps"));
    }
    // What is faster than its ceiling says that the ceiling was disturbed, in the table, the bars and the answers.
    let disturbed = ", disturbed";
    let drawn = [wall.roofline_shape, wall.small_shape];
    for point in &mut wall.points {
        point.reached = Some(0.9);
    }
    for model in &mut wall.models {
        (model.measured_seconds, model.predicted_seconds) = (Some(2.0), Some(1.0));
    }
    wall.summary.reached_7b = Some(0.5);
    let quiet = wall_page(&wall, "jouppi");
    for words in [disturbed, "was disturbed</text>", "disturbed a ceiling"] {
        assert!(!quiet.contains(words), "{words}");
    }
    wall.points.iter_mut().find(|p| drawn.contains(&[p.rows, p.cols])).expect("one").reached = Some(1.2);
    wall.models[0].predicted_seconds = Some(2.5);
    wall.summary.reached_7b = Some(1.1);
    let faster = wall_page(&wall, "jouppi");
    assert_eq!(faster.matches(disturbed).count(), 1);
    assert!(
        faster.contains("; the ceiling, 2.50 s, was disturbed") && faster.contains("disturbed a ceiling")
    );
    // One baseline: no ratio is one to f32.
    assert!(
        !faster.contains("× f32") && !faster.contains("over f32") && faster.contains("over f16 by batch")
    );
}

#[test]
fn a_verdict_that_is_too_close_is_none() {
    let mut wall: Wall = serde_json::from_value(whole().1.clone()).expect("it reads what it wrote");
    wall.summary.bound_2bit_7b = Some(Bound::Balanced);
    (wall.summary.ridge_int8, wall.summary.ridge_f32) = (Some(8.3), Some(2.0));
    wall.summary.intensity_7b = vec![("2-bit".into(), 8.0), ("f32".into(), 0.5)];
    let balanced = wall_page(&wall, "jouppi");
    assert!(balanced.contains("it lies near the ridge") && !balanced.contains("it is memory-bound"));
    assert!(balanced.contains("8.00</data> op/B) at the ridge"), "{balanced}");
    assert!(balanced.contains("0.500</data> op/B) left"));
    wall.summary.bound_2bit_7b = Some(Bound::Bandwidth);
    let bound = wall_page(&wall, "jouppi");
    assert!(bound.contains("it is memory-bound") && !bound.contains("it lies near the ridge"));
}

/// Buffers that a process may not have are not asked for twice.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_shrinks_the_working_set_and_says_so() {
    let adapter = adapter_flags(&["bandwidth"]).join(" ");
    // How much a driver takes for itself differs: the first limit that is too little for the working set will do.
    for limit in [3_300_000, 2_800_000, 2_300_000, 1_800_000] {
        let program = env!("CARGO_BIN_EXE_sterna");
        let script = format!("ulimit -v {limit}; exec {program} bandwidth --seconds 0 --json {adapter}");
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &script]).env("STERNA_CACHE", env!("CARGO_TARGET_TMPDIR"));
        let output = shell.output().expect("sh runs");
        assert_eq!(code(&output), 0, "{limit}: {}", stderr(&output));
        let line = last_line(&output);
        for name in ["read", "triad", "host_to_device", "device_to_host"] {
            assert!(line["ceilings"][name]["value"].is_f64(), "{limit}: {name}: {}", line["ceilings"][name]);
        }
        if line["notes"].to_string().contains("can be had: the device refused more") {
            return;
        }
        assert!(!line["notes"].to_string().contains("shrunk"), "{}", line["notes"]);
    }
    panic!("no limit was too little");
}

#[test]
fn kernels_are_those_that_the_tuner_chose() {
    let folder = tempfile::tempdir().expect("a folder");
    let sterna = |args: &[&str]| {
        let output = command(args).env("STERNA_CACHE", folder.path()).output().expect("it starts");
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        output
    };
    let measure = ["roofline", "--quick", "--seconds", "0", "--memory", "16", "--json"];
    let chosen = |output: &Output| {
        let line = last_line(output);
        let points = line["points"].as_array().expect("points");
        let of = |p: &&Value| p["format"] == "2-bit" && p["rows"] == 256 && p["batch"] == 1;
        let point = points.iter().find(of).expect("the small layer").clone();
        let notes = line["notes"].to_string();
        (point["chosen"].clone(), point["kernel"].clone(), point["overrides"].clone(), notes)
    };
    let before = chosen(&sterna(&measure));
    assert!(before.0 == "default" && before.3.contains("--quick tunes nothing"), "{before:?}");
    let tuned = last_line(&sterna(&["tune", "--shapes", "256x784", "--product-seconds", "0", "--json"]));
    let mut all = tuned["tuned"].as_array().expect("operations").iter();
    let winner = all.find(|tuned| tuned["operation"] == "gemv_ternary").expect("one")["winner"].clone();
    let entries = fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.path());
    let file =
        entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "txt")).expect("choices");
    let kept = fs::read_to_string(&file).expect("text");
    for (trust, how) in [("sure", "tuned"), ("provisional", "provisional")] {
        // Its rounds spread so far that no check says anything against it.
        let line = |line: &str| match line.split_once(": ") {
            Some((at, choice)) if at.contains('x') && choice.split(' ').count() > 2 => {
                let kernel = choice.splitn(3, ' ').nth(2).expect("a kernel");
                format!("{at}: {trust} 99 {kernel}\n")
            }
            _ => format!("{line}\n"),
        };
        fs::write(&file, kept.lines().map(line).collect::<String>()).expect("written");
        let (found, kernel, overrides, notes) = chosen(&sterna(&measure));
        assert_eq!(found, how, "{notes}");
        assert_eq!(notes.contains("provisionally"), how == "provisional", "{notes}");
        let [kernel, overrides] = [&kernel, &overrides].map(|value| value.as_str().expect("a text"));
        assert_eq!(format!("{kernel} {overrides}").trim(), winner);
    }
    let table = stdout(&sterna(&measure[..measure.len() - 1]));
    assert!(table.contains(", provisional"), "{table}");
    let without = chosen(&sterna(&[&measure[..], &["--no-tune"]].concat()));
    assert!(without.0 == "default" && without.3.contains("--no-tune asked for that"), "{without:?}");
}

/// Without `--quick` what nobody tuned is tuned first.
#[test]
fn a_full_run_tunes_what_it_measures() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = tempfile::tempdir().expect("a folder");
    let mut command = command(&["wall", "--seconds", "0", "--out", text(out.path())]);
    let command = command.env("STERNA_CACHE", folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let (mut said, mut interrupted) = (String::new(), false);
    for line in lines.map_while(Result::ok) {
        said += &format!("{line}\n");
        if line.contains("gemv_ternary 2560x2560: gemv_ternary") && !interrupted {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
            interrupted = true;
        }
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{said}");
    // What was found by then is kept.
    let kept = fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("readable");
    let kept = fs::read_to_string(kept.path()).expect("text");
    assert!(kept.contains("gemv_ternary 2560x2560x1"), "{kept}");
}

#[test]
fn every_figure_of_the_page_is_in_the_json() {
    let (page, json) = (page(), &whole().1);
    assert_eq!(strangers(&page, json), [""; 0]);
    assert!(page.matches("<data value=").count() > 200, "the page has its figures");
    // And the test would notice one that is not.
    let forged = page.replace("</body>", "<p>1234.5 times <data value=\"3.25\">3.25</data></p></body>");
    assert_eq!(strangers(&forged, json), ["<data value=\"3.25\">3.25</data>", "1234.5"]);
}

#[test]
fn the_page_explains_itself_and_needs_nothing_else() {
    let page = page();
    for id in
        ["sum", "ceilings", "staircase", "roofline", "models", "formats", "energy", "questions", "method"]
    {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "no section {id}");
    }
    let questions = page.split("<section id=\"questions\">").nth(1).expect("questions");
    assert_eq!(questions.split("</section>").next().expect("an end").matches("<li>").count(), 8);
    // They come first, and the contents lead to all sections.
    assert!(page.find("<section id=\"questions\">") < page.find("<section id=\"sum\">"));
    let contents = page.split("<nav").nth(1).and_then(|rest| rest.split("</nav>").next()).expect("contents");
    assert_eq!(contents.matches("href=\"#").count(), page.matches("<section id=").count());
    for link in ["#formats", "#energy", "#staircase", "#roofline", "#models"] {
        assert!(questions.contains(&format!("href=\"{link}\"")), "no question leads to {link}");
    }
    for shown in ["What it shows.", "What to conclude here."] {
        assert_eq!(page.matches(shown).count(), 4, "each of four plots says {shown:?}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    // Whoever listens to it hears what a plot is, and what heads a column.
    assert_eq!(page.matches(" role=\"img\"><title>").count(), 4);
    assert!(!page.contains("<th>"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    assert!(page.contains("not measured on this machine") || !whole().1["energy"]["joules"].is_null());
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for what in ["<script", "http://", "https://", "@import", "src="] {
        assert!(!elsewhere.contains(what), "the page has {what}");
    }
    // On a software renderer that is said before any figure.
    if whole().1["device_type"] == "Cpu" {
        let warning = page.find("This “device” is a CPU").expect("a warning");
        assert!(warning < page.find("<data").expect("a figure"));
    }
}

/// What a browser says of a page: its document as it stands, and its errors.
fn browse(path: &Path) -> Option<(String, Vec<String>)> {
    if std::env::var_os("STERNA_SKIP_CHROMIUM").is_some() {
        eprintln!("skipped: STERNA_SKIP_CHROMIUM is set");
        return None;
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let profile = tempfile::tempdir().expect("a folder");
    let output = names.iter().find_map(|name| {
        Command::new(name)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            .args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}", path.display()))
            .output()
            .ok()
    });
    let output = output.expect("Chromium: install it, or set STERNA_SKIP_CHROMIUM=1 to do without");
    let errors = stderr(&output).lines().filter(|line| line.contains("CONSOLE")).map(String::from).collect();
    Some((stdout(&output), errors))
}

#[test]
fn a_browser_opens_the_pages_without_an_error() {
    let (folder, line) = whole();
    let wall: Wall = serde_json::from_value(line.clone()).expect("it reads what it wrote");
    let compared = folder.path().join("compared.html");
    fs::write(&compared, compare_page(&[wall.clone(), wall])).expect("written");
    for path in [folder.path().join("new/wall/wall.html"), compared] {
        let Some((document, errors)) = browse(&path) else { return };
        assert_eq!(errors, [""; 0], "{}", path.display());
        assert!(document.contains("<section id=\"roofline\">"), "{}: {document}", path.display());
        assert!(document.contains("</svg>"), "{}", path.display());
    }
    // A page with an error would have been noticed.
    let broken = folder.path().join("broken.html");
    fs::write(&broken, "<!doctype html><p>here</p><script>nobody.knows();</script>").expect("written");
    let (_, errors) = browse(&broken).expect("a browser");
    assert!(errors.len() == 1 && errors[0].contains("nobody is not defined"), "{errors:?}");
}

#[test]
fn a_page_without_anything_measured_still_stands() {
    let mut wall: Wall = serde_json::from_value(whole().1.clone()).expect("it reads what it wrote");
    wall.ceilings = Ceilings::none("the device failed: it was lost");
    wall.staircase.clear();
    wall.points.clear();
    for model in &mut wall.models {
        model.measured_seconds = None;
        model.predicted_seconds = None;
    }
    wall.interrupted = true;
    let page = wall_page(&wall, "course");
    assert!(page.contains("missing: the device failed: it was lost"));
    assert!(page.contains("<b>Interrupted.</b>") && page.contains("since this table has none"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn adapters_are_compared_and_other_files_refused_by_name() {
    let (folder, line) = whole();
    let out = folder.path().join("both");
    let good = folder.path().join("new/wall/wall.json");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let mut other = line.clone();
    other["adapter"] = json!("Another <GPU>");
    let other = write("other.json", other.to_string());
    // A measurement's own page stays.
    fs::create_dir(&out).expect("made");
    fs::write(out.join("wall.html"), "measured").expect("written");
    let output = sterna(&["wall", "--compare", text(&good), text(&other), "--out", text(&out), "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(last_line(&output)["compared"].as_array().expect("walls").len(), 2);
    assert_eq!(fs::read_to_string(out.join("wall.html")).expect("still there"), "measured");
    let page = fs::read_to_string(out.join("compare.html")).expect("the page");
    for flag in [&["--seconds", "1"][..], &["--energy-model", "course"], &["--quick"], &["--no-tune"]] {
        let output = sterna(&[&["wall", "--compare", text(&good)], flag].concat());
        assert!(code(&output) == 2 && stderr(&output).contains("does not go with"), "{flag:?}");
    }
    assert!(page.contains("Another &lt;GPU&gt;") && !page.contains("Another <GPU>"));
    assert_eq!(
        strangers(&page, &last_line(&output)).into_iter().filter(|word| word != "1.").collect::<Vec<_>>(),
        [""; 0]
    );

    let changed = |key: &str, value: Value| {
        let mut wall = line.clone();
        wall[key] = value;
        wall.to_string()
    };
    for (name, content, why) in [
        ("old.json", changed("sterna_version", json!("0.0.9")), "written by sterna 0.0.9"),
        ("schema.json", changed("schema", json!(99)), "schema 99"),
        ("run.json", changed("command", json!("train")), "is not a wall.json"),
        ("text.json", "hello".into(), "is no JSON"),
        ("half.json", changed("points", json!(7)), "is damaged"),
    ] {
        let path = write(name, content);
        let output = sterna(&["wall", "--compare", text(&good), text(&path), "--out", text(&out)]);
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{name}: {said}");
        assert!(said.starts_with("sterna: ") && said.contains(name) && said.contains(why), "{name}: {said}");
    }
    let output = sterna(&["wall", "--compare", text(&folder.path().join("none.json"))]);
    assert!(code(&output) == 2 && stderr(&output).contains("none.json"), "{}", stderr(&output));
}

#[test]
fn an_interrupted_wall_writes_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["wall", "--seconds", "0.2", "--memory", "16", "--out", text(folder.path())];
    let out = fs::File::create(folder.path().join("stdout")).expect("created");
    let mut child = command(&args).stdout(out).stderr(Stdio::piped()).spawn().expect("started");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let (mut interrupted, mut after) = (false, 0);
    for line in lines.map_while(Result::ok) {
        after += usize::from(interrupted);
        if line.contains("read: ") && !interrupted {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
            interrupted = true;
        }
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    // What there was no time for is one line, not a hundred.
    let said = fs::read_to_string(folder.path().join("stdout")).expect("text");
    assert_eq!(said.lines().filter(|line| line.starts_with("left out")).count(), 1, "{said}");
    for title in ["Ceilings", "Roofline", "One token's matrix work", "Number formats", "Energy"] {
        assert!(said.contains(title), "no {title}: {said}");
    }
    assert!(after < 10, "{after} lines after the signal");
    let text = fs::read_to_string(folder.path().join("wall.json")).expect("the file");
    let wall: Wall = serde_json::from_str(&text).expect("whole");
    assert!(wall.interrupted && wall.ceilings.read.value().is_some());
    assert!(matches!(&wall.ceilings.device_to_host, Probe::Missing { missing } if missing == "interrupted"));
    assert!(wall.gaps.iter().any(|gap| gap.reason == "interrupted"));
    let page = fs::read_to_string(folder.path().join("wall.html")).expect("the page");
    assert!(page.contains("<b>Interrupted.</b>") && page.contains("missing: interrupted"));
}

#[test]
fn every_section_stands_alone() {
    let output = sterna(&["formats", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let formats = last_line(&output)["formats"].clone();
    let fp16 = formats.as_array().expect("formats").iter().find(|format| format["name"] == "FP16");
    assert_eq!(fp16.expect("FP16")["bytes_7b"], json!(14e9));
    assert_eq!(fp16.expect("FP16")["max"], json!(65_504.0));

    let output = sterna(&["energy", "--tables-only", "--energy-model", "course", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = last_line(&output);
    let said = stdout(&sterna(&["energy", "--tables-only", "--energy-model", "course"]));
    assert!(
        ["533", "500", "9.40", "since this table has none", "not measured on this machine"]
            .iter()
            .all(|words| said.contains(words)),
        "{said}"
    );
    let output = sterna(&["energy", "--tables-only"]);
    for shown in ["SRAM", "HBM", "DRAM", "0.440 pJ", "7.85 – 14.1 pJ", "11.0 – 15.1 pJ"] {
        assert!(stdout(&output).contains(shown), "no {shown}: {}", stdout(&output));
    }
    // No window is shorter or longer for it.
    let output = sterna(&["energy", "--seconds", "1"]);
    assert!(code(&output) == 2 && stderr(&output).contains("--seconds"), "{}", stderr(&output));
    for model in line["models"].as_array().expect("models") {
        for key in ["name", "ratio_published", "rows"] {
            assert!(!model[key].is_null(), "no {key}");
        }
        let keys = ["format", "arithmetic_pj_per_weight", "memory_pj_per_weight", "measured_joules"];
        let row = model["rows"][0].as_object().expect("a row");
        assert!(keys.iter().all(|key| row.contains_key(*key)), "{row:?}");
    }
    assert_eq!(line["models"][2]["ratio_int32"], Value::Null);

    let output = sterna(&["bandwidth", "--seconds", "0", "--memory", "16", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = last_line(&output);
    assert!(line["ceilings"]["triad"]["value"].as_f64().expect("a figure") > 0.0);
    assert_eq!(line["ceilings"]["fma_f32"]["missing"], "not asked for");
    let said = stdout(&sterna(&["bandwidth", "--seconds", "0", "--memory", "16"]));
    assert!(
        said.contains("triad") && !said.contains("multiply-add") && !said.contains("not asked"),
        "{said}"
    );

    // One line says what was done; ceilings are kept, and measured again where that is asked for.
    let cache = tempfile::tempdir().expect("a folder");
    for (what, flags, kept) in
        [("bandwidth", &[][..], false), ("bandwidth", &[], true), ("bandwidth", &["--fresh"], false)]
    {
        let args = [&[what, "--seconds", "0", "--memory", "16", "--json"], flags].concat();
        let output = command(&args).env("STERNA_CACHE", cache.path()).output().expect("it starts");
        let (said, line) = (stderr(&output), last_line(&output));
        assert_eq!(said.lines().filter(|line| line.starts_with("bandwidth: ")).count(), 1, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(said.contains("--fresh measures again"), kept, "{said}");
        assert_eq!(line["ceilings_kept_seconds"].is_f64(), kept, "{line}");
    }

    let output = sterna(&["roofline", "--quick", "--seconds", "0", "--memory", "16", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line = last_line(&output);
    let points = line["points"].as_array().expect("points");
    let batches: HashSet<u64> = points.iter().map(|p| p["batch"].as_u64().expect("a batch")).collect();
    assert!(HashSet::from([1, 8]).is_subset(&batches), "{batches:?}");
    // Larger ones are there, or too slow for the time that a point has.
    for (format, batch) in [("f32", 64), ("f16", 512), ("2-bit", 512)] {
        let there = points.iter().any(|p| p["format"] == format && p["batch"] == batch);
        let gap = format!("{format} 2560x2560 at batch {batch}");
        let told = line["gaps"].as_array().expect("gaps").iter().any(|g| g["what"] == gap.as_str());
        assert!(there || told || line["device_type"] != "Cpu", "{gap}");
    }
}

#[test]
fn mistakes_are_told_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let output = sterna(&["wall", "--out", text(&file.join("wall"))]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).starts_with("sterna: ") && stderr(&output).contains("file/wall"),
        "{}",
        stderr(&output)
    );
    for wrong in [["wall", "--energy-model", "guess"], ["wall", "--memory", "1"], ["wall", "--seconds", "-1"]]
    {
        let output = sterna(&wrong);
        assert_eq!(code(&output), 2, "{wrong:?}");
        assert!(stderr(&output).contains(wrong[1]), "{}", stderr(&output));
    }
}
