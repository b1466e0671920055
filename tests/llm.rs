//! The program on language models of other programs: `generate`, `chat`, `eval`, `verify`, `pack`, `import`, `export` and
//! `inspect` on one tiny network in four real file formats, and what they refuse.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::cases::Case;
use common::gguf::{BITNET_2B4T, Sizes};
use common::process::{adapter_flags, code, program, stderr, stdout, text};
use common::repository;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sterna::gpu::{Choice, Gpu};

/// The four files of the tiny network.
const FILES: [&str; 4] = ["hf-autobitlinear", "hf-bitlinear", "gguf-i2_s.gguf", "gguf-tq2_0.gguf"];

fn golden(file: &str) -> PathBuf {
    repository().join("tests/golden-lm").join(file)
}

fn expected() -> Case {
    Case::parse("expected", &std::fs::read(golden("expected.safetensors")).expect("read")).expect("a case")
}

fn sterna(args: &[&str]) -> Output {
    program().args(args).args(adapter_flags(args)).output().expect("the program starts")
}

/// The one line of stdout with `--json`.
fn json_of(args: &[&str]) -> Value {
    let output = sterna(&[args, &["--json"]].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// What the program says when it refuses.
fn refused(args: &[&str]) -> String {
    let output = sterna(args);
    assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{args:?}");
    let said = stderr(&output);
    said.lines().last().expect("a sentence").to_string()
}

fn ids(case: &Case, tensor: &str, count: usize) -> Vec<u32> {
    case.below(tensor, &[count], 448).expect("ids")
}

#[test]
fn four_files_continue_as_hugging_face_does() {
    let case = expected();
    let prompt = ids(&case, "prompt", 24).iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (greedy, margins) = (ids(&case, "greedy", 48), case.f32("margins", &[48]).expect("margins"));
    let prompt_text = case.text("prompt_text").expect("a text");
    for file in FILES {
        let path = golden(file);
        let line = json_of(&["generate", text(&path), "--ids", &prompt, "-n", "48", "--greedy"]);
        let found: Vec<u32> = serde_json::from_value(line["ids"].clone()).expect("ids");
        // After a near tie the texts may part.
        let parted = found.iter().zip(&greedy).position(|(a, b)| a != b);
        assert!(parted.is_none_or(|at| margins[at] < 0.03), "{file}: parted at {parted:?}: {found:?}");
        assert_eq!(line["prompt_ids"].as_array().expect("ids").len(), 24);
        // The same prompt as a text: the token that begins a text is added.
        let of_text = json_of(&["generate", text(&path), prompt_text, "-n", "48", "--greedy"]);
        assert_eq!(of_text["prompt_ids"], line["prompt_ids"], "{file}");
        assert_eq!(of_text["ids"], line["ids"], "{file}");
        if parted.is_none() {
            assert_eq!(line["text"], json!(case.text("greedy_text").expect("a text")), "{file}");
        }
    }
}

#[test]
fn the_digest_is_that_of_the_network_not_of_the_file() {
    let digests: Vec<Value> = FILES
        .map(|file| {
            let line = json_of(&["verify", text(&golden(file))]);
            assert_eq!(line["equal"], true, "{file}");
            line["digest"].clone()
        })
        .into();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    let against = json_of(&["verify", text(&golden(FILES[2])), "--against", text(&golden(FILES[0]))]);
    assert_eq!(against["digest_against"], digests[0]);
}

#[test]
fn a_network_goes_through_all_formats_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let mut from = golden(FILES[0]);
    let want = json_of(&["generate", text(&from), "And venture", "-n", "8", "--greedy"]);
    for (command, flags, name) in [
        ("export", &["--to", "gguf-i2_s"][..], "a.gguf"),
        ("import", &[], "b.safetensors"),
        ("export", &["--to", "hf-bitnet", "--weight-scale", "divide"], "c"),
        ("pack", &["--to", "base3"], "d.safetensors"),
        ("export", &["--to", "gguf-tq2_0"], "e.gguf"),
        ("export", &["--to", "hf-bitnet"], "f"),
        ("export", &["--to", "gguf-tq1_0"], "g.gguf"),
    ] {
        let to = at(name);
        let line = json_of(&[&[command, text(&from)], flags, &["-o", text(&to)]].concat());
        assert_eq!(line["lost"], json!([]), "{command} {name}");
        let said = json_of(&["generate", text(&to), "And venture", "-n", "8", "--greedy"]);
        assert_eq!(
            (&said["prompt_ids"], &said["ids"]),
            (&want["prompt_ids"], &want["ids"]),
            "{command} {name}"
        );
        // A second time the file is there.
        assert!(refused(&[&[command, text(&from)], flags, &["-o", text(&to)]].concat()).contains("exists"));
        from = to;
    }
    let verified = json_of(&["verify", text(&from), "--against", text(&golden(FILES[1]))]);
    assert_eq!(verified["equal"], true, "{verified}");
    // A bit of a weight that changed is noticed before anything is written.
    let mut bytes = std::fs::read(&from).expect("read");
    let middle = bytes.len() - 1000;
    bytes[middle] ^= 1;
    let damaged = at("damaged.gguf");
    std::fs::write(&damaged, bytes).expect("written");
    let said = refused(&["import", text(&damaged), "-o", text(&at("never.safetensors"))]);
    assert!(said.contains("sha256") && !at("never.safetensors").exists(), "{said}");
    // Every command that opens the network says so.
    let folder_of = |name: &str| {
        let to = at(name);
        std::fs::create_dir(&to).expect("made");
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(at("f").join(file), to.join(file)).expect("copied");
        }
        let mut bytes = std::fs::read(to.join("model.safetensors")).expect("read");
        let middle = bytes.len() - 1001;
        bytes[middle] ^= 1;
        std::fs::write(to.join("model.safetensors"), bytes).expect("written");
        to
    };
    let story = at("story.txt");
    std::fs::write(&story, "And venture madly on a desperate mart.\n".repeat(20)).expect("written");
    for model in [damaged, folder_of("damaged")] {
        let model = text(&model);
        for args in [
            &["generate", model, "And"][..],
            &["chat", model],
            &["eval", model, "--text", text(&story)],
            &["verify", model],
            &["verify", text(&from), "--against", model],
            &["trace", model, "And"],
            &["pack", model, "-o", text(&at("never"))],
            &["export", model, "--to", "gguf-tq2_0", "-o", text(&at("never"))],
        ] {
            let said = refused(args);
            assert!(said.starts_with("sterna: ") && said.contains("sha256"), "{args:?}: {said}");
        }
        assert!(!at("never").exists());
    }
    // The layout for ARM is another order of the same trits. Only the checksum of a record tells them apart.
    let arm = at("arm.gguf");
    json_of(&["export", text(&from), "--to", "gguf-i2_s", "--i2s", "arm", "-o", text(&arm)]);
    let read = |flags: &[&str]| {
        json_of(&[&["generate", text(&arm), "And", "-n", "8", "--greedy"], flags].concat())["ids"].clone()
    };
    let want = json_of(&["generate", text(&from), "And", "-n", "8", "--greedy"])["ids"].clone();
    assert_eq!(read(&["--i2s", "arm"]), want);
    let said = refused(&["generate", text(&arm), "And"]);
    assert!(said.contains("sha256") && said.contains("other processor"), "{said}");
}

