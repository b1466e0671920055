//! Every shader by Tint, the WGSL compiler of Chrome and Edge, under Dawn: naga accepts text that browsers refuse. Here
//! each is compiled and becomes a pipeline; in `tests/kernels.rs` Dawn runs every operation's base variant, and the
//! twins judge what it computes.
//!
//! `tests/common/dawn.rs` says what it needs and what skips it. The last tests break a shader and an expected value on
//! purpose to see that the check notices.

mod common;

use std::fs;

use common::dawn::{Dawn, dawn, required};
use common::*;
use sterna::gpu::{Dtype, Kernel, Overrides};
use sterna::kernels::{self, OPERATIONS, PROBES};
use sterna::{reference, shader};

fn all() -> impl Iterator<Item = &'static Kernel> {
    OPERATIONS.iter().chain(PROBES).copied().flatten().copied()
}

/// The file and line in which a line of a kernel's text stands: a kernel is a file with its snippets.
fn place(kernel: &Kernel, line: usize) -> String {
    let root = repository().join("shaders");
    let (mut folders, mut snippets) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the shaders") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("below").display().to_string().replace('\\', "/");
            snippets.push((name, fs::read_to_string(path).expect("text")));
        }
    }
    // The longest that fits: one file may begin like another.
    snippets.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
    let (mut rest, mut line) = (kernel.wgsl, line);
    while let Some((name, text)) = snippets.iter().find(|(_, text)| rest.starts_with(text.as_str())) {
        if line <= text.lines().count() {
            return format!("shaders/{name}:{line}");
        }
        (rest, line) = (&rest[text.len()..], line - text.lines().count());
    }
    format!("shaders/{}.wgsl:{line}", kernel.name)
}

/// What Tint says against kernels with each of their two sets of overrides. Where witnesses are required, SwiftShader
/// compiles each shader once too, with the overrides for it: that takes half a minute of two cores.
fn faults(dawn: &Dawn, kernels: &[&Kernel]) -> Vec<String> {
    let mut asked: Vec<(&Kernel, Overrides, bool)> = Vec::new();
    for kernel in kernels {
        let first = asked.iter().all(|(other, ..)| other.name != kernel.name);
        asked.push((kernel, kernel.cpu, first && required()));
        if kernel.gpu != kernel.cpu {
            asked.push((kernel, kernel.gpu, false));
        }
    }
    let mut faults = Vec::new();
    for ((kernel, overrides, driver), compiled) in asked.iter().zip(dawn.compile(&asked)) {
        if *driver && !compiled.lacks.is_empty() {
            eprintln!(
                "{}: no driver compiled it, the adapter has no {}",
                kernel.name,
                compiled.lacks.join(", ")
            );
        }
        faults.extend(compiled.faults.into_iter().map(|(line, words)| match line {
            // What is said of the pipeline has no line.
            0 => format!("shaders/{}.wgsl with {overrides:?}: {words}", kernel.name),
            line => format!("{}: {words}", place(kernel, line)),
        }));
    }
    faults.dedup();
    faults
}

#[test]
fn tint_takes_every_shader() {
    let Some(dawn) = dawn() else { return };
    let faults = faults(dawn, &all().collect::<Vec<_>>());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The kernel with one piece of its text replaced.
fn broken(name: &str, from: &str, to: &str) -> Kernel {
    let kernel = all().find(|kernel| kernel.name == name).expect("a kernel to break");
    assert!(kernel.wgsl.contains(from), "{name} has no `{from}`: choose another text to break");
    Kernel { wgsl: kernel.wgsl.replacen(from, to, 1).leak(), ..*kernel }
}

#[test]
fn tint_refuses_what_only_naga_takes() {
    let Some(dawn) = dawn() else { return };
    for (name, from, to, complaint) in [
        // In a skeleton, without and with the directive that a browser is given: its text is no file any more.
        (
            "matmul_base3",
            "override STRIDE: u32 = VECTORS | 1u",
            "override STRIDE: u32 = UNIT * DEPTH | 1u",
            "matmul_base3.wgsl:8: mixing",
        ),
        (
            "gemv_ternary_subgroup",
            "override WG: u32 = 64u",
            "override WG: u32 = 2u * 32u | 0u",
            "gemv_ternary_subgroup.wgsl:8: mixing",
        ),
    ] {
        let kernel = broken(name, from, to);
        shader::parse(&kernel, shader::needed(&kernel))
            .unwrap_or_else(|error| panic!("naga refuses it: {error}"));
        let faults = faults(dawn, &[&kernel]);
        assert!(faults.iter().any(|fault| fault.contains(complaint)), "expected {complaint}: {faults:?}");
    }
    // What is wrong with a pipeline only: more invocations than a browser grants.
    let relu = Kernel { gpu: &[("WG", 512.0)], ..*kernels::variants("relu")[0] };
    let faults = faults(dawn, &[&relu]);
    assert!(faults.iter().any(|fault| fault.contains("512")), "{faults:?}");
}

#[test]
fn a_fault_is_told_with_its_file() {
    let kernel = kernels::variants("gemv_ternary")[0];
    let file = fs::read_to_string(repository().join("shaders/products/gemv_ternary.wgsl"));
    let lines = file.expect("the shader").lines().count();
    assert_eq!(place(kernel, lines), format!("shaders/products/gemv_ternary.wgsl:{lines}"));
    assert!(kernel.wgsl.lines().nth(lines + 2).is_some(), "gemv_ternary has no snippet");
    assert!(place(kernel, lines + 3).ends_with(".wgsl:3"), "{}", place(kernel, lines + 3));
}

#[test]
fn a_wrong_value_is_noticed() {
    let Some(dawn) = dawn() else { return };
    let gpu = gpu(Shaders::Dawn);
    let x = floats(1, 100, 1.0);
    let y = poisoned(gpu, Dtype::F32, &[100]);
    dawn.run(gpu, &[kernels::relu(gpu, &upload(gpu, &[100], &x), &y)]);
    let (got, mut twin) = (read::<f32>(gpu, &y), reference::relu(&x));
    equal_bits("y", &got, &twin).unwrap();
    twin[71] = twin[71].next_up();
    let difference = equal_bits("y", &got, &twin).unwrap_err();
    assert!(difference.starts_with("y[71] is "), "{difference}");
}
