//! Pages: what `sterna page` writes, opened in headless Chromium on SwiftShader and replayed by Dawn in Node, gives the
//! program's digests, answers, losses and texts.

mod common;

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

use common::dawn::{dawn, required};
use common::process::{adapter_flags, code, idx, program, stderr, stdout, text};
use common::repository;
use serde_json::{Value, json};
use sterna::Packed;
use sterna::digest::{ALL_LAYERS, Fixed};
use sterna::digit::{Grey, SIDE, prepare};
use sterna::mnist::{Dataset, Split};
use sterna::model::TransformerShape;
use sterna::page::Page;
use sterna::parameter::{Parameter, Role};
use sterna::random::{self, Stream};
use sterna::store::{Model, Values, Weights};
use sterna::text::Vocabulary;
use sterna::train::TextConfig;

fn sterna(args: &[&str]) -> Output {
    program().args(args).args(adapter_flags(args)).output().expect("the program runs")
}

/// The last line of stdout of a command that ended well, as JSON.
fn answer(args: &[&str]) -> Value {
    let output = sterna(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    let said = stdout(&output);
    serde_json::from_str(said.lines().last().expect("a line")).expect("JSON")
}

/// The networks of these tests, trained once.
struct Networks {
    folder: tempfile::TempDir,
}

impl Networks {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn networks() -> &'static Networks {
    static NETWORKS: OnceLock<Networks> = OnceLock::new();
    NETWORKS.get_or_init(|| {
        let networks = Networks { folder: tempfile::tempdir().expect("a folder") };
        let [digits, run] = ["digits", "text"].map(|name| networks.path(name));
        for args in [
            &["train", "--epochs", "2", "--seed", "1", "--no-tune", "--out", text(&digits)][..],
            &[
                "train",
                "--text",
                "--steps",
                "60",
                "--layers",
                "2",
                "--width",
                "64",
                "--context",
                "32",
                "--no-tune",
                "--out",
                text(&run),
            ],
        ] {
            let output = sterna(args);
            assert_eq!(code(&output), 0, "{}", stderr(&output));
        }
        networks
    })
}

/// The page of a network, and what the program says about it.
fn page_of(name: &str) -> (PathBuf, Value) {
    let networks = networks();
    let path = networks.path(&format!("{name}-{:?}.html", std::thread::current().id()));
    let line = answer(&["page", text(&networks.path(name)), "-o", text(&path), "--force", "--json"]);
    (path, line)
}

// --- a browser ----------------------------------------------------------------------------------------------------------

/// Chromium, which `tests/page.mjs` drives.
struct Browser {
    node: Child,
    to: Option<ChildStdin>,
    from: RefCell<BufReader<ChildStdout>>,
}

/// Starts Chromium, with WebGPU on SwiftShader or without WebGPU; none where something is missing.
fn browser(webgpu: bool) -> Option<Browser> {
    let flags: &[&str] = match webgpu {
        true => &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
        false => &["--disable-features=WebGPU", "--disable-blink-features=WebGPU", "--disable-gpu"],
    };
    let skipped = std::env::var_os("STERNA_SKIP_CHROMIUM").map(|_| "STERNA_SKIP_CHROMIUM is set".to_string());
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let missing = match (skipped, names.iter().find(found)) {
        (Some(skipped), _) => skipped,
        (None, Some(name)) => {
            let mut command = Command::new("node");
            command.arg(repository().join("tests/page.mjs")).arg(name).args(flags);
            match command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
                Ok(mut node) => {
                    let (to, from) = (node.stdin.take(), node.stdout.take().expect("piped"));
                    return Some(Browser { node, to, from: RefCell::new(BufReader::new(from)) });
                }
                Err(error) => missing(format!("install Node.js (Debian: nodejs): {error}")),
            }
        }
        (None, None) => missing("install Chromium (Debian: chromium)".into()),
    };
    // The test passes, and cargo shows only what a passing test writes past its capture.
    writeln!(std::io::stderr(), "No browser opens the pages here: {missing}.").expect("a stderr");
    None
}

/// What is missing. Where it is required, the test fails.
fn missing(what: String) -> String {
    assert!(!required(), "{what}; only STERNA_SKIP_CHROMIUM=1 does without");
    what
}