#[test]
fn a_perplexity_says_how_it_was_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.txt");
    let lines = "And venture madly on a desperate mart.\n\nThe king shall be the lord of all the world.\n";
    std::fs::write(&file, lines.repeat(12)).expect("written");
    let model = golden(FILES[0]);
    let eval = ["eval", text(&model), "--text", text(&file), "--context", "64"];
    let line = json_of(&eval);
    let number = |value: &Value| value.as_f64().expect("a number");
    let (halves, strided) = (&line["halves"], &line["strided"]);
    let tokens = line["tokens"].as_u64().expect("tokens");
    assert_eq!(
        halves["tokens"],
        json!(tokens / 64 * 31),
        "the second half of each window, but for its first"
    );
    assert_eq!(strided["tokens"], json!(tokens - 1), "each token but the first");
    assert_eq!((&line["context"], &line["stride"]), (&json!(64), &json!(32)));
    for of in [halves, strided] {
        let (loss, perplexity) = (number(&of["loss"]), number(&of["perplexity"]));
        assert!((loss.exp() - perplexity).abs() < 1e-9 * perplexity && loss > 0.5 && loss < 5.0, "{loss}");
    }
    // Rounding the embedding costs little, and the program says what it costs.
    let rounded = json_of(&[&eval[..], &["--embedding", "int8"]].concat());
    assert_eq!(rounded["embedding"], "int8");
    let cost = (number(&rounded["halves"]["loss"]) - number(&halves["loss"])).abs();
    assert!(cost > 0.0 && cost < 0.05, "{cost}");
    let said = stdout(&sterna(&eval));
    assert!(
        said.contains("Windows of llama-perplexity, 64 tokens") && said.contains("Strided windows"),
        "{said}"
    );
    // A model of another program does not bring the text that it was trained on.
    assert!(refused(&["eval", text(&model), "--text"]).contains("name a text by --text FILE"));
    let stride = refused(&[&eval[..], &["--stride", "64"]].concat());
    assert!(stride.contains("--stride 64: windows of 64 tokens overlap below 64"), "{stride}");
}

