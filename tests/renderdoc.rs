//! What a kernel engineer finds when a training step is opened in RenderDoc, read back by RenderDoc's own replay:
//! every dispatch, pass, pipeline and buffer by its name, and the numbers of the twin.
//!
//! It needs `renderdoccmd` and the system's Python with RenderDoc's module, which `.ci/renderdoc` installs on Debian and
//! Ubuntu. `STERNA_SKIP_RENDERDOC=1` is the only way to do without.

#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::process::{code, stderr, stdout, text};
use common::unpack_int8;
use serde_json::Value;
use sterna::gpu::{Choice, Gpu, Op, Tensor};
use sterna::mnist::Dataset;
use sterna::model::Mlp;
use sterna::reference;
use sterna::ternary::{Packed, TRITS};
use sterna::train::{Config, Digits, Trainer};

/// Without the flag of the backend: RenderDoc is asked about Vulkan here, whatever the other tests run on.
const ARGS: [&str; 11] = [
    "profile",
    "train",
    "--renderdoc",
    "--no-tune",
    "--backend",
    "vulkan",
    "--batch",
    "32",
    "--hidden",
    "40,24",
    "--json",
];

fn skipped() -> bool {
    let skipped = std::env::var("STERNA_SKIP_RENDERDOC").is_ok_and(|value| value == "1");
    if skipped {
        println!("skipped: STERNA_SKIP_RENDERDOC is 1");
    }
    skipped
}

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| {
        panic!("{program}: {error}; `sh .ci/renderdoc` installs it, STERNA_SKIP_RENDERDOC=1 does without")
    })
}

/// The file of a capture of so many training steps.
fn capture(folder: &Path, steps: usize) -> String {
    let template = folder.join("step");
    let count = steps.to_string();
    let mut command = Command::new("renderdoccmd");
    command.args(["capture", "-w", "-c", text(&template), env!("CARGO_BIN_EXE_sterna")]);
    let output =
        run(command.args(ARGS).args(["--steps", &count]).env_remove("DISPLAY").env("NODEVICE_SELECT", "1"));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    let line = said
        .lines()
        .rfind(|line| line.starts_with('{'))
        .unwrap_or_else(|| panic!("{said}{}", stderr(&output)));
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["steps"], steps);
    line["capture"].as_str().expect("a file").to_string()
}

/// Everything in a capture; into `folder` the contents of these buffers after that dispatch.
fn replay(file: &str, folder: &Path, after: usize, buffers: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capture.py");
    let mut command = Command::new("/usr/bin/python3");
    let output =
        run(command.arg("-B").arg(script).args([file, text(folder), &after.to_string()]).args(buffers));
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

fn trainer() -> Trainer<Mlp, Digits> {
    let choice = Choice { backend: Some("vulkan".into()), ..Choice::default() };
    let gpu = Gpu::new(&choice).unwrap_or_else(|error| panic!("{error}"));
    let config = Config { batch: 32, hidden: vec![40, 24], ..Config::default() };
    Trainer::new(&gpu, &Dataset::embedded(), &config).expect("the digits fit")
}

/// What a debugger shows of a tensor: its buffer's name, which is that of the largest tensor in it, and where in it the
/// tensor begins.
fn bound(plan: &[Op], tensor: &Tensor) -> (String, u64) {
    let all = plan.iter().flat_map(Op::tensors).filter(|other| other.buffer() == tensor.buffer());
    let whole = all.max_by_key(|other| other.len()).expect("the plan binds the tensor");
    (format!("{} {:?}", whole.label(), whole.shape()), tensor.offset())
}

/// The tensor of this name that an op binds.
fn tensor<'a>(op: &'a Op, label: &str) -> &'a Tensor {
    let found = op.tensors().iter().find(|tensor| tensor.label() == label);
    found.unwrap_or_else(|| panic!("{} binds no {label}", op.name()))
}

/// The values of a tensor in the file of its buffer.
fn values<T: bytemuck::Pod>(folder: &Path, i: usize, tensor: &Tensor) -> Vec<T> {
    let bytes = std::fs::read(folder.join(i.to_string())).expect("written");
    bytemuck::pod_collect_to_vec(&bytes[tensor.offset() as usize..][..tensor.bytes() as usize])
}