/// Two browsers on two cores only slow each other down.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Browser {
    fn ask(&self, request: &Value) -> Value {
        let mut to = self.to.as_ref().expect("it is open");
        writeln!(to, "{request}").expect("Node reads");
        let mut line = String::new();
        self.from.borrow_mut().read_line(&mut line).expect("Node answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{request}: {line:?}"));
        assert!(answer["error"].is_null(), "{request}: {}", answer["error"]);
        answer["value"].clone()
    }

    /// Opens a page and waits until it is ready.
    fn open(&self, path: &Path) {
        self.ask(&json!({"do": "open", "url": format!("file://{}", path.display())}));
    }

    /// The value of an expression.
    fn value(&self, expression: &str) -> Value {
        self.ask(&json!({"do": "evaluate", "expression": expression}))
    }

    fn words(&self, id: &str) -> String {
        let words = self.value(&format!("document.getElementById('{id}').textContent"));
        words.as_str().expect("a text").into()
    }

    /// That a page loaded, showed this digest twice, said nothing to the console, and asked the network for nothing.
    fn sound(&self, digest: &Value) {
        let ids = ["expected", "digest", "status", "fault"].map(|id| self.words(id));
        assert_eq!(ids[0], *digest, "{ids:?}");
        assert_eq!(ids[1], *digest, "{ids:?}");
        assert!(ids[2].starts_with("Equal: ") && ids[3].is_empty(), "{ids:?}");
        assert_eq!(self.ask(&json!({"do": "faults"})), json!({"console": [], "requests": []}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The script ends with its stdin, and takes the browser along.
        drop(self.to.take());
        let _ = self.node.wait();
    }
}

/// A digit as strokes: a line for each run of ink, by points from 0 to 1.
fn strokes(pixels: &[u8]) -> Vec<Vec<[f64; 2]>> {
    let at = |place: usize| (place as f64 + 0.5) / SIDE as f64;
    let mut strokes = Vec::new();
    for (y, row) in pixels.chunks(SIDE).enumerate() {
        let mut x = 0;
        while x < SIDE {
            let run = row[x..].iter().take_while(|&&ink| ink >= 160).count();
            if run > 0 {
                strokes.push(vec![[at(x), at(y)], [at(x + run - 1), at(y)]]);
            }
            x += run.max(1);
        }
    }
    strokes
}

#[test]
fn chromium_reads_drawings_as_the_program_does() {
    let (path, line) = page_of("digits");
    let _one = ONE_AT_A_TIME.lock();
    let Some(browser) = browser(true) else { return };
    browser.open(&path);
    let verified = answer(&["verify", text(&networks().path("digits")), "--no-tune", "--json"]);
    assert_eq!(verified["digest"], line["digest"]);
    browser.sound(&line["digest"]);

    let data = Dataset::embedded();
    let model = networks().path("digits");
    let mut pictures = Vec::new();
    let (mut right, mut seen) = (0, Vec::new());
    for i in 0..20 {
        browser.value("sterna.drawing.clear()");
        let pixels = &data.test.images[i * data.pixels()..][..data.pixels()];
        browser.ask(&json!({"do": "strokes", "id": "canvas", "strokes": strokes(pixels)}));
        let found = browser.value(
            "(async () => { await sterna.drawing.settled(); return { ...sterna.drawing.answer, \
             png: document.getElementById('canvas').toDataURL('image/png').split(',')[1] }; })()",
        );
        let file = networks().path(&format!("drawing-{i}.png"));
        fs::write(&file, base64(found["png"].as_str().expect("a text"))).expect("written");
        pictures.push(file);
        right += usize::from(found["digit"] == data.test.labels[i]);
        seen.push(found);
    }
    let mut args = vec!["predict", text(&model)];
    args.extend(pictures.iter().map(|path| text(path)));
    args.extend(["--no-tune", "--json"]);
    let line = answer(&args);
    for (i, (found, predicted)) in
        seen.iter().zip(line["predictions"].as_array().expect("a list")).enumerate()
    {
        assert_eq!(found["digit"], predicted["digit"], "drawing {i}");
        let shares = [found, predicted].map(|of| of["probabilities"].as_array().expect("a list").clone());
        for (a, b) in shares[0].iter().zip(&shares[1]) {
            let [a, b] = [a, b].map(|share| share.as_f64().expect("a share"));
            assert!((a - b).abs() < 1e-5, "drawing {i}: {a} and {b}");
        }
    }
    assert!(right >= 19, "{right} of 20 drawings");

    // By the keyboard alone: a line upwards is a 1.
    browser.value("sterna.drawing.clear(); document.getElementById('canvas').focus()");
    let key = |key: &str| browser.ask(&json!({"do": "key", "key": key}));
    (0..9).for_each(|_| drop(key("ArrowUp")));
    key(" ");
    (0..18).for_each(|_| drop(key("ArrowDown")));
    let found = browser
        .value("(async () => { await sterna.drawing.settled(); return sterna.drawing.answer.digit; })()");
    assert_eq!(found, 1, "a stroke by the arrow keys");
    // A phone: nothing is wider than the window.
    let shot = networks().path("phone.png");
    browser.ask(&json!({"do": "picture", "path": text(&shot), "width": 400, "height": 800}));
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 400);
    assert_eq!(browser.ask(&json!({"do": "faults"})), json!({"console": [], "requests": []}));
}

