//! Dawn, the WebGPU of Chrome, in a Node process: another compiler of WGSL, Tint, and another implementation that runs
//! it. `tests/tint.mjs` is the other side.
//!
//! It needs Node, npm's package `webgpu`, which `.ci/tint` installs under `target/`, and on Linux SwiftShader, the
//! Vulkan driver that comes with Chromium. Where one of them is missing the tests pass and say so; with
//! `STERNA_WITNESSES=required`, which `.ci/run` sets, they fail. `STERNA_SKIP_TINT=1` skips them.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};
use sterna::gpu::{Dtype, Gpu, Kernel, Op, Overrides, Plan, Tensor};
use sterna::shader::{self, Language};

/// The Node process, which answers one request at a time.
pub struct Dawn(Mutex<(ChildStdin, BufReader<ChildStdout>)>);

/// What Tint says of a shader.
pub struct Compiled {
    /// What the adapter lacks, so that no driver saw the shader.
    pub lacks: Vec<String>,
    /// Line of the text and Tint's words.
    pub faults: Vec<(usize, String)>,
}

/// Dawn, started once for each test process; none where it is skipped.
pub fn dawn() -> Option<&'static Dawn> {
    static DAWN: OnceLock<Option<Dawn>> = OnceLock::new();
    DAWN.get_or_init(|| {
        let missing = match std::env::var("STERNA_SKIP_TINT").is_ok_and(|value| value == "1") {
            true => "STERNA_SKIP_TINT is 1".to_string(),
            false => match Dawn::start() {
                Ok(dawn) => return Some(dawn),
                Err(missing) => {
                    assert!(!required(), "{missing}; only STERNA_SKIP_TINT=1 does without");
                    missing
                }
            },
        };
        // The test passes, and cargo shows only what a passing test writes past its capture.
        writeln!(std::io::stderr(), "Shaders are not compiled by Tint here: {missing}.").expect("a stderr");
        None
    })
    .as_ref()
}

/// Whether a test that lacks another compiler must fail.
pub fn required() -> bool {
    std::env::var("STERNA_WITNESSES").is_ok_and(|value| value == "required")
}

/// SwiftShader's manifest: the one that the variable names, or where Chromium keeps it.
fn driver() -> Option<PathBuf> {
    let named = std::env::var_os("STERNA_TINT_DRIVER").map(PathBuf::from);
    let folders = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/lib64/chromium-browser"];
    let chromium = folders.into_iter().chain(["/opt/google/chrome"]).map(Path::new);
    let usual = chromium.map(|folder| folder.join("vk_swiftshader_icd.json")).find(|path| path.is_file());
    named.or(usual)
}