/// Runs `chat` with these lines on stdin.
fn chat(model: &Path, flags: &[&str], lines: &str) -> Output {
    let args = [&["chat", text(model)], flags].concat();
    let mut child = program()
        .args(&args)
        .args(adapter_flags(&args))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("stdin").write_all(lines.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_chat_has_the_form_of_the_model_and_its_answers_alone_on_stdout() {
    let model = golden(FILES[3]);
    let output = chat(&model, &["-n", "12", "--greedy", "--json"], "Hello there\n\nWho are <|eot_id|>you?\n");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(line["form"], "BitNet b1.58 2B4T");
    let messages = line["messages"].as_array().expect("messages");
    let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"], "an empty line is no message");
    // The first answer is the greedy continuation of the template.
    let template = "<|begin_of_text|>User: Hello there<|eot_id|>Assistant: ";
    let vocabulary = sterna::model::Opened::open(&model).expect("opened").vocabulary().expect("a tokenizer");
    let ids =
        vocabulary.encode(template).expect("ids").iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let want = json_of(&["generate", text(&model), "--ids", &ids, "-n", "12", "--greedy"]);
    assert_eq!(messages[1]["content"], want["text"]);
    let plain = chat(&model, &["-n", "12", "--greedy"], "Hello there\n");
    assert_eq!(stdout(&plain), format!("{}\n", want["text"].as_str().expect("a text")));
    // A short context drops the oldest messages, and a message that is too long is refused without ending the chat.
    let long = format!("Hello there\n{}\nHello there\n", "word ".repeat(60));
    let output =
        chat(&model, &["-n", "8", "--greedy", "--context", "48"], &long.replace("word ", "word word "));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("but the context of 48 leaves 40: give a shorter one"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).matches('\n').count() > 1, "{}", stdout(&output));
    let turns = chat(&model, &["-n", "8", "--greedy", "--context", "48"], &"Hello there\n".repeat(4));
    assert!(stderr(&turns).contains("messages are left out"), "{}", stderr(&turns));
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = golden(FILES[0]);
    let said = refused(&["generate", text(&model), "--ids", "1,448"]);
    assert!(said.contains("--ids has 448: the network has the ids 0 to 447"), "{said}");
    let said = refused(&["generate", text(&model), "Hello", "--context", "513"]);
    assert!(said.contains("--context 513") && said.contains("a context of 512"), "{said}");
    let said = refused(&["generate", text(&model), &"Hello ".repeat(40), "--context", "32"]);
    assert!(said.contains("has a context of 32: give a shorter one"), "{said}");
    let said = refused(&["generate", text(&model), "Hello", "--ids", "1"]);
    assert!(said.contains("--ids"), "{said}");
    // A copy of the folder, with something wrong in it.
    let copy = folder.path().join("model");
    let broken = |change: &dyn Fn(&Path)| {
        let _ = std::fs::remove_dir_all(&copy);
        std::fs::create_dir(&copy).expect("made");
        for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(model.join(name), copy.join(name)).expect("copied");
        }
        change(&copy);
        refused(&["generate", text(&copy), "Hello"])
    };
    let config = |edit: &dyn Fn(&mut Value)| {
        broken(&|copy| {
            let path = copy.join("config.json");
            let mut config = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
            edit(&mut config);
            std::fs::write(path, config.to_string()).expect("written");
        })
    };
    let said = config(&|config| config["architectures"] = json!(["MambaForCausalLM"]));
    assert!(said.contains("MambaForCausalLM"), "{said}");
    let said = config(&|config| config["vocab_size"] = json!(449));
    assert!(said.contains("449") && said.contains("448"), "{said}");
    let said = config(&|config| config["num_hidden_layers"] = json!(3));
    assert!(said.contains("layers.2"), "{said}");
    let said = broken(&|copy| {
        let path = copy.join("tokenizer.json");
        let json = std::fs::read_to_string(&path).expect("read");
        let mut json: Value = serde_json::from_str(&json).expect("JSON");
        json["model"]["type"] = json!("Unigram");
        std::fs::write(path, json.to_string()).expect("written");
    });
    assert!(said.contains("Unigram"), "{said}");
    // A tokenizer with a token fewer than the network.
    let said = broken(&|copy| {
        let path = copy.join("tokenizer.json");
        let mut json: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("read")).expect("JSON");
        json["added_tokens"].as_array_mut().expect("tokens").pop();
        std::fs::write(path, json.to_string()).expect("written");
    });
    assert!(said.contains("tokens, but its network knows 448"), "{said}");
    // A shard that is not there.
    let said = broken(&|copy| {
        let map = json!({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}});
        std::fs::write(copy.join("model.safetensors.index.json"), map.to_string()).expect("written");
    });
    assert!(said.contains("names 2 files, of which 1 are there: model-2.safetensors is missing"), "{said}");
    // Bytes that are no trits, and shapes that do not belong together.
    let tensor = |name: &str| {
        let bytes = std::fs::read(model.join("model.safetensors")).expect("read");
        let list = sterna::store::list(&bytes).expect("listed").0;
        (list.into_iter().find(|tensor| tensor.name == name).expect("a tensor").at, bytes)
    };
    let (at, mut bytes) = tensor("model.layers.0.mlp.up_proj.weight");
    bytes[at.start] = 0xff;
    let said = broken(&|copy| std::fs::write(copy.join("model.safetensors"), &bytes).expect("written"));
    assert!(said.contains("up_proj.weight: row 0, column 0 has the code 3"), "{said}");
    let said = config(&|config| config["intermediate_size"] = json!(256));
    assert!(said.contains("mlp.gate_proj.weight is U8 [128, 256], expected U8 [64, 256]"), "{said}");
    // A type of tensor that is not known is no tensor to skip.
    let mut bytes = std::fs::read(golden(FILES[2])).expect("read");
    let name = b"blk.0.attn_q.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("a tensor") + name.len() + 20;
    bytes[at] = 99;
    let odd = folder.path().join("odd.gguf");
    std::fs::write(&odd, bytes).expect("written");
    let said = refused(&["generate", text(&odd), "Hello"]);
    assert!(said.contains("blk.0.attn_q.weight is type 99"), "{said}");
    let said = broken(&|copy| std::fs::remove_file(copy.join("model.safetensors")).expect("removed"));
    assert!(said.contains("model.safetensors"), "{said}");
    // A network of pictures says so.
    let said = refused(&["chat", text(&folder.path().join("nothing.gguf"))]);
    assert!(said.contains("nothing.gguf"), "{said}");
    let inspected = json_of(&["inspect", text(&model)]);
    assert_eq!(
        inspected["tensors"].as_array().expect("tensors").iter().filter(|of| !of["trits"].is_null()).count(),
        14
    );
}