#[test]
fn chromium_trains_as_the_program_does() {
    // Fifty steps: ten passes over 640 images.
    let (images, tests, epochs) = (640, 128, 10);
    let folder = tempfile::tempdir().expect("a folder");
    let data = Dataset::embedded();
    let files = folder.path().join("digits");
    fs::create_dir(&files).expect("made");
    for (name, Split { images: pixels, labels }, count) in
        [("train", &data.train, images), ("t10k", &data.test, tests)]
    {
        let side = data.width as u32;
        let pixels = idx(0x803, &[count as u32, side, side], &pixels[..count * data.pixels()]);
        let labels = idx(0x801, &[count as u32], &labels[..count]);
        fs::write(files.join(format!("{name}-images-idx3-ubyte")), pixels).expect("written");
        fs::write(files.join(format!("{name}-labels-idx1-ubyte")), labels).expect("written");
    }
    let path = folder.path().join("train.html");
    let line = answer(&[
        "page",
        "--train",
        "--images",
        "640",
        "--epochs",
        "10",
        "--seed",
        "3",
        "-o",
        text(&path),
        "--json",
    ]);
    let _one = ONE_AT_A_TIME.lock();
    let Some(browser) = browser(true) else { return };
    browser.open(&path);
    browser.sound(&line["digest"]);
    let found = browser.value(&format!(
        "(async () => {{ const t = sterna.training, losses = []; let seconds = 0; \
         while (!t.done) {{ const sum = []; for (let i = 0; i < {}; i++) {{ const s = performance.now(); \
         sum.push(await t.advance(1)); if (t.host.at[1] > 0) seconds += performance.now() - s; }} \
         losses.push(sum.reduce((a, b) => a + b) / sum.length); }} \
         await t.look(); return {{ losses, errors: t.errors, seconds: seconds / 1000 }}; }})()",
        images / 128
    ));
    assert_eq!(browser.ask(&json!({"do": "faults"})), json!({"console": [], "requests": []}));
    let losses: Vec<f64> = found["losses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|loss| loss.as_f64().expect("a loss"))
        .collect();

    // The same steps by the program on the same SwiftShader.
    let manifest = Path::new("/usr/lib/chromium/vk_swiftshader_icd.json");
    assert!(manifest.is_file() || !required(), "Chromium has no SwiftShader for the program");
    let run = folder.path().join("run");
    let mut command = program();
    if manifest.is_file() {
        command.env("VK_DRIVER_FILES", manifest).env("NODEVICE_SELECT", "1");
    }
    let args =
        ["train", "--data", text(&files), "--epochs", "10", "--seed", "3", "--checked", "--out", text(&run)];
    let output = command.args(args).arg("--quiet").output().expect("the program runs");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let own: Vec<Value> = metrics(&run);
    assert_eq!((losses.len(), own.len()), (epochs, epochs));
    let last = own[epochs - 1]["train_loss"].as_f64().expect("a loss");
    println!("page {losses:?}\nown {own:?}\n{} s for 40 steps", found["seconds"]);
    assert!(losses[epochs - 1] < 0.5 * losses[0], "{losses:?}");
    let off = (losses[epochs - 1] / last - 1.0).abs();
    assert!(off < 0.02, "{} in the page, {last} in the program", losses[epochs - 1]);
}

/// The lines of a run's metrics that end an epoch.
fn metrics(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("metrics.jsonl")).expect("the metrics of a run");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| !line["train_loss"].is_null()).collect()
}

