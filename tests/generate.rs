//! Language models in use: text by a cache and without one, scores, packed files, and what the commands refuse.

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use common::process::{adapter_flags, code, program, stderr, stdout, text};
use common::{Shaders, gpu};
use serde_json::{Value, json};
use sterna::Gpu;
use sterna::digest::twin_network;
use sterna::generate::{Generator, Sampling};
use sterna::kernels::KeyForm;
use sterna::model::{Opened, Precision, Transformer, TransformerShape, logits};
use sterna::parameter::{Activation, Role};
use sterna::random::{self, Stream};
use sterna::reference;
use sterna::store::{Checkpoint, Coding, Floats, Model, Progress, Saved};
use sterna::text::{Corpus, Vocabulary};
use sterna::train::MODEL;

const CONTEXT: usize = 20;

/// Two layers with groups of two heads, for the characters of the embedded plays.
fn shape(precision: Precision, vocabulary: usize) -> TransformerShape {
    TransformerShape {
        layers: 2,
        width: 64,
        heads: 4,
        kv_heads: 2,
        ffn: 48,
        vocabulary,
        context: CONTEXT,
        theta: 1e4,
        eps: 1e-5,
        precision,
        activation: Activation::Relu2,
        sub_norms: true,
        tied: true,
    }
}

/// Values under which tokens do not just repeat: the layers count for more than the embedding.
fn values(shape: &TransformerShape) -> Vec<Vec<f32>> {
    let parameters = shape.parameters().into_iter().enumerate();
    let fresh = parameters.map(|(i, parameter)| {
        let normal = |deviation| random::normal(5, Stream::Weights, i as u32, parameter.count(), deviation);
        match parameter.role {
            Role::Gain => normal(0.2).iter().map(|x| 1.0 + x).collect(),
            _ => normal(0.1),
        }
    });
    fresh.collect()
}

/// The embedded plays, unpacked once.
fn plays() -> &'static (Corpus, u32) {
    static PLAYS: OnceLock<(Corpus, u32)> = OnceLock::new();
    PLAYS.get_or_init(|| {
        let corpus = Corpus::embedded();
        let crc32 = corpus.fingerprint();
        (corpus, crc32)
    })
}

/// A run on the embedded plays as its checkpoint has it.
fn checkpoint(precision: Precision, vocabulary: &Vocabulary) -> Checkpoint {
    let shape = shape(precision, vocabulary.len());
    let saved = shape.parameters().into_iter().zip(values(&shape));
    let parameters =
        saved.map(|(parameter, values)| Saved { parameter, values, moments: None, trits: None }).collect();
    Checkpoint {
        arch: shape.arch_of_text(vocabulary),
        parameters,
        progress: Some(Progress { epoch: 1, ..Progress::default() }),
        run: json!({
            "config": {"precision": precision.name()}, "data": {"name": "shakespeare", "crc32": plays().1},
            "result": {"validation_loss": 4.25},
        }),
    }
}

/// A folder with a run of text in `runs/text`.
fn folder(precision: Precision, vocabulary: &Vocabulary) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("runs/text");
    std::fs::create_dir_all(&run).expect("made");
    checkpoint(precision, vocabulary).save(&run.join(MODEL)).expect("saved");
    (folder, run)
}

/// The program, started in a folder.
fn sterna(folder: &Path, args: &[&str]) -> Output {
    program().current_dir(folder).args(args).args(adapter_flags(args)).output().expect("it starts")
}

/// The one JSON object of a command that succeeds.
fn json_of(folder: &Path, args: &[&str]) -> Value {
    let output = sterna(folder, &[args, &["--json"]].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// The one sentence of a command that is refused.
fn refusal(folder: &Path, args: &[&str]) -> String {
    let output = sterna(folder, args);
    let said = stderr(&output);
    assert_eq!((code(&output), said.lines().count()), (2, 1), "{args:?}: {said}");
    said.trim_end().into()
}

fn network(gpu: &Gpu, precision: Precision) -> Transformer {
    let shape = shape(precision, 65);
    Transformer::upload(gpu, shape.clone(), &values(&shape)).expect("fits")
}

// --- the cache -------------------------------------------------------------------------------------

/// The logits after `ids` without a cache: the whole window anew.
fn anew(gpu: &Gpu, network: &Transformer, window: &[u32]) -> Vec<f32> {
    let mut ids: Vec<i32> = window.iter().map(|&id| id as i32).collect();
    // No token sees those behind it.
    ids.resize(CONTEXT, 0);
    let rows = logits(gpu, network, &ids).expect("the device works");
    rows[(window.len() - 1) * 65..][..65].to_vec()
}

fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    let largest = want.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * largest, "{what}, logit {i}: {got}, expected {want}");
    }
}