impl Dawn {
    /// Starts Node, or says what is missing.
    fn start() -> Result<Dawn, String> {
        let root = super::repository();
        let folder = root.join("target/node");
        let mut command = Command::new("node");
        if cfg!(target_os = "linux") {
            let driver =
                driver().ok_or("install Chromium, whose SwiftShader runs Dawn (Debian: chromium)")?;
            command.env("VK_DRIVER_FILES", driver).env("NODEVICE_SELECT", "1");
        }
        if !folder.join("node_modules/webgpu").is_dir() {
            return Err("npm's package webgpu is missing: run `sh .ci/tint`, which installs it".into());
        }
        command.arg(root.join("tests/tint.mjs")).arg(&folder);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| format!("install Node.js (Debian: nodejs): {error}"))?;
        let (to, from) = (process.stdin.take(), process.stdout.take());
        let mut pipes = (to.expect("it is piped"), BufReader::new(from.expect("it is piped")));
        match &receive(&mut pipes.1).0["adapter"] {
            Value::String(_) => Ok(Dawn(Mutex::new(pipes))),
            _ => Err("Dawn finds no adapter: install Chromium, whose SwiftShader runs it (Debian: chromium)"
                .into()),
        }
    }

    fn ask(&self, request: &Value, bytes: &[u8]) -> (Value, Vec<u8>) {
        let mut pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let json = request.to_string();
        let lengths = [json.len(), bytes.len()].map(|length| (length as u32).to_le_bytes()).concat();
        pipes.0.write_all(&[&lengths, json.as_bytes(), bytes].concat()).expect("Node reads");
        receive(&mut pipes.1)
    }

    /// Compiles kernels and makes a pipeline of each, through the adapter's driver where `driver` says so and the
    /// adapter has what it needs.
    pub fn compile(&self, kernels: &[(&Kernel, Overrides, bool)]) -> Vec<Compiled> {
        let shaders = kernels.iter().map(|&(kernel, overrides, driver)| {
            let mut shader = text(kernel, overrides);
            shader["driver"] = driver.into();
            shader["needs"] = [(kernel.subgroup > 0, "subgroups"), (kernel.f16, "shader-f16")]
                .into_iter()
                .filter_map(|(needed, feature)| needed.then_some(feature))
                .collect();
            shader
        });
        let request = json!({"do": "compile", "shaders": shaders.collect::<Vec<_>>()});
        let (reply, _) = self.ask(&request, &[]);
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let word = |value: &Value| value.as_str().expect("words").to_string();
        let fault = |fault: &Value| (fault["line"].as_u64().expect("a line") as usize, word(&fault["words"]));
        let compiled = |compiled: Value| Compiled {
            lacks: list(&compiled["lacks"]).iter().map(word).collect(),
            faults: list(&compiled["faults"]).iter().map(fault).collect(),
        };
        list(&reply["compiled"]).into_iter().map(compiled).collect()
    }

    /// Runs the ops instead of the device that they are bound on: their plan goes to Dawn, and what it makes of their
    /// tensors comes back.
    pub fn run(&self, gpu: &Gpu, ops: &[Op]) {
        let plan = Plan::of(gpu, &[("ops", ops)], None).expect("the device works");
        let (contents, _) = self.replay(&plan, 1);
        let numbers = plan.lists[0].ops.iter().flat_map(|dispatch| &dispatch.tensors);
        let mut left: Vec<Option<Vec<u32>>> = contents.into_iter().map(Some).collect();
        for (tensor, &number) in ops.iter().flat_map(|op| op.tensors()).zip(numbers) {
            // A buffer that holds several tensors comes back once.
            if let Some(words) = left[plan.tensors[number].buffer].take() {
                let whole = Tensor::from_buffer("whole", tensor.buffer().clone(), Dtype::U32, &[words.len()]);
                gpu.write(&whole, &words);
            }
        }
    }

    /// The digests of a page by each half of its plan, after the list `begin` if one is named.
    pub fn page(&self, path: &Path, begin: &str) -> Value {
        self.ask(&json!({"do": "page", "path": path, "begin": begin}), &[]).0
    }

    /// Runs a plan, so many runs of it where it has a host: the words of its buffers then, and what was read back after
    /// each pass that ended.
    pub fn replay(&self, plan: &Plan, runs: usize) -> (Vec<Vec<u32>>, Value) {
        let json: Value = serde_json::from_str(&plan.to_json()).expect("a plan is JSON");
        let (reply, bytes) = self.ask(&json!({"do": "replay", "plan": json, "runs": runs}), &plan.contents);
        assert!(reply["fault"].is_null(), "Dawn: {}", reply["fault"]);
        let mut words = words(&bytes);
        let contents =
            plan.buffers.iter().map(|buffer| words.by_ref().take(buffer.bytes as usize / 4).collect());
        (contents.collect(), reply["read"].clone())
    }
}

/// The shader as a browser is given it.
fn text(kernel: &Kernel, overrides: Overrides) -> Value {
    let wgsl = shader::emit(kernel, overrides, Language::Wgsl, false).expect("the text as it is");
    let constants: serde_json::Map<String, Value> =
        overrides.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    json!({"name": kernel.name, "wgsl": wgsl, "constants": constants})
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("4 bytes")))
}

fn receive(from: &mut impl Read) -> (Value, Vec<u8>) {
    let mut bytes = |length: usize| {
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).expect("Node answers; what it wrote to stderr says why not");
        bytes
    };
    let lengths = bytes(8);
    let length = |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().expect("4 bytes")) as usize;
    let json = serde_json::from_slice(&bytes(length(0))).expect("JSON");
    (json, bytes(length(4)))
}