#[test]
fn chromium_writes_on_as_the_program_does() {
    const MARGIN: f64 = 0.03;
    let (path, line) = page_of("text");
    let _one = ONE_AT_A_TIME.lock();
    let Some(browser) = browser(true) else { return };
    browser.open(&path);
    browser.sound(&line["digest"]);
    let own = answer(&[
        "generate",
        text(&networks().path("text")),
        "ROMEO:",
        "--greedy",
        "-n",
        "64",
        "--no-tune",
        "--json",
    ]);
    let own: Vec<u64> =
        own["ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id")).collect();
    let found = browser.value(
        "(async () => { const w = sterna.writer, out = []; w.reset(); await w.push(w.encode('ROMEO:').ids); \
         while (out.length < 64) { const z = Array.from(w.logits).sort((a, b) => b - a); \
         const { id } = w.choose(0, 0); out.push([id, z[0] - z[1]]); await w.push([id]); } return out; })()",
    );
    let found = found.as_array().expect("ids");
    assert_eq!((found.len(), own.len()), (64, 64));
    if let Some(at) = found.iter().zip(&own).position(|(found, own)| found[0].as_u64() != Some(*own)) {
        let margin = found[at][1].as_f64().expect("a margin");
        assert!(margin < MARGIN, "character {at} differs with a margin of {margin}");
        writeln!(std::io::stderr(), "The texts part at character {at}, where the margin is {margin}.")
            .expect("a stderr");
    }
    // What a visitor does.
    let shown = browser.value(
        "(async () => { document.getElementById('length').value = 16; document.getElementById('temperature').value = 0; \
         document.getElementById('go').click(); const story = document.getElementById('story'); \
         for (let i = 0; i < 1200 && story.children.length < 17; i++) await new Promise((done) => setTimeout(done, 50)); \
         return [story.children.length, document.getElementById('rate').textContent]; })()",
    );
    assert_eq!(shown[0], 17, "the prompt and 16 characters: {shown}");
    assert_eq!(browser.ask(&json!({"do": "faults"})), json!({"console": [], "requests": []}));
}

#[test]
fn a_browser_without_webgpu_is_told_what_to_do() {
    let (path, _) = page_of("digits");
    let _one = ONE_AT_A_TIME.lock();
    let Some(browser) = browser(false) else { return };
    browser.open(&path);
    assert_eq!(browser.value("navigator.gpu === undefined || true"), true);
    let words = browser.words("missing");
    for name in ["Chrome, Edge", "Safari", "Firefox"] {
        assert!(words.contains(name), "{words}");
    }
    let shown = browser.value(
        "[document.getElementById('missing').hidden, document.getElementById('work').hidden, \
         document.querySelector('#missing img').naturalWidth > 300]",
    );
    assert_eq!(shown, json!([false, true, true]));
    assert!(browser.words("status").starts_with("Nothing was computed"));
    assert_eq!(browser.ask(&json!({"do": "faults"})), json!({"console": [], "requests": []}));
}

// --- Dawn in Node ---------------------------------------------------------------------------------------------------------

#[test]
fn dawn_computes_the_digest_by_both_halves_of_a_plan() {
    let Some(dawn) = dawn() else { return };
    let train = networks().path("train.html");
    let line = answer(&["page", "--train", "--images", "640", "-o", text(&train), "--force", "--json"]);
    let pages = [(page_of("digits"), ""), (page_of("text"), ""), ((train, line), "begin")];
    for ((path, line), begin) in pages {
        let reply = dawn.page(&path, begin);
        assert!(reply["fault"].is_null(), "{reply}");
        assert_eq!(reply["expected"], line["digest"]);
        assert_eq!(reply["digests"], json!([line["digest"], line["digest"]]), "{}", path.display());
    }
}

// --- drawings as digits -----------------------------------------------------------------------------------------------------

/// Drawing number `i`: strokes on paper of many sizes, light on dark or dark on light, some at the border, some framed.
fn drawing(i: u32) -> Grey {
    let number = |at: u32, most: u32| random::draw(9, Stream::Verify, i, at)[0] % most;
    let (width, height) = match i % 4 {
        0 | 1 => (280, 280),
        2 => (40 + number(0, 300) as usize, 40 + number(1, 300) as usize),
        _ => (500 + number(0, 200) as usize, 450 + number(1, 200) as usize),
    };
    let [paper, ink] = if i.is_multiple_of(3) { [230.0, 20.0] } else { [0.0, 255.0] };
    let shade = if i % 5 == 4 { 60.0 / width as f32 } else { 0.0 };
    let paint = |at: usize| paper + shade * (at % width) as f32;
    let mut pixels: Vec<f32> = (0..width * height).map(paint).collect();
    let pen = (width.min(height) / 14).max(2) as i64;
    let place = |at: u32| [number(at, width as u32), number(at + 1, height as u32)].map(i64::from);
    let mut from = place(10);
    for stroke in 0..3 + number(2, 4) {
        let to = place(20 + 2 * stroke);
        for step in 0..=200 {
            let [x, y] = [0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * step / 200);
            for (dx, dy) in (-pen..=pen).flat_map(|dx| (-pen..=pen).map(move |dy| (dx, dy))) {
                let (x, y) = (x + dx, y + dy);
                let inside = dx * dx + dy * dy <= pen * pen && x >= 0 && y >= 0;
                if inside && x < width as i64 && y < height as i64 {
                    pixels[y as usize * width + x as usize] = ink;
                }
            }
        }
        from = to;
    }
    if i % 10 == 7 {
        for (at, pixel) in pixels.iter_mut().enumerate() {
            let outer = (at % width).min(width - 1 - at % width).min(at / width).min(height - 1 - at / width);
            if outer < 3 {
                *pixel = 128.0;
            }
        }
    }
    Grey { width, height, pixels }
}