#[test]
fn a_captured_step_is_the_plan_and_the_twin() {
    if skipped() {
        return;
    }
    let trainer = trainer();
    let plan = trainer.step();
    // The ternary product of the first layer: the first dispatch that has its accumulators.
    let product =
        plan.iter().position(|op| op.tensors().iter().any(|tensor| tensor.label() == "layers.0.acc"));
    let product = product.expect("a step multiplies");
    let tensors =
        ["layers.0.x.q", "layers.0.weight.packed", "layers.0.acc"].map(|name| tensor(&plan[product], name));
    let buffers = tensors.map(|tensor| bound(plan, tensor).0);
    let buffers = buffers.each_ref().map(String::as_str);
    let folder = tempfile::tempdir().expect("a folder");
    let file = capture(folder.path(), 2);
    let seen = replay(&file, folder.path(), product, &buffers);

    let dispatches = seen["dispatches"].as_array().expect("dispatches");
    assert_eq!(dispatches.len(), 2 * plan.len());
    for (i, (dispatch, op)) in dispatches.iter().zip(plan.iter().cycle()).enumerate() {
        let pass = format!("step {} / {}", 1 + i / plan.len(), op.phase());
        assert_eq!(dispatch["groups"], serde_json::json!([pass, op.name()]), "dispatch {i}");
        assert_eq!(dispatch["dimensions"], serde_json::json!(op.groups()), "dispatch {i}, {}", op.name());
        assert_eq!(dispatch["pipeline"], op.name(), "dispatch {i}");
        let uniform = (format!("{}.params", op.name()), 0);
        let tensors = op.tensors().iter().map(|tensor| bound(plan, tensor));
        let expected: Vec<_> = [uniform].into_iter().chain(tensors).collect();
        assert_eq!(dispatch["bound"], serde_json::json!(expected), "dispatch {i}, {}", op.name());
        let labels: Vec<&str> = op.tensors().iter().map(Tensor::label).collect();
        assert_eq!(dispatch["set"], format!("{}: {}", op.name(), labels.join(", ")), "dispatch {i}");
        let source = serde_json::json!([[format!("{}.wgsl", op.name()), op.kernel().wgsl]]);
        assert_eq!(dispatch["sources"], source, "dispatch {i}: the WGSL in the shader view");
        assert!(dispatch["seconds"].as_f64() > Some(0.0), "dispatch {i}, {}: no duration", op.name());
    }

    // What wgpu makes by itself has no name of ours to bear: layouts that it derives from the WGSL, the SPIR-V that it
    // hands over for a pipeline, pools, memory and its own commands.
    let its = ["Pipeline Layout", "Descriptor Layout", "Shader Module", "Descriptor Pool", "Command Pool"];
    let its = [
        &its[..],
        &[
            "Command Buffer",
            "Baked Command Buffer",
            "Memory",
            "Queue",
            "Semaphore",
            "Fence",
            "Device",
            "Instance",
        ],
    ]
    .concat();
    let its = [&its[..], &["Physical Device", "Pipeline Cache"]].concat();
    for resource in seen["resources"].as_array().expect("resources") {
        let (name, named) = (resource["name"].as_str().expect("a name"), resource["named"] == true);
        let own = matches!(resource["type"].as_str(), Some("Buffer" | "PipelineState"));
        assert!(named || !own, "unnamed: {resource}");
        let wgpus = its
            .iter()
            .any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.trim().parse::<u32>().is_ok()));
        assert!(named || wgpus, "unnamed: {resource}");
    }

    let q = values::<u32>(folder.path(), 0, tensors[0]);
    let trits = values::<u32>(folder.path(), 1, tensors[1]);
    let acc = values::<i32>(folder.path(), 2, tensors[2]);
    assert!(acc.iter().any(|&sum| sum != 0), "the first layer does something");
    let codes: Vec<i8> =
        unpack_int8(&q).chunks_exact(49 * TRITS).flat_map(|row| row[..784].to_vec()).collect();
    let w = Packed { rows: 40, cols: 784, scale: 1.0, words: trits };
    common::equal("acc in the capture", &acc, &reference::matmul_ternary(&codes, &w)).unwrap();
}

#[test]
fn outside_renderdoc_it_says_how_to_get_inside() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
    let output = run(command.args(ARGS).env_remove("ENABLE_VULKAN_RENDERDOC_CAPTURE"));
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.starts_with("sterna: --renderdoc"), "{said}");
    assert!(
        said.contains("renderdoccmd capture -w -d . -c step ") && said.contains(&ARGS.join(" ")),
        "{said}"
    );
}