#[test]
fn the_cache_changes_nothing_past_the_context_too() {
    for (precision, shaders) in [
        (Precision::Ternary, Shaders::Plain),
        (Precision::Ternary, Shaders::Checked),
        (Precision::F32, Shaders::Plain),
    ] {
        let gpu = gpu(shaders);
        let network = network(gpu, precision);
        let mut window = vec![3, 1, 4, 1, 5];
        let mut generator = Generator::new(gpu, &network, &window, KeyForm::F32).expect("fits");
        let (mut seen, mut slid) = (Vec::new(), 0);
        for step in 0..3 * CONTEXT {
            let want = anew(gpu, &network, &window);
            close(
                &format!("{precision:?}, step {step}"),
                &generator.logits().expect("it works"),
                &want,
                1e-4,
            );
            let id = generator.next(&Sampling::GREEDY).expect("the device works");
            assert_eq!(id, Sampling::GREEDY.choose(&want, 0), "{precision:?}, step {step}");
            seen.push(id);
            window.push(id);
            if window.len() > CONTEXT {
                window.drain(..window.len() - CONTEXT / 2);
                slid += 1;
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(slid >= 3 && seen.len() > 5, "{slid} slides, {} tokens", seen.len());
    }
}

#[test]
fn a_prompt_is_read_at_once_as_token_by_token() {
    let gpu = gpu(Shaders::Plain);
    let network = network(gpu, Precision::Ternary);
    let ids: Vec<u32> = (0..CONTEXT as u32).map(|i| i * 7 % 65).collect();
    for length in [1, 2, 3, 8, 17, CONTEXT] {
        let mut at_once = Generator::new(gpu, &network, &ids[..length], KeyForm::F32).expect("fits");
        let mut single = Generator::new(gpu, &network, &ids[..1], KeyForm::F32).expect("fits");
        ids[1..length].iter().for_each(|&id| single.push(id).expect("the device works"));
        close(
            &format!("{length} tokens"),
            &at_once.logits().expect("it works"),
            &single.logits().expect("it works"),
            1e-5,
        );
    }
}

#[test]
fn a_seed_is_a_text() {
    let gpu = gpu(Shaders::Plain);
    let network = network(gpu, Precision::Ternary);
    let write = |sampling: Sampling| -> Vec<u32> {
        let mut generator = Generator::new(gpu, &network, &[7], KeyForm::F32).expect("fits");
        (0..30).map(|_| generator.next(&sampling).expect("the device works")).collect()
    };
    let drawn = |seed| write(Sampling { temperature: 1.0, seed, ..Sampling::GREEDY });
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let first = Sampling { temperature: 1.0, top_k: Some(1), top_p: 1.0, seed: 9 };
    assert_eq!(write(first), write(Sampling::GREEDY));
    assert_eq!(write(Sampling { top_p: 1e-9, ..first }), write(Sampling::GREEDY));
}

/// All samplings of a kind of their own.
const SAMPLINGS: [Sampling; 5] = [
    Sampling::GREEDY,
    Sampling { temperature: 1.0, top_k: None, top_p: 1.0, seed: 3 },
    Sampling { temperature: 0.7, top_k: Some(5), top_p: 1.0, seed: 1 << 40 },
    Sampling { temperature: 1.5, top_k: None, top_p: 0.8, seed: 5 },
    Sampling { temperature: 1.0, top_k: Some(20), top_p: 0.9, seed: 6 },
];

#[test]
fn the_device_chooses_the_tokens_of_the_host() {
    for (precision, shaders, form) in [
        (Precision::Ternary, Shaders::Plain, KeyForm::F32),
        (Precision::Ternary, Shaders::Checked, KeyForm::F16),
        (Precision::Ternary, Shaders::ForGpu, KeyForm::F16),
        (Precision::F32, Shaders::Plain, KeyForm::F32),
        (Precision::F32, Shaders::Plain, KeyForm::F16),
    ] {
        let gpu = gpu(shaders);
        let network = network(gpu, precision);
        for sampling in SAMPLINGS {
            let begin = || Generator::new(gpu, &network, &[3, 1, 4], form).expect("fits");
            // Past the context, so that the window slides.
            let count = CONTEXT + 9;
            let mut plain = begin();
            let want: Vec<u32> = (0..count).map(|_| plain.next(&sampling).expect("it works")).collect();
            let all: &[usize] =
                if sampling == SAMPLINGS[0] || sampling == SAMPLINGS[4] { &[1, 8, 64] } else { &[8] };
            for &at_once in all {
                let (mut text, mut found) = (begin(), Vec::new());
                let mut keep = |id| {
                    found.push(id);
                    true
                };
                text.generate(&sampling, count, at_once, &mut keep).expect("it works");
                assert_eq!(found, want, "{precision:?}, {form:?}, {sampling:?}, {at_once} at once");
                let [got, want] = [&mut text, &mut plain].map(|text| text.logits().expect("it works"));
                close(&format!("{precision:?}, {form:?}, the last logits"), &got, &want, 2e-3);
            }
            // A text that stopped in the middle of a submission goes on as if it had not.
            let (mut text, mut found) = (begin(), Vec::new());
            for stop in [2, 9, 10, count] {
                let mut keep = |id| {
                    found.push(id);
                    found.len() < stop
                };
                text.generate(&sampling, count, 8, &mut keep).expect("it works");
                assert_eq!(found, want[..stop.min(found.len())], "stopped at {stop}");
                assert_eq!(found.len(), stop);
            }
        }
        // The last token is still on its way through the network. SwiftShader crashes if the process ends meanwhile.
        gpu.wait(None).expect("the device works");
    }
}

#[test]
fn a_context_that_the_adapter_would_cut_short_is_refused() {
    let gpu = gpu(Shaders::Plain);
    let Some(iterations) = gpu.most_iterations() else {
        eprintln!("{} runs loops to their end", gpu.name());
        return;
    };
    // Heads of 16 values: four vectors of each of eight keys, one part and the turn.
    let most = iterations / 6 * 8;
    for (context, fits) in [(most, true), (most + 1, false)] {
        let shape = TransformerShape { context, ..shape(Precision::Ternary, 65) };
        let network = Transformer::upload(gpu, shape.clone(), &values(&shape)).expect("fits");
        match network.cache(gpu, KeyForm::F16) {
            Ok(_) => assert!(fits, "a context of {context}"),
            Err(error) => {
                assert!(!fits, "{error}");
                assert!(error.to_string().contains(&format!("take at most {most}")), "{error}");
            }
        }
    }
}

#[test]
fn a_logit_that_is_no_number_ends_the_text() {
    let gpu = gpu(Shaders::Plain);
    let network = network(gpu, Precision::Ternary);
    let mut text = Generator::new(gpu, &network, &[3, 1, 4], KeyForm::F16).expect("fits");
    let mut found = Vec::new();
    let mut spoil = |id| {
        found.push(id);
        if found.len() == 4 {
            let gain = network.params.get("model.norm.weight").value();
            gpu.write(gain, &vec![f32::INFINITY; gain.len()]);
        }
        true
    };
    let error = text.generate(&Sampling::GREEDY, 30, 2, &mut spoil).expect_err("a logit is no number");
    assert!(error.to_string().contains("expected a number"), "{error}");
    assert!((4..9).contains(&found.len()) && found.iter().all(|&id| id < 65), "{found:?}");
}

// --- the command -----------------------------------------------------------------------------------

#[test]
fn generate_goes_on_from_a_prompt() {
    let vocabulary = &plays().0.vocabulary;
    let (folder, run) = folder(Precision::Ternary, vocabulary);
    let line = json_of(folder.path(), &["generate", text(&run), "ROMEO:", "-n", "50", "--greedy"]);
    let ids = |key: &str| serde_json::from_value::<Vec<u32>>(line[key].clone()).expect("ids");
    assert_eq!(ids("prompt_ids"), vocabulary.encode("ROMEO:").expect("known characters"));
    assert_eq!((ids("ids").len(), line["text"].as_str()), (50, Some(&*vocabulary.decode(&ids("ids")))));
    assert!(line["tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0));

    // For people: the prompt and the same text; the newest run where none is named.
    let output = sterna(folder.path(), &["generate", "ROMEO:", "-n", "50", "--top-k", "1"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("ROMEO:{}\n", line["text"].as_str().expect("text")));
    let said = stderr(&output);
    assert!(
        said.contains("the newest run of text is taken, runs/text") && said.contains("4.2500 nats"),
        "{said}"
    );

    // Seeds, and a text without a prompt.
    let text = |seed| json_of(folder.path(), &["generate", "--seed", seed, "-n", "30"])["text"].clone();
    assert_eq!(text("1"), text("1"));
    assert_ne!(text("1"), text("2"));
    let empty = json_of(folder.path(), &["generate", "", "-n", "30", "--seed", "1"]);
    assert_eq!((&empty["text"], &empty["prompt_ids"]), (&text("1"), &json!([])));
    let quiet = sterna(folder.path(), &["generate", "-n", "3", "--quiet"]);
    assert_eq!(stderr(&quiet), "");
}

#[test]
fn bytes_are_written_as_text() {
    let (folder, _) = folder(Precision::F32, &Vocabulary::bytes());
    let line = json_of(folder.path(), &["generate", "\u{e4}\u{20ac}", "-n", "40", "--temperature", "2"]);
    assert_eq!(line["prompt_ids"], json!([0xc3, 0xa4, 0xe2, 0x82, 0xac]));
    let ids: Vec<u8> = serde_json::from_value(line["ids"].clone()).expect("bytes");
    assert_eq!(line["text"], json!(String::from_utf8_lossy(&ids)));
    let output = sterna(folder.path(), &["generate", "\u{e4}\u{20ac}", "-n", "40", "--temperature", "2"]);
    // A terminal is sent no control character but line ends and tabs.
    let said = stdout(&output);
    assert!(said.starts_with("\u{e4}\u{20ac}"), "{said}");
    assert!(said.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{said:?}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_sentence() {
    let vocabulary = &plays().0.vocabulary;
    let (folder, run) = folder(Precision::Ternary, vocabulary);
    let long = "long ".repeat(5);
    for (args, said) in [
        (&["generate", text(&run), &long][..], "the prompt has 25 characters"),
        (&["generate", text(&run), "a~\u{e4}~"], "the prompt: '~', '\u{e4}' are not among the"),
        (&["generate", text(&run), "a", "--temperature", "-1"], "--temperature -1: give a number, 0 or more"),
        (
            &["generate", text(&run), "a", "--temperature", "NaN"],
            "--temperature NaN: give a number, 0 or more",
        ),
        (&["generate", text(&run), "a", "--top-p", "0"], "--top-p 0: give a number above 0, at most 1"),
        (&["generate", text(&run), "a", "--top-p", "1.5"], "--top-p 1.5: give"),
        (&["generate", text(&run), "a", "--top-k", "0"], "--top-k 0: give a whole number, 1 or more"),
        (&["generate", text(&run), "a", "--tokens", "0"], "--tokens 0: give"),
        (&["generate", "no/such.safetensors"], "no/such.safetensors"),
        (&["generate", "nowhere", "a"], "nowhere"),
        (&["generate", "./nowhere"], "./nowhere: cannot be read"),
        (&["predict", text(&run), "--index", "0"], "holds a network of text"),
        (&["trace", text(&run), "--index", "0"], "holds a network of text"),
        (&["trace", text(&run)], "holds a network of text: name the text"),
        (&["trace", text(&run), "a", "--index", "0"], "--index is about images"),
        (&["trace", text(&run), "a", "--layer", "9"], "--layer 9: the network has layers 0 to 1"),
        (&["trace", text(&run), "a", "--neuron", "64"], "--neuron 64: the queries have rows 0 to 63"),
        (&["trace", text(&run), "a", "--neuron", "1,2"], "--neuron names 2 neurons"),
        (&["trace", text(&run), &long], "the text has 25 characters"),
        (&["trace", text(&run), "a~"], "the text: '~' is not among the"),
        (&["trace", text(&run), ""], "holds a network of text: name the text"),
        (&["eval", text(&run), "--text", "nowhere.txt"], "nowhere.txt"),
    ] {
        let sentence = refusal(folder.path(), args);
        assert!(sentence.contains(said), "{args:?}: {sentence}");
    }
    let chain = sterna::store::Model::mlp(
        [(sterna::Packed::pack(&[1, 0, -1, 1], 2, 2, 0.5), vec![1.0; 2])],
        1e-5,
        Value::Null,
    );
    let digits = folder.path().join("digits.safetensors");
    std::fs::write(&digits, chain.to_packed(Coding::TwoBit)).expect("written");
    for args in [
        &["generate", text(&digits), "a"][..],
        &["eval", text(&digits), "--text"],
        &["trace", text(&digits), "a"],
    ] {
        let sentence = refusal(folder.path(), args);
        assert!(sentence.contains("holds a network of pictures"), "{sentence}");
    }
    let nothing = tempfile::tempdir().expect("a folder");
    let sentence = refusal(nothing.path(), &["generate", "a"]);
    assert!(sentence.contains("below runs/ there is no run of text"), "{sentence}");
    // A file without a vocabulary.
    let mut nameless = checkpoint(Precision::Ternary, vocabulary);
    nameless.arch = shape(Precision::Ternary, vocabulary.len()).arch();
    let path = folder.path().join("nameless.safetensors");
    nameless.save(&path).expect("saved");
    assert!(
        refusal(folder.path(), &["generate", text(&path), "a"]).contains("has no vocabulary in its header")
    );
    let mut other = checkpoint(Precision::Ternary, vocabulary);
    other.arch.settings["tokens"] = json!({"characters": "abc"});
    other.save(&path).expect("saved");
    assert!(
        refusal(folder.path(), &["generate", text(&path), "a"]).contains("has a vocabulary of 3 characters")
    );
}

// --- speed -----------------------------------------------------------------------------------------

/// Flags under which a benchmark goes through little memory, as fast as it can.
const BRIEF: [&str; 10] =
    ["--shape", "0.8m", "--repeat", "2", "--seconds", "0", "--memory", "16", "--no-tune", "--fresh"];

#[test]
fn bench_generate_measures_prompts_and_texts() {
    let folder = tempfile::tempdir().expect("a folder");
    let tests = ["-p", "5,0,130", "-n", "9", "-d", "0,40", "--at-once", "4"];
    // The last prompt is longer than the context.
    let long = refusal(folder.path(), &[&["bench", "generate"], &tests[..], &BRIEF].concat());
    assert!(long.contains("130 tokens: 0.8m has a context of 64"), "{long}");
    let tests = ["-p", "5,0,60", "-n", "9", "-d", "0,40", "--at-once", "4"];
    let line = json_of(folder.path(), &[&["bench", "generate"], &tests[..], &BRIEF].concat());
    let rows = line["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["pp5", "pp60", "tg9", "tg9 @ d40"]);
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
    for row in rows {
        assert_eq!(row["samples"].as_array().expect("samples").len(), 2, "{row}");
        assert!(
            number(row, "tokens_per_second") > 0.0 && number(row, "host_seconds_per_token") > 0.0,
            "{row}"
        );
    }
    let named = sterna::model::named_shape("0.8m").expect("a shape");
    let matrices = (named.weights() / 4) as f64;
    let (embedding, keys) =
        ((4 * 65 * 128) as f64, |position: usize| (4 * 2 * 128 * 2 * (position + 1)) as f64);
    for (row, position) in rows[2..].iter().zip([1 + 4, 40 + 4]) {
        // Nine a layer, the row of the token, two for its choice, and three behind the layers.
        assert_eq!(
            (row["dispatches"].as_u64(), row["read_backs"].as_u64()),
            (Some(4 * 9 + 6), Some(3)),
            "{row}"
        );
        // What is no weight and no key are activations: of a layer some ten rows of the width, written and read, and of
        // the ffn's.
        let bytes = number(row, "bytes_per_token") - matrices - embedding - keys(position);
        let most = (4 * 4 * 2 * (15 * 128 + 4 * 344 + 4 * 36)) as f64;
        assert!((0.0..most).contains(&bytes), "{bytes} of {most} bytes beside weights and keys: {row}");
        let bound = number(row, "bound_tokens_per_second");
        let found = number(row, "tokens_per_second") / bound;
        assert!((number(row, "share_of_bound") - found).abs() < 1e-9 * found, "{row}");
        assert!(
            ["memory", "launches", "both", "arithmetic"].contains(&row["binds"].as_str().expect("a word"))
        );
    }
    for (to, lines, begin) in [("csv", 2, "model,bytes,"), ("md", 3, "| model | size | params | ")] {
        let args = [&["bench", "generate", "-p", "0", "-n", "3", "--to", to], &BRIEF[..]].concat();
        let output = sterna(folder.path(), &args);
        let said = stdout(&output);
        assert_eq!((code(&output), said.lines().count()), (0, lines), "{said}{}", stderr(&output));
        assert!(said.starts_with(begin) && said.contains("tg3"), "{said}");
        let columns = |line: &str| line.matches(if to == "csv" { "," } else { "|" }).count();
        assert!(
            said.lines().all(|line| columns(line) >= columns(said.lines().next().expect("a line"))),
            "{said}"
        );
    }
    let table =
        stdout(&sterna(folder.path(), &[&["bench", "generate", "-p", "4", "-n", "3"], &BRIEF[..]].concat()));
    assert!(table.lines().all(|line| line.chars().count() <= 80) && table.contains("binds"), "{table}");
}

#[test]
fn bench_generate_reads_a_file_and_refuses_what_is_none() {
    let vocabulary = &plays().0.vocabulary;
    for precision in [Precision::Ternary, Precision::F32] {
        let (folder, run) = folder(precision, vocabulary);
        let model = run.join(MODEL);
        let brief = &BRIEF[2..];
        let args = [&["bench", "generate", "--shape", text(&model), "-p", "3", "-n", "4"], brief].concat();
        let line = json_of(folder.path(), &args);
        assert_eq!(line["rows"][1]["name"], json!("tg4"), "{line}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (args, said) in [
        (
            &["--shape", "3b"][..],
            "--shape 3b: no shape and no file has this name; the shapes are 2b4t, 10m, 0.8m",
        ),
        (&["--at-once", "0"], "--at-once 0: give a whole number from 1 to 64"),
        (&["--depth", "4090"], "has a context of 4096"),
        (&["--tokens", "0"], "--tokens 0: give"),
        (&["--repeat", "0"], "--repeat 0: give"),
        (&["--to", "xml"], "--to"),
        (&["--keys", "f8"], "--keys f8: there are f16 and f32"),
    ] {
        let output = sterna(folder.path(), &[&["bench", "generate", "--no-tune"], args].concat());
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn profile_generate_names_every_dispatch_of_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let args =
        ["profile", "generate", "--shape", "0.8m", "--steps", "2", "--limit-seconds", "0", "--no-tune"];
    let line = json_of(folder.path(), &[&args[..], &["-o", "token.json"]].concat());
    let kernels = line["kernels"].as_array().expect("kernels");
    let calls = |name: &str| {
        let of = |kernel: &&Value| kernel["kernel"].as_str().is_some_and(|kernel| kernel.starts_with(name));
        kernels.iter().filter(of).map(|kernel| kernel["calls"].as_f64().expect("a number")).sum::<f64>()
    };
    for (name, count) in [
        ("sample_blocks", 1.0),
        ("sample_token", 1.0),
        ("embed_gather", 1.0),
        ("gemv_ternary", 16.0),
        ("attention_step", 4.0),
        ("attention_join", 4.0),
        ("residual_quantize", 7.0),
        ("relu2_gate_quantize", 4.0),
    ] {
        assert_eq!(calls(name), 2.0 * count, "{name}: {kernels:?}");
    }
    let trace = std::fs::read_to_string(folder.path().join("token.json")).expect("a timeline");
    assert!(trace.contains("layer 3") && trace.contains("choose") && trace.contains("attention_step"));
    let long = refusal(folder.path(), &["profile", "generate", "--shape", "0.8m", "--depth", "64"]);
    assert!(long.contains("0.8m has a context of 64"), "{long}");
}

// --- scores ----------------------------------------------------------------------------------------

#[test]
fn eval_scores_a_text() {
    let corpus = &plays().0;
    for precision in [Precision::Ternary, Precision::F32] {
        let (folder, run) = folder(precision, &corpus.vocabulary);
        let words = "Now is the winter of our discontent\nMade glorious summer by this sun of York;\n";
        std::fs::write(folder.path().join("words.txt"), words).expect("written");
        let line = json_of(folder.path(), &["eval", text(&run), "--text", "words.txt"]);
        // The twin, window by window.
        let checkpoint = checkpoint(precision, &corpus.vocabulary);
        let shape = shape(precision, corpus.vocabulary.len());
        let ids = corpus.vocabulary.encode(words).expect("known characters");
        let (mut sum, mut count) = (0.0, 0);
        let twin = twin(&shape, &checkpoint);
        for start in (0..ids.len() - 1).step_by(CONTEXT) {
            let window = &ids[start..ids.len().min(start + CONTEXT + 1)];
            let (x, y) = (&window[..window.len() - 1], &window[1..]);
            let a = twin.config.attention(1, x.len());
            let pass = twin.forward(&a, x, twin.caches(&a));
            let rows = reference::xent_rows(&pass.logits, y, shape.vocabulary, 0.0);
            sum += rows.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
            count += y.len();
        }
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"));
        let loss = sum / count as f64;
        // A code that rounds the other way on the device moves the loss a little.
        assert!((number("loss") - loss).abs() < 2e-3, "{} and {loss}", number("loss"));
        assert_eq!((line["tokens"].as_u64(), &line["split"]), (Some(count as u64), &json!("whole")));
        assert!((number("perplexity") - number("loss").exp()).abs() < 1e-9 * number("perplexity"));
        assert!((number("bits_per_character") * 2f64.ln() - number("loss")).abs() < 1e-9);
        assert!(number("tokens_per_second") > 0.0);
        assert_eq!(line["digest"].is_string(), precision == Precision::Ternary);
    }
}

/// The CPU twin of a checkpoint of either precision.
fn twin(shape: &TransformerShape, checkpoint: &Checkpoint) -> reference::transformer::Network {
    use sterna::store::{Values, Weights};
    let floats = |saved: &Saved| Weights {
        parameter: saved.parameter.clone(),
        values: Values::Floats(saved.values.clone()),
    };
    let model = Model {
        arch: checkpoint.arch.clone(),
        parameters: checkpoint.parameters.iter().map(floats).collect(),
        about: Value::Null,
    };
    twin_network(shape, &model)
}

#[test]
fn eval_takes_the_last_tenth_of_the_text_that_a_run_learned() {
    let corpus = &plays().0;
    let (folder, run) = folder(Precision::Ternary, &corpus.vocabulary);
    let all = json_of(folder.path(), &["eval", "--text"]);
    assert_eq!(all["tokens"].as_u64(), Some(corpus.validation.len() as u64 - 1));
    assert_eq!((&all["split"], &all["text"]), (&json!("validation"), &json!("shakespeare")));
    assert_eq!(all["validation_loss"], all["loss"]);
    // Another text that nobody named is not guessed.
    let mut other = checkpoint(Precision::Ternary, &corpus.vocabulary);
    other.run["data"] = json!({"name": "diary", "crc32": 1});
    other.save(&run.join(MODEL)).expect("saved");
    let sentence = refusal(folder.path(), &["eval", "--text", text(&run)]);
    assert!(sentence.contains("was trained on diary, which is not at hand"), "{sentence}");
}

// --- files -----------------------------------------------------------------------------------------

#[test]
fn packed_files_round_the_embedding_and_nothing_else() {
    let corpus = &plays().0;
    let (folder, run) = folder(Precision::Ternary, &corpus.vocabulary);
    std::fs::write(folder.path().join("words.txt"), "Was ever woman in this humour woo'd?\n".repeat(20))
        .expect("written");
    let loss = |model: &str| {
        json_of(folder.path(), &["eval", model, "--text", "words.txt"])["loss"].as_f64().expect("a loss")
    };
    let whole = loss(text(&run));
    let model = checkpoint(Precision::Ternary, &corpus.vocabulary).deployed().expect("a ternary network");
    let mut sizes = Vec::new();
    for (to, tolerance) in [(Floats::F32, 0.0), (Floats::F16, 1e-3), (Floats::Int8, 3e-2)] {
        let path = folder.path().join(format!("{}.safetensors", to.name()));
        let line = json_of(folder.path(), &["pack", text(&run), "-o", text(&path), "--embedding", to.name()]);
        assert_eq!(
            (&line["embedding"], line["lost"].as_array().map(Vec::len)),
            (&json!(to.name()), Some(usize::from(to != Floats::F32)))
        );
        let (rounded, _) = model.rounded(to).expect("within f16");
        let found = Model::open(&path).expect("a packed file");
        assert_eq!(found.first_difference(&rounded), None, "{}", to.name());
        let moved = (loss(text(&path)) - whole).abs();
        assert!(moved <= tolerance, "{}: the loss moves by {moved}", to.name());
        sizes.push(std::fs::metadata(&path).expect("written").len());
        let line = json_of(folder.path(), &["verify", text(&path), "--against", text(&run)]);
        assert_eq!((&line["equal"], &line["digest"]), (&json!(true), &line["digest_against"]));
        let rounding = (to != Floats::F32).then(|| to.name());
        assert_eq!(line["embedding"], json!(rounding));
        let line = json_of(folder.path(), &["verify", text(&run), "--against", text(&path)]);
        assert_eq!((&line["equal"], &line["digest"]), (&json!(true), &line["digest_against"]));
    }
    assert!(sizes[1] + 8000 < sizes[0] && sizes[2] + 3500 < sizes[1], "{sizes:?}");
    // f16 is the default.
    let path = folder.path().join("default.safetensors");
    assert_eq!(json_of(folder.path(), &["pack", text(&run), "-o", text(&path)])["embedding"], json!("f16"));
    // What f16 cannot hold is refused, and int8 holds it.
    let mut large = checkpoint(Precision::Ternary, &corpus.vocabulary);
    large.parameters[0].values[70] = 1e6;
    large.save(&run.join(MODEL)).expect("saved");
    let path = folder.path().join("large.safetensors");
    let sentence = refusal_but_notes(folder.path(), &["pack", text(&run), "-o", text(&path)]);
    assert!(sentence.contains("has the value 1000000 at index 70, which f16 cannot hold"), "{sentence}");
    assert!(!path.exists());
    json_of(folder.path(), &["pack", text(&run), "-o", text(&path), "--embedding", "int8"]);
}

/// The last sentence of a command that is refused, after what it notes of the file.
fn refusal_but_notes(folder: &Path, args: &[&str]) -> String {
    let output = sterna(folder, args);
    let said = stderr(&output);
    assert_eq!(code(&output), 2, "{args:?}: {said}");
    said.lines().last().unwrap_or_default().into()
}

#[test]
fn verify_is_green_on_every_shader_and_red_where_a_weight_differs() {
    let vocabulary = &plays().0.vocabulary;
    let (folder, run) = folder(Precision::Ternary, vocabulary);
    let plain = json_of(folder.path(), &["verify", text(&run)]);
    let checked = json_of(folder.path(), &["verify", text(&run), "--checked"]);
    assert_eq!((&plain["equal"], &plain["digest"]), (&json!(true), &checked["digest"]));
    let scored = json_of(folder.path(), &["eval", text(&run)]);
    assert_eq!(scored["digest"], plain["digest"]);
    // One byte of a packed file: its checksum sees it.
    let packed = folder.path().join("packed.safetensors");
    json_of(folder.path(), &["pack", text(&run), "-o", text(&packed)]);
    let mut bytes = std::fs::read(&packed).expect("read");
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&packed, &bytes).expect("written");
    assert!(refusal(folder.path(), &["verify", text(&packed)]).contains("is damaged"));
    // A file whose checksum is that of the changed weight.
    let mut other = checkpoint(Precision::Ternary, vocabulary);
    let changed =
        other.parameters.iter_mut().find(|saved| saved.parameter.name.ends_with("1.mlp.up_proj.weight"));
    let changed = changed.expect("a parameter");
    let at = changed.values.iter().position(|x| *x > 0.1).expect("a trit of 1");
    changed.values[at] = -changed.values[at];
    let path = folder.path().join("other.safetensors");
    other.save(&path).expect("saved");
    let output = sterna(folder.path(), &["verify", text(&run), "--against", text(&path), "--json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let first = &line["first_difference"];
    assert_eq!((&first["layer"], &first["of"]), (&json!(1), &json!("mlp.up_proj trits")));
    assert_eq!([&first["row"], &first["column"]], [&json!(at / 64), &json!(at % 64)]);
    assert_ne!(line["digest"], line["digest_against"]);
}

#[test]
fn files_of_other_programs_give_text_and_vocabulary_back() {
    let vocabulary = &plays().0.vocabulary;
    let (folder, run) = folder(Precision::Ternary, vocabulary);
    let write =
        |model: &str| json_of(folder.path(), &["generate", model, "ROMEO:", "-n", "25"])["ids"].clone();
    let want = write(text(&run));
    for (to, name) in [("npy", "model.npz"), ("hf-bitnet", "model.safetensors"), ("gguf-tq2_0", "model.gguf")]
    {
        let (exported, back) =
            (folder.path().join(name), folder.path().join(format!("back-{to}.safetensors")));
        json_of(folder.path(), &["export", text(&run), "--to", to, "-o", text(&exported)]);
        json_of(folder.path(), &["import", text(&exported), "-o", text(&back)]);
        let opened = Opened::open(&back).expect("a network");
        assert_eq!(opened.vocabulary().as_ref(), Ok(vocabulary), "{to}");
        let model = checkpoint(Precision::Ternary, vocabulary).deployed().expect("ternary");
        assert_eq!(Model::open(&back).expect("a network").first_difference(&model), None, "{to}");
        assert_eq!(write(text(&back)), want, "{to}");
    }
}

#[test]
fn inspect_shows_roles_in_the_order_of_the_network() {
    let (folder, run) = folder(Precision::Ternary, &plays().0.vocabulary);
    let packed = folder.path().join("packed.safetensors");
    json_of(folder.path(), &["pack", text(&run), "-o", text(&packed)]);
    let names = |line: &Value| -> Vec<String> {
        let tensors = line["tensors"].as_array().expect("tensors").iter();
        tensors
            .map(|tensor| {
                format!(
                    "{} {}",
                    tensor["name"].as_str().expect("a name"),
                    tensor["role"].as_str().expect("a role")
                )
            })
            .collect()
    };
    let line = json_of(folder.path(), &["inspect", text(&packed)]);
    let found = names(&line);
    assert_eq!(found[0], "model.embed_tokens.weight float");
    assert_eq!(found[1], "model.layers.0.input_layernorm.weight gain");
    assert!(
        found[2].starts_with("model.layers.0.self_attn.q_proj.") && found[2].ends_with(" ternary"),
        "{found:?}"
    );
    assert_eq!(found.last().map(String::as_str), Some("model.norm.weight gain"));
    // The embedding is no matrix of trits, in no kind of file.
    for file in [&packed, &run] {
        let line = json_of(folder.path(), &["inspect", text(file)]);
        let embedding = &line["tensors"][0];
        assert!(
            embedding["trits"].is_null() && embedding["name"] == "model.embed_tokens.weight",
            "{embedding}"
        );
        let trits =
            line["tensors"].as_array().expect("tensors").iter().filter(|tensor| !tensor["trits"].is_null());
        assert_eq!(trits.count(), 14);
    }
}