#[test]
fn a_page_prepares_drawings_as_the_program_does() {
    let mut pictures: Vec<Grey> = (0..100).map(drawing).collect();
    pictures.push(Grey { width: 50, height: 40, pixels: vec![7.0; 2000] });
    let data: Vec<Value> = pictures
        .iter()
        .map(|Grey { width, height, pixels }| json!({"width": width, "height": height, "pixels": pixels}))
        .collect();
    let mut node = match Command::new("node")
        .arg(repository().join("tests/digit.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(node) => node,
        Err(error) => {
            let said = missing(format!("install Node.js (Debian: nodejs): {error}"));
            writeln!(std::io::stderr(), "Drawings are not prepared by a page's script here: {said}.")
                .expect("a stderr");
            return;
        }
    };
    let mut pipe = node.stdin.take().expect("piped");
    let written = std::thread::spawn(move || pipe.write_all(json!(data).to_string().as_bytes()));
    let output = node.wait_with_output().expect("Node ends");
    written.join().expect("no panic").expect("Node reads");
    let digits: Vec<Option<Vec<u8>>> = serde_json::from_slice(&output.stdout).expect("a list of digits");
    assert_eq!(digits.len(), pictures.len());
    for (i, (picture, digit)) in pictures.iter().zip(&digits).enumerate() {
        assert!(prepare(picture).ok() == *digit, "drawing {i} of {} x {}", picture.width, picture.height);
    }
    assert_eq!(digits.iter().filter(|digit| digit.is_some()).count(), 100);
}

// --- the program --------------------------------------------------------------------------------------------------------------

#[test]
fn a_page_is_one_file_that_asks_nobody() {
    let networks = networks();
    for name in ["digits", "text"] {
        let (path, _) = page_of(name);
        let html = fs::read_to_string(path).expect("written");
        for quote in ["src=\"", "href=\"", "url("] {
            for rest in html.split(quote).skip(1) {
                assert!(rest.starts_with("data:") || rest.starts_with('#'), "{quote}{}", &rest[..40]);
            }
        }
        for word in ["@import", "fetch(", "XMLHttpRequest", "WebSocket", "importScripts"] {
            assert!(!html.contains(word), "{word}");
        }
        assert!(html.contains("<html lang=\"en\">") && html.contains("width=device-width"));
    }
    let replay = fs::read_to_string(repository().join("web/replay.js")).expect("a script");
    assert!(replay.lines().count() <= 300, "web/replay.js is to be read in one go");
    // No adapter at all: a plan needs none.
    let path = networks.path("nowhere.html");
    let mut command = program();
    let none = networks.path("none.json");
    command.env("VK_DRIVER_FILES", none).env("LIBGL_DRIVERS_PATH", networks.folder.path());
    let digits = networks.path("digits");
    let output = command.args(["page", text(&digits), "-o", text(&path)]).output().expect("it runs");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let (here, _) = page_of("digits");
    assert!(
        fs::read(here).expect("written") == fs::read(path).expect("written"),
        "a page depends on the adapter"
    );
}

#[test]
fn naga_takes_the_shaders_of_a_browser_without_dot4() {
    let config =
        TextConfig { layers: 1, width: 64, heads: 2, kv_heads: 1, ffn: 128, ..TextConfig::default() };
    let (page, ..) = untrained(config).expect("a page");
    let json = page.html.split("id=\"page\">").nth(1).and_then(|rest| rest.split("</script>").next());
    let data: Value = serde_json::from_str(json.expect("the data of the page")).expect("JSON");
    let more = data["without_dot4"].as_str().expect("a text");
    let lists = data["plan"]["lists"].as_array().expect("lists");
    assert_eq!(
        lists.iter().map(|list| &list["name"]).collect::<Vec<_>>(),
        ["check", "token", "check", "token"]
    );
    let ops = lists[lists.len() / 2..].iter().flat_map(|list| list["ops"].as_array().expect("ops"));
    let mut numbers: Vec<usize> = ops.map(|op| op["kernel"].as_u64().expect("a number") as usize).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let kernel = &data["plan"]["kernels"][number];
        let text = kernel["wgsl"].as_str().expect("a text").to_string() + more;
        let module = naga::front::wgsl::parse_str(&text);
        let module =
            module.unwrap_or_else(|error| panic!("{}: {}", kernel["name"], error.emit_to_string(&text)));
        // The functions of the text, not the built-in ones: no compiler needs to know these.
        let built_in = format!("{module:?}");
        for word in ["Dot4I8Packed", "Pack4xI8", "Unpack4x"] {
            assert!(!built_in.contains(word), "{}: {word}", kernel["name"]);
        }
    }
}