#[test]
fn a_model_too_large_for_the_device_is_refused_with_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.gguf");
    // Gate and up of a layer are one matrix of 536 MB. Most adapters bind less at once, and software adapters do.
    let wide = Sizes { layers: 1, width: 16384, heads: 128, kv_heads: 8, ffn: 65408, vocabulary: 300 };
    wide.hollow(&file, None);
    if Gpu::new(&Choice::default()).expect("an adapter").fits("gate_up", &[2 * 65408, 16384 / 16]).is_err() {
        let said = refused(&["generate", text(&file), "Hello", "--context", "8"]);
        assert!(said.contains("binds at most") && said.contains("--adapter"), "{said}");
    }
    // A tokenizer of another model.
    BITNET_2B4T.hollow(&file, Some(128_000));
    let said = refused(&["generate", text(&file), "Hello"]);
    assert!(said.contains("128000 tokens, but its network knows 128256"), "{said}");
    BITNET_2B4T.hollow(&file, None);
    if cfg!(target_os = "linux") {
        // 1.2 GB of file and 1.8 GB of tensors in a process that may have 3 GB.
        let args = ["generate", text(&file), "Hello", "--context", "8", "--embedding", "f32"];
        let args = [&args.map(String::from)[..], &adapter_flags(&args)].concat().join(" ");
        let script = format!("ulimit -v 3000000; exec {} {args}", env!("CARGO_BIN_EXE_sterna"));
        let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
        assert_eq!((code(&output), &stdout(&output)[..]), (2, ""), "{}", stderr(&output));
        let said = stderr(&output);
        for part in
            ["has no more memory after", "all layers must fit", "521,", "--embedding int8", "--context"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn a_head_of_its_own_is_read_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let tied = golden(FILES[0]);
    let bytes = std::fs::read(tied.join("model.safetensors")).expect("read");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let embedding = file.tensor("model.embed_tokens.weight").expect("a tensor");
    // The same values twice, the second time as f32, and a head whose largest logits are the smallest ones.
    let values = |sign: f32| {
        let value = |x: &[u8; 2]| sign * f32::from_bits(u32::from(u16::from_le_bytes(*x)) << 16);
        embedding.data().as_chunks().0.iter().flat_map(|x| value(x).to_le_bytes()).collect::<Vec<u8>>()
    };
    let make = |name: &str, head: &[u8]| {
        let to = at(name);
        std::fs::create_dir(&to).expect("made");
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(tied.join(file), to.join(file)).expect("copied");
        }
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(tied.join("config.json")).expect("read")).expect("JSON");
        config["tie_word_embeddings"] = json!(false);
        std::fs::write(to.join("config.json"), config.to_string()).expect("written");
        let head = TensorView::new(Dtype::F32, embedding.shape().to_vec(), head).expect("a tensor");
        let tensors = file.tensors().into_iter().chain([("lm_head.weight".to_string(), head)]);
        std::fs::write(to.join("model.safetensors"), safetensors::serialize(tensors, None).expect("bytes"))
            .expect("written");
        to
    };
    let say = |model: &Path| {
        let line = json_of(&["generate", text(model), "And venture", "-n", "8", "--greedy"]);
        line["ids"].clone()
    };
    let (same, other) = (make("same", &values(1.0)), make("other", &values(-1.0)));
    let want = say(&tied);
    assert_eq!(say(&same), want);
    let want = [want, say(&other)];
    assert_ne!(want[0], want[1]);
    for (i, model) in [same, other].into_iter().enumerate() {
        let (packed, gguf, back) =
            (at(&format!("{i}.safetensors")), at(&format!("{i}.gguf")), at(&format!("{i}")));
        json_of(&["import", text(&model), "-o", text(&packed)]);
        json_of(&["export", text(&packed), "--to", "gguf-i2_s", "-o", text(&gguf)]);
        json_of(&["export", text(&gguf), "--to", "hf-bitnet", "-o", text(&back)]);
        for file in [&packed, &gguf, &back] {
            assert_eq!(say(file), want[i], "{file:?}");
        }
        let apart = json_of(&["trace", text(&gguf), "And venture"])["logits_apart"].as_f64();
        assert!(apart.is_some_and(|apart| apart < 1e-3), "{apart:?}");
        if i == 0 {
            assert_eq!(json_of(&["verify", text(&back), "--against", text(&model)])["equal"], true);
        } else {
            // Another head alone changes no integer, but the networks differ.
            let output = sterna(&["verify", text(&back), "--against", text(&tied)]);
            assert_eq!(code(&output), 1, "{}", stderr(&output));
        }
    }
}