/// The page of a language model with first weights, and its shape.
fn untrained(config: TextConfig) -> Result<(Page, TransformerShape, Model), String> {
    let vocabulary = Vocabulary::of(&(' '..='`').collect::<String>());
    let shape = config.shape(vocabulary.len());
    let weights = |(parameter, values): (Parameter, Vec<f32>)| {
        let values = match parameter.role {
            Role::Ternary => {
                let [rows, cols] = parameter.matrix();
                Values::Trits(Packed::quantize(&values, rows, cols))
            }
            Role::Gain | Role::Float => Values::Floats(values),
        };
        Weights { parameter, values }
    };
    let parameters = shape.parameters().into_iter().zip(shape.initial(0)).map(weights).collect();
    let model = Model { arch: shape.arch(), parameters, about: Value::Null };
    Ok((sterna::page::text(&model, &vocabulary)?, shape, model))
}

#[test]
fn a_page_of_the_default_language_model_stays_below_a_megabyte() {
    let (page, shape, _) = untrained(TextConfig::default()).expect("a page");
    let parameters: usize = shape.parameters().iter().map(Parameter::count).sum();
    assert_eq!((parameters, shape.vocabulary), (801_888, 65));
    assert!(page.html.len() < 1_000_000, "{} bytes", page.html.len());
}

#[test]
fn a_page_of_many_layers_has_the_digest_of_a_sample() {
    let config = TextConfig {
        layers: ALL_LAYERS + 1,
        width: 64,
        heads: 2,
        kv_heads: 1,
        ffn: 128,
        ..TextConfig::default()
    };
    let (page, shape, model) = untrained(config).expect("a page");
    let fixed = Fixed::sampled(&shape, &model).expect("a model in memory");
    assert_eq!(page.digest, fixed.hex(fixed.integers()));
    let Some(dawn) = dawn() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    fs::write(&path, &page.html).expect("written");
    assert_eq!(dawn.page(&path, "")["digests"], json!([page.digest, page.digest]));
}

#[test]
fn what_no_page_can_run_is_refused_in_a_sentence() {
    let networks = networks();
    let out = networks.path("refused.html");
    let llm = repository().join("tests/golden-lm/hf-bitlinear");
    let digits = networks.path("digits");
    let (page, _) = page_of("digits");
    for (args, why) in [
        (vec!["page", text(&llm), "-o", text(&out)], "has a tokenizer"),
        (vec!["page", "--train", "--images", "60001", "-o", text(&out)], "--images 60001"),
        (vec!["page", "--train", text(&digits), "-o", text(&out)], "--train"),
        (vec!["page", text(&digits), "--images", "500", "-o", text(&out)], "--train"),
        (vec!["page", text(&digits), "-o", text(&page)], "exists"),
    ] {
        let output = sterna(&args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(why) && !out.exists(), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_network_that_is_too_large_for_browsers_is_refused_in_a_sentence() {
    // The angles and the cache have a row for each position.
    let narrow =
        TextConfig { layers: 1, width: 64, heads: 2, kv_heads: 2, ffn: 128, ..TextConfig::default() };
    let said = untrained(TextConfig { context: 1 << 20, ..narrow }).err().expect("a sentence");
    assert!(said.contains("a browser with WebGPU's default limits binds at most 134217728"), "{said}");
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).expect("base64")
}
